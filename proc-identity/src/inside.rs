//! Whether the kernel would let the caller look inside a process: at its environment, memory, maps or descriptors.
//!
//! Told by `stat`, which every user may read. proc_pid_stat(5) marks some fields with \[PT\]: they are filled in only
//! where ptrace(2)'s read access would be granted, the check that guards `environ` and its neighbours. So the answer is
//! the kernel's own, and none of those files has to be opened to get it. Judges nothing.

use crate::ProcError;
use crate::number::{unsigned, words};

/// `startcode` is field 26, and `state`, field 3, is the first word behind the name.
const START_CODE: usize = 26 - 3;

/// What the caller would be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// A look inside.
    Granted,
    /// None.
    Denied,
    /// There is nothing to look at: a thread of the kernel, or a process that ended.
    Empty,
}

impl Inside {
    /// Reads the text of `stat`.
    ///
    /// # Errors
    /// [`ProcError::Malformed`]
    pub fn parse(text: &[u8]) -> Result<Self, ProcError> {
        let bad = ProcError::Malformed { file: "stat", field: "startcode" };
        let close = text.iter().rposition(|byte| *byte == b')').ok_or(bad.clone())?;
        let tail = text.get(close + 1..).unwrap_or_default();
        // fs/proc/array.c, do_task_stat: 0 without memory, 1 without permission, else the address
        match words(tail).nth(START_CODE).and_then(unsigned).ok_or(bad)? {
            0 => Ok(Self::Empty),
            1 => Ok(Self::Denied),
            _ => Ok(Self::Granted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(start_code: &str) -> Result<Inside, ProcError> {
        let text = format!(
            "7 (a ) b) S 1 7 7 0 -1 4194304 9 0 0 0 1 2 0 0 20 0 1 0 99 4096 25 18446744073709551615 {start_code} 5 0"
        );
        Inside::parse(text.as_bytes())
    }

    #[test]
    fn the_address_of_the_code_is_shown_to_whoever_may_look_inside() {
        assert_eq!(of("94565975068672"), Ok(Inside::Granted));
        assert_eq!(of("1"), Ok(Inside::Denied));
        assert_eq!(of("0"), Ok(Inside::Empty));
        let bad = Err(ProcError::Malformed { file: "stat", field: "startcode" });
        assert_eq!(of("x"), bad);
        assert_eq!(Inside::parse(b"7 (a) S 1 7"), bad);
        assert_eq!(Inside::parse(b""), bad);
    }
}
