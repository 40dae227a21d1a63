//! The one door with everything real behind it: git, the local forge, the store, supervised
//! commands. Only the agents are the tests themselves.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod gates;
mod guards;
mod incidents;
#[cfg(test)]
mod support;
#[cfg(test)]
mod walk;
