//! Where the structure of the process tree puts a family's root, as values.
//!
//! Responsible for the classes and for their plain English, which the log and the command line show;
//! chat asks `notify::text`. It decides no class (`proc::lineage`) and no ownership.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Class of a family's root by structure alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lineage {
    /// Somebody runs it on purpose: its container's main command or a service's main process.
    Main,
    /// Its starter is gone: the parent is an init or a known reaper.
    Reparented {
        /// Pid of the parent as seen here.
        parent_pid: i32,
        /// Which reaper that is.
        reaper: Reaper,
        /// Whether the leader of its session or group, of its own line, still lives.
        leader_alive: bool,
    },
    /// Entered from outside its pid namespace (`docker exec`): structure proves nothing.
    ExecRoot {
        /// Pid of the parent as seen here; 0 when it stands outside of what is visible.
        parent_pid: i32,
    },
    /// An ordinary child: alive below something that is alive.
    Child {
        /// Pid of the parent as seen here.
        parent_pid: i32,
        /// Name of the root that the ancestry leads to, cleaned.
        root_name: String,
    },
    /// Could not be told.
    Unknown(Unclear),
}

/// Who adopts what its starter left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reaper {
    /// The host's pid 1.
    HostInit,
    /// The init of a pid namespace.
    NamespaceInit {
        /// Name, cleaned.
        name: String,
        /// Pid as seen here.
        pid: i32,
    },
    /// The init of a pid namespace that is not its own.
    OuterInit {
        /// Name, cleaned.
        name: String,
        /// Pid as seen here.
        pid: i32,
    },
    /// `systemd --user`.
    UserManager {
        /// Pid as seen here.
        pid: i32,
    },
    /// A program that is known to adopt.
    Known {
        /// Name, cleaned.
        name: String,
        /// Pid as seen here.
        pid: i32,
    },
    /// A process of another session: nobody is born there.
    Adopter {
        /// Name, cleaned.
        name: String,
        /// Pid as seen here.
        pid: i32,
    },
    /// Whoever is its parent now, after another one before: only adoption changes a parent.
    Heir {
        /// Name, cleaned.
        name: String,
        /// Pid as seen here.
        pid: i32,
        /// The parent that it was seen with first.
        before: i32,
    },
    /// The core, which did not register it.
    Core,
    /// A supervisor of the core, which did not register it.
    Supervisor,
    /// A live process in between that was itself left behind.
    Through {
        /// Who adopted that one.
        reaper: Box<Reaper>,
        /// Its name, cleaned.
        name: String,
        /// Its pid as seen here.
        pid: i32,
    },
}

/// Why structure could not be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unclear {
    /// The process itself could not be read.
    Process(i32),
    /// Its `status` could not be read.
    Status(i32),
    /// Its parent could not be read.
    Parent(i32),
    /// Its parent's `status` could not be read.
    ParentStatus(i32),
    /// More ancestors than are followed.
    Ancestors(usize),
}

impl fmt::Display for Lineage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => out.write_str("main command of its container or service"),
            Self::Reparented { reaper, leader_alive, .. } => {
                let leader = if *leader_alive { "lives" } else { "is gone" };
                write!(
                    out,
                    "re-parented: its parent is {reaper}; the leader of its session and group {leader}"
                )
            }
            Self::ExecRoot { parent_pid: 0 } => {
                out.write_str("its parent is outside of the visible pid namespace")
            }
            Self::ExecRoot { parent_pid } => write!(
                out,
                "entered its pid namespace from outside: its parent {parent_pid} is a namespace further out"
            ),
            Self::Child { parent_pid, root_name } => {
                write!(out, "child of {parent_pid}, which lives, below {root_name}")
            }
            Self::Unknown(why) => write!(out, "structure unknown: {why}"),
        }
    }
}

impl fmt::Display for Reaper {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostInit => out.write_str("host init"),
            Self::NamespaceInit { name, pid } => write!(out, "init of its pid namespace ({name}, {pid})"),
            Self::OuterInit { name, pid } => write!(out, "init of a pid namespace ({name}, {pid})"),
            Self::UserManager { pid } => write!(out, "service manager of a user ({pid})"),
            Self::Known { name, pid } => write!(out, "reaper {name} ({pid})"),
            Self::Adopter { name, pid } => {
                write!(out, "{name} ({pid}) of another session, which adopted it")
            }
            Self::Heir { name, pid, before } => {
                write!(out, "{name} ({pid}), which adopted it from {before}")
            }
            Self::Core => out.write_str("the core, which did not register it"),
            Self::Supervisor => out.write_str("a supervisor of the core, which did not register it"),
            Self::Through { reaper, name, pid } => write!(out, "{reaper}, through {name} ({pid})"),
        }
    }
}

impl fmt::Display for Unclear {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(out, "process {pid} could not be read"),
            Self::Status(pid) => write!(out, "status of {pid} could not be read"),
            Self::Parent(pid) => write!(out, "parent {pid} could not be read"),
            Self::ParentStatus(pid) => write!(out, "status of parent {pid} could not be read"),
            Self::Ancestors(depth) => write!(out, "more than {depth} ancestors"),
        }
    }
}
