//! What a process has in memory, by the kernel's own count.

use anyhow::{Context as _, Result};

/// Memory of one process, KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it, the program's own file included (`VmRSS`).
    pub resident_kib: u64,
    /// What no file stands behind (`RssAnon`).
    pub anonymous_kib: u64,
}

impl Memory {
    /// Of a process, by its pid.
    ///
    /// # Errors
    /// When it is gone, or its `status` is not what proc_pid_status(5) says.
    pub fn of(pid: i32) -> Result<Self> {
        Self::read(&pid.to_string())
    }

    /// Of this process.
    ///
    /// # Errors
    /// As [`Memory::of`].
    pub fn own() -> Result<Self> {
        Self::read("self")
    }

    fn read(who: &str) -> Result<Self> {
        let text = std::fs::read_to_string(format!("/proc/{who}/status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = text.lines().find(|line| line.starts_with(name)).with_context(|| name.to_owned())?;
            Ok(line.split_whitespace().nth(1).unwrap_or_default().parse()?)
        };
        Ok(Self { resident_kib: field("VmRSS:")?, anonymous_kib: field("RssAnon:")? })
    }
}
