//! `/proc/<pid>/status`: what `stat` does not say, read for few processes.
//!
//! proc_pid_status(5). Own parser and not procfs's: that one refuses the whole file when the name is not UTF-8, which
//! any program can arrange for itself, and it demands every line it knows.

use crate::ProcError;
use crate::number::{hexadecimal, pid, unsigned, words};

/// The lines of `status` that are used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Pid in the namespace of the proc mount.
    pub pid: i32,
    /// Parent's pid, 0 when it is outside of the namespace.
    pub ppid: i32,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub effective_uid: u32,
    /// Number of threads.
    pub threads: u64,
    /// The pid in each namespace, from the proc mount's down to the process's own. Empty before Linux 4.1.
    pub ns_pids: Vec<i32>,
    /// The group id in each namespace; 0 where the leader is outside of it.
    pub ns_pgids: Vec<i32>,
    /// The session id in each namespace; 0 where the leader is outside of it.
    pub ns_sids: Vec<i32>,
    /// Signals it ignores, bit n − 1 for signal n. Absent for a zombie.
    pub ignored_signals: Option<u64>,
}

impl Status {
    /// Reads the text of `status`.
    ///
    /// # Errors
    /// [`ProcError::Malformed`] naming the first line that is missing or unreadable.
    pub fn parse(text: &[u8]) -> Result<Self, ProcError> {
        let bad = |field| ProcError::Malformed { file: "status", field };
        let (mut own, mut parent, mut uids, mut threads, mut ignored_signals) =
            (None, None, None, None, None);
        let (mut ns_pids, mut ns_pgids, mut ns_sids) = (Vec::new(), Vec::new(), Vec::new());
        for line in text.split(|byte| *byte == b'\n') {
            // the kernel escapes newlines in the name, so a line's beginning is always its own
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (key, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default();
            match key {
                b"Pid" => own = Some(pid(value.trim_ascii()).ok_or(bad("Pid"))?),
                b"PPid" => parent = Some(pid(value.trim_ascii()).ok_or(bad("PPid"))?),
                b"Uid" => {
                    let mut ids =
                        words(value).map(|word| unsigned(word).and_then(|id| u32::try_from(id).ok()));
                    uids = Some(ids.next().flatten().zip(ids.next().flatten()).ok_or(bad("Uid"))?);
                }
                b"Threads" => threads = Some(unsigned(value.trim_ascii()).ok_or(bad("Threads"))?),
                b"NSpid" => ns_pids = pids(value).ok_or(bad("NSpid"))?,
                b"NSpgid" => ns_pgids = pids(value).ok_or(bad("NSpgid"))?,
                b"NSsid" => ns_sids = pids(value).ok_or(bad("NSsid"))?,
                b"SigIgn" => ignored_signals = Some(hexadecimal(value.trim_ascii()).ok_or(bad("SigIgn"))?),
                _ => {}
            }
        }
        let (uid, effective_uid) = uids.ok_or(bad("Uid"))?;
        Ok(Self {
            pid: own.ok_or(bad("Pid"))?,
            ppid: parent.ok_or(bad("PPid"))?,
            uid,
            effective_uid,
            threads: threads.ok_or(bad("Threads"))?,
            ns_pids,
            ns_pgids,
            ns_sids,
            ignored_signals,
        })
    }

    /// How many pid namespaces lie between the proc mount and the process, its own counted: 1 = the mount's own.
    /// `None` where the kernel does not say.
    #[must_use]
    pub fn namespace_depth(&self) -> Option<usize> {
        Some(self.ns_pids.len()).filter(|depth| *depth > 0)
    }

    /// The pid inside its own, innermost namespace.
    #[must_use]
    pub fn innermost_pid(&self) -> Option<i32> {
        self.ns_pids.last().copied()
    }
}

fn pids(value: &[u8]) -> Option<Vec<i32>> {
    words(value).map(pid).collect()
}
