//! The one door with everything real behind it: git, the local forge, the store, supervised
//! commands. Only the agents are the tests themselves.

#[cfg(test)]
mod clocks;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod deploys;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod gates;
#[cfg(all(test, debug_assertions))]
mod guards;
#[cfg(test)]
mod image;
#[cfg(test)]
mod incidents;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod scripts;
#[cfg(test)]
mod support;
#[cfg(test)]
mod walk;
