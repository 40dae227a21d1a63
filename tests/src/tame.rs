//! Text that cannot do anything to whoever reads it on a terminal.
//!
//! Responsible for the one rule that every output is held to. What a program writes of its own accord (colours, line
//! ends) is taken off by the caller before it asks.

/// Whether a line holds nothing that a terminal obeys, and nothing that turns or hides what is read.
#[must_use]
pub fn is_tame(line: &str) -> bool {
    !line.chars().any(|letter| {
        letter.is_control()
            || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_cursor_or_turns_a_line_is_not_tame() {
        for line in ["", "plain ünïcode → ├─ 🔴", "&lt;b&gt;"] {
            assert!(is_tame(line), "{line:?}");
        }
        for letter in
            ['\u{1b}', '\u{9b}', '\r', '\n', '\t', '\u{7f}', '\u{202e}', '\u{2067}', '\u{200f}', '\u{2028}']
        {
            assert!(!is_tame(&format!("a{letter}b")), "{letter:?}");
        }
    }
}
