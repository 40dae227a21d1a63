//! What this process gives away before it does anything else: writes, signals, privileges, its own memory.
//!
//! Responsible for the confinement of the calling thread and of every thread that it starts later, and for saying what
//! of it the kernel granted. It takes away only; where the kernel lacks a part, the rest is taken all the same and the
//! lack is a value (`docs/adr/0013-confinement.md`). Which right belongs to which version stands in `rights`.
//!
//! Invariant: rights to read are never touched, and nothing here can be undone by this process.

mod rights;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use landlock::{
    LandlockStatus, PathBeneath, PathFd, PathFdError, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus,
};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, getegid, geteuid, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities, set_no_new_privs};
use thiserror::Error;

pub use rights::gaps;

/// Capabilities that stay where they were given: to use a state directory that belongs to somebody else, and to listen
/// below port 1024. Both are about what an administrator configured, and Landlock holds against both.
const CAPABILITIES_KEPT: CapabilitySet =
    CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH).union(CapabilitySet::NET_BIND_SERVICE);

/// Stays with a directory of somebody else only, to give what is made there to its owner: Landlock does not hold here.
const KEPT_FOR_ANOTHERS_DIRECTORY: CapabilitySet = CapabilitySet::CHOWN;

/// The gap of whoever runs as root: Landlock knows no right to change a mode or a time.
const MODES_OF_ROOT: &str =
    "modes and times of root's files can be changed: run as a user that owns nothing else";

/// Where this process may write from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writable<'path> {
    /// Nowhere; what is open already stays open.
    Nowhere,
    /// Below this directory, which is made when it is missing.
    Below(&'path Path),
}

/// What the kernel made of Landlock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landlock {
    /// It holds, in this version (1 is the first).
    Enforced(u8),
    /// This kernel has none, for this reason.
    Missing(&'static str),
    /// It has, and refused; in words.
    Refused(String),
}

/// What was taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// Writes and signals.
    pub landlock: Landlock,
    /// Whether a capability is left; none is when this was started without.
    pub capabilities_left: bool,
    /// Whose files this is free to change the modes, owners and times of, since no version of Landlock covers these.
    pub owns: Owns,
}

/// What belongs to the user that this runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owns {
    /// Root's: most of the host.
    MostOfTheHost,
    /// What this user made; with a user of its own nothing but the state.
    ItsOwn,
}

