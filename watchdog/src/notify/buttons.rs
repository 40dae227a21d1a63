//! Buttons below an alert: what they say, and what a press of one carries.
//!
//! Responsible for the two words that travel to the chat and back. A press carries the short name of
//! a case and nothing else: names are kept in the state file and never given twice, so an old button
//! cannot reach another case, and a forged one can do no more than the same words typed.

use super::text::{self, Locale};
use crate::cases::CaseId;

/// How long the button mutes (one hour, in milliseconds).
pub const MUTE_MS: i64 = 3_600_000;

/// Rows below one message at most: one a case, worst first.
pub const ROWS_MAX: usize = 10;

/// A button as a channel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// What it says.
    pub text: String,
    /// What a press carries.
    pub data: String,
}

/// What a button asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// I have seen it.
    Acknowledge,
    /// Not for an hour.
    Mute,
}

impl Wish {
    /// All of them, in the order of a row.
    pub const ALL: [Self; 2] = [Self::Acknowledge, Self::Mute];

    fn word(self) -> &'static str {
        match self {
            Self::Acknowledge => "ack",
            Self::Mute => "mute",
        }
    }
}

/// The buttons of one case.
#[must_use]
pub fn row(id: CaseId, locale: Locale) -> Vec<Button> {
    let button =
        |wish: Wish| Button { text: text::button(wish, id, locale), data: format!("{} {id}", wish.word()) };
    Wish::ALL.map(button).into()
}

/// What a press asks for, of which case.
#[must_use]
pub fn read(data: &str) -> Option<(Wish, CaseId)> {
    let (word, id) = data.split_once(' ')?;
    let wish = Wish::ALL.into_iter().find(|wish| wish.word() == word)?;
    Some((wish, CaseId::parse(id)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_button_carries_is_read_back_and_fits() {
        let id = CaseId::parse("c18446744073709551615").unwrap();
        let wishes: Vec<_> = row(id, Locale::English).iter().map(|button| read(&button.data)).collect();
        assert_eq!(wishes, [Some((Wish::Acknowledge, id)), Some((Wish::Mute, id))]);
        assert!(row(id, Locale::English).iter().all(|button| button.data.len() <= 64));
        for forged in ["", "ack", "ack ", "ack 17", "unmute c1", "ack c1 c2", "mute all"] {
            assert_eq!(read(forged), None, "{forged}");
        }
    }
}
