//! The host collector: pressure and memory of this host.
//!
//! Responsible for one look at `pressure/*` and `meminfo` below the process file system, which are
//! nobody's process: it looks even where processes are not looked at. It judges nothing
//! (`signals::cpu_starved`). Invariant: a kernel that measures no pressure is a fact about the host
//! (`NotOffered`), a file that cannot be read is a failure of ours (`Unavailable`); a missing tree
//! is the latter, which `meminfo`, present on every kernel, tells apart.

use std::path::{Path, PathBuf};

use proc_identity::ProcError;
use proc_identity::host::{self, PressureKind};
use rustix::io::Errno;

use crate::observe::{Collected, HostMemory, HostObservation, PressureShares, PressureSight};

/// Looks at the host, and says once in the log what it does not measure.
#[derive(Debug, Clone)]
pub struct HostWatch {
    root: PathBuf,
    told: bool,
}

impl HostWatch {
    /// Below this process file system.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), told: false }
    }

    /// One look.
    pub fn look(&mut self) -> Collected<HostObservation> {
        let seen = look(&self.root);
        if let Collected::Fresh(seen) = &seen
            && !self.told
        {
            self.told = true;
            if let PressureSight::NotOffered(reason) = &seen.cpu {
                tracing::warn!(reason, "cpu_starved cannot be told on this host");
            }
        }
        seen
    }
}

/// Looks at the host below a process file system.
#[must_use]
pub fn look(root: &Path) -> Collected<HostObservation> {
    match read(root) {
        Ok(seen) => Collected::Fresh(seen),
        Err(reason) => Collected::Unavailable(reason),
    }
}

/// What `check-config` should say of this host; nothing when everything is measured.
#[must_use]
pub fn remark(root: &Path) -> Option<String> {
    match look(root) {
        Collected::Fresh(HostObservation { cpu: PressureSight::NotOffered(reason), .. }) => {
            Some(format!("cpu_starved cannot be told on this host: {reason}"))
        }
        Collected::Unavailable(reason) => Some(format!("the host cannot be looked at: {reason}")),
        Collected::Fresh(_) | Collected::Off => None,
    }
}

fn read(root: &Path) -> Result<HostObservation, String> {
    let memory = host::read_memory(root).map_err(|error| failed(root, "meminfo", &error))?;
    let pressure = |kind, name| match host::read_pressure(root, kind) {
        Ok(read) => Ok(PressureSight::Measured(shares(&read))),
        Err(ProcError::Gone) => {
            Ok(PressureSight::NotOffered("this kernel measures no pressure (CONFIG_PSI)".to_owned()))
        }
        Err(ProcError::Io(Errno::OPNOTSUPP)) => Ok(PressureSight::NotOffered(
            "this kernel was started without measuring pressure (psi=1 on its command line starts it)"
                .to_owned(),
        )),
        Err(error @ (ProcError::Denied | ProcError::Malformed { .. } | ProcError::Io(_))) => {
            Err(failed(root, name, &error))
        }
    };
    Ok(HostObservation {
        cpu: pressure(PressureKind::Cpu, "pressure/cpu")?,
        memory_pressure: pressure(PressureKind::Memory, "pressure/memory")?,
        io: pressure(PressureKind::Io, "pressure/io")?,
        memory: memory
            .available_bytes
            .map(|available_bytes| HostMemory { total_bytes: memory.total_bytes, available_bytes }),
    })
}

fn shares(read: &host::Pressure) -> PressureShares {
    PressureShares {
        some_avg10_percent: read.some_avg10_percent.into(),
        some_avg60_percent: read.some_avg60_percent.into(),
        some_avg300_percent: read.some_avg300_percent.into(),
        full_avg60_percent: read.full_avg60_percent.into(),
    }
}

fn failed(root: &Path, name: &str, error: &ProcError) -> String {
    let path = root.join(name);
    match error {
        ProcError::Gone => format!("{} is not there", path.display()),
        ProcError::Denied | ProcError::Malformed { .. } | ProcError::Io(_) => {
            format!("{}: {error}", path.display())
        }
    }
}

#[cfg(test)]
mod tests;