/// Why confinement ended the program: only what the user can put right.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The state directory.
    #[error("make the state directory {dir}")]
    Directory {
        /// As configured.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The state directory, once more.
    #[error("use the state directory")]
    Open(#[source] PathFdError),
    /// A step that no kernel refuses.
    #[error("{step}")]
    Kernel {
        /// What was tried.
        step: &'static str,
        /// Why not.
        #[source]
        source: Errno,
    },
}

/// Confines the calling thread and all that it starts. To be called once, before there is a second thread.
///
/// # Errors
/// When the directory cannot be made or opened. A kernel without Landlock is no error.
pub fn confine(writable: Writable<'_>) -> Result<Confinement, SandboxError> {
    // a process of the same user could read the bot's token in our environment or memory (prctl(2))
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(kernel("become undumpable"))?;
    let mut kept = CAPABILITIES_KEPT;
    let directory = match writable {
        Writable::Nowhere => None,
        Writable::Below(dir) => {
            let failed = |source| SandboxError::Directory { dir: dir.to_owned(), source };
            crate::store::make_directory(dir).map_err(&failed)?;
            let found = fs::metadata(dir).map_err(&failed)?;
            if (found.uid(), found.gid()) != (geteuid().as_raw(), getegid().as_raw()) {
                kept |= KEPT_FOR_ANOTHERS_DIRECTORY;
            }
            Some(PathFd::new(dir).map_err(SandboxError::Open)?)
        }
    };
    let capabilities_left = drop_capabilities(kept).map_err(kernel("drop capabilities"))?;
    set_no_new_privs(true).map_err(kernel("renounce new privileges"))?;
    let landlock = restrict(directory).unwrap_or_else(|error| Landlock::Refused(error.to_string()));
    let owns = if geteuid().is_root() { Owns::MostOfTheHost } else { Owns::ItsOwn };
    Ok(Confinement { landlock, capabilities_left, owns })
}

fn kernel(step: &'static str) -> impl FnOnce(Errno) -> SandboxError {
    move |source| SandboxError::Kernel { step, source }
}

/// Keeps these of what there is; whether that is anything.
fn drop_capabilities(kept: CapabilitySet) -> Result<bool, Errno> {
    let mut sets = capabilities(None)?;
    sets.permitted &= kept;
    sets.effective &= kept;
    sets.inheritable = CapabilitySet::empty();
    set_capabilities(None, sets)?;
    Ok(!sets.permitted.is_empty())
}

fn restrict(directory: Option<PathFd>) -> Result<Landlock, RulesetError> {
    let mut ruleset =
        Ruleset::default().handle_access(rights::denied())?.scope(rights::scoped())?.create()?;
    if let Some(directory) = directory {
        ruleset = ruleset.add_rule(PathBeneath::new(directory, rights::allowed()))?;
    }
    let status = ruleset.restrict_self()?;
    Ok(match (status.landlock, status.ruleset) {
        (LandlockStatus::NotImplemented, _) => {
            Landlock::Missing("this kernel has none, or a filter hides it")
        }
        (LandlockStatus::NotEnabled, _) => Landlock::Missing("it was not enabled at boot"),
        (LandlockStatus::Available { .. }, RulesetStatus::NotEnforced) => {
            Landlock::Refused("nothing was enforced".to_owned())
        }
        (
            LandlockStatus::Available { effective_abi, .. },
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced,
        ) => Landlock::Enforced(effective_abi as u8),
    })
}

impl Confinement {
    /// What is missing of the whole, in words; empty when nothing is.
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        let mut missing: Vec<String> = match &self.landlock {
            Landlock::Enforced(abi) => gaps(*abi).into_iter().map(str::to_owned).collect(),
            Landlock::Missing(why) => vec![format!("no Landlock ({why}): only permissions of files hold")],
            Landlock::Refused(why) => {
                vec![format!("Landlock refused ({why}): only permissions of files hold")]
            }
        };
        if self.owns == Owns::MostOfTheHost {
            missing.push(MODES_OF_ROOT.to_owned());
        }
        missing
    }

    /// One line for the log and `check-config`.
    #[must_use]
    pub fn words(&self, writable: Writable<'_>) -> String {
        let mut parts = Vec::new();
        if let Landlock::Enforced(abi) = self.landlock {
            let place = match writable {
                Writable::Nowhere => "nothing can be written".to_owned(),
                Writable::Below(dir) => format!("writes below {} only", dir.display()),
            };
            let signals = if signals_denied(abi) { ", no signals to other processes" } else { "" };
            parts.push(format!("{place}{signals} (Landlock {abi})"));
        }
        parts.push("no new privileges".to_owned());
        parts.push(match self.capabilities_left {
            true => "capabilities for files and ports only".to_owned(),
            false => "no capabilities".to_owned(),
        });
        parts.extend(self.gaps());
        parts.join("; ")
    }

    /// Labels of the metric: the version of Landlock, and what it holds against.
    #[must_use]
    pub fn labels(&self) -> [&'static str; 2] {
        const VERSIONS: [&str; 10] = ["none", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        match self.landlock {
            Landlock::Enforced(abi) => [
                VERSIONS.get(usize::from(abi)).copied().unwrap_or("newer"),
                if signals_denied(abi) { "writes_and_signals" } else { "writes" },
            ],
            Landlock::Missing(_) | Landlock::Refused(_) => ["none", "none"],
        }
    }
}

fn signals_denied(abi: u8) -> bool {
    !gaps(abi).contains(&rights::SIGNALS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_granted_is_told_and_so_is_what_it_lacks() {
        let of = |landlock, capabilities_left| {
            // who has capabilities left was root
            let owns = if capabilities_left { Owns::MostOfTheHost } else { Owns::ItsOwn };
            Confinement { landlock, capabilities_left, owns }
        };
        let state = Writable::Below(Path::new("/var/lib/watchdog"));
        for (confinement, writable, words, labels) in [
            (
                of(Landlock::Enforced(7), false),
                state,
                "writes below /var/lib/watchdog only, no signals to other processes (Landlock 7); \
                 no new privileges; no capabilities",
                ["7", "writes_and_signals"],
            ),
            (
                of(Landlock::Enforced(4), true),
                Writable::Nowhere,
                "nothing can be written (Landlock 4); no new privileges; capabilities for files and ports only; \
                 devices can be controlled; signals can be sent; \
                 modes and times of root's files can be changed: run as a user that owns nothing else",
                ["4", "writes"],
            ),
            (
                of(Landlock::Missing("it was not enabled at boot"), false),
                state,
                "no new privileges; no capabilities; \
                 no Landlock (it was not enabled at boot): only permissions of files hold",
                ["none", "none"],
            ),
            (
                of(Landlock::Refused("E2BIG".to_owned()), false),
                state,
                "no new privileges; no capabilities; Landlock refused (E2BIG): only permissions of files hold",
                ["none", "none"],
            ),
        ] {
            assert_eq!(confinement.words(writable), words);
            assert_eq!(confinement.labels(), labels);
        }
    }
}
