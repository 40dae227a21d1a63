//! What the chat is answered, cut to what it takes.
//!
//! The words stand in `notify::text`, in every language.

use crate::commands::Reply;
use crate::notify::text::{self, ChatWord, Locale};

/// Characters of the answer to a press.
const PRESS_MAX_CHARACTERS: usize = 200;

/// Characters of any other answer, with room for markup and the line on what was cut.
const ANSWER_MAX_CHARACTERS: usize = 3_500;

/// Done, and a restart would forget it.
pub(super) fn unsaved(words: &str, locale: Locale) -> String {
    format!("{words}\n{}", text::chat(ChatWord::Unsaved, locale))
}

/// An answer as a chat takes it.
pub(super) fn reply(reply: &Reply, locale: Locale) -> String {
    by_lines(&text::reply(reply, locale), locale)
}

/// An answer to a press.
pub(super) fn press(text: &str) -> String {
    text.chars().take(PRESS_MAX_CHARACTERS).collect()
}

/// As many whole lines as fit, and how many more there are.
pub(super) fn by_lines(answer: &str, locale: Locale) -> String {
    let mut kept = String::new();
    let mut characters = 0;
    let lines: Vec<&str> = answer.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        characters += line.chars().count() + 1;
        if characters > ANSWER_MAX_CHARACTERS {
            kept.push_str(&text::chat(ChatWord::LinesLeftOut(lines.len() - index), locale));
            return kept;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept.truncate(kept.trim_end().len());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_is_cut_by_whole_lines() {
        let long = "x".repeat(99) + "\n";
        let cut = by_lines(&long.repeat(50), Locale::English);
        assert!(cut.ends_with("and 15 lines more"), "{cut}");
        assert_eq!(cut.lines().count(), 36);
        assert_eq!(by_lines("a\nb\n", Locale::English), "a\nb");
        assert_eq!(by_lines(&"y".repeat(9_000), Locale::Russian), "и ещё 1 строка");
    }
}
