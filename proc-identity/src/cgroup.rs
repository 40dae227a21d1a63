//! `/proc/<pid>/cgroup`: which control groups a process is in.
//!
//! cgroups(7). Only the three columns; which container a path means is the reader's judgement. Paths that begin with
//! `/../` are normal: the reader's cgroup namespace does not reach that far.

use crate::ProcError;
use crate::number::unsigned;

/// One hierarchy's line, `id:controllers:path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupLine {
    /// Number of the hierarchy; 0 is cgroup v2.
    pub hierarchy: u64,
    /// Controllers, comma separated; empty in v2.
    pub controllers: String,
    /// Path in the hierarchy. Bytes that are no UTF-8 are replaced.
    pub path: String,
}

/// Reads the text of `cgroup`.
///
/// # Errors
/// [`ProcError::Malformed`] on a line without three columns.
pub fn parse(text: &[u8]) -> Result<Vec<CgroupLine>, ProcError> {
    let bad = |field| ProcError::Malformed { file: "cgroup", field };
    let mut lines = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut columns = line.splitn(3, |byte| *byte == b':');
        let hierarchy = columns.next().and_then(unsigned).ok_or(bad("hierarchy"))?;
        let controllers = columns.next().ok_or(bad("controllers"))?;
        let path = columns.next().ok_or(bad("path"))?;
        lines.push(CgroupLine {
            hierarchy,
            controllers: String::from_utf8_lossy(controllers).into_owned(),
            path: String::from_utf8_lossy(path).into_owned(),
        });
    }
    Ok(lines)
}

/// The cgroup v2 path, if the process is in that hierarchy.
#[must_use]
pub fn unified(lines: &[CgroupLine]) -> Option<&str> {
    lines.iter().find(|line| line.hierarchy == 0).map(|line| line.path.as_str())
}
