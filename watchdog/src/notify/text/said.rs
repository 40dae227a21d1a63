//! A sentence with what is quoted in it.
//!
//! Responsible for keeping a language's own words apart from data (names, commands, errors), so that
//! markup is made last, a cut never lies inside it, and a test can ask what language the words are.
//! It knows no channel's markup. Invariant: no span holds a line break or another control character,
//! whatever came in from outside.

use crate::proc::redact;

/// Longest name that is quoted, in characters.
const NAME_MAX: usize = 80;

/// Longest command or error that is quoted, in characters.
const CODE_MAX: usize = 300;

/// A part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// Words of the language.
    Text(String),
    /// A name, the same in every language.
    Name(String),
    /// A command line, a path or an error as a program wrote it.
    Code(String),
}

impl Span {
    fn letters(&self) -> &str {
        match self {
            Self::Text(letters) | Self::Name(letters) | Self::Code(letters) => letters,
        }
    }

    fn with(&self, letters: String) -> Self {
        match self {
            Self::Text(_) => Self::Text(letters),
            Self::Name(_) => Self::Name(letters),
            Self::Code(_) => Self::Code(letters),
        }
    }
}

/// A sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said(Vec<Span>);

impl Said {
    /// Begins with words.
    #[must_use]
    pub fn of(text: impl Into<String>) -> Self {
        Self::default().text(text)
    }

    /// Goes on with words.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        match self.0.last_mut() {
            Some(Span::Text(before)) => before.push_str(&text),
            Some(Span::Name(_) | Span::Code(_)) | None if text.is_empty() => {}
            Some(Span::Name(_) | Span::Code(_)) | None => self.0.push(Span::Text(text)),
        }
        self
    }

    /// Goes on with a name.
    #[must_use]
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.0.push(Span::Name(redact::plain(name.as_ref().as_bytes(), NAME_MAX)));
        self
    }

    /// Goes on with code.
    #[must_use]
    pub fn code(mut self, code: impl AsRef<str>) -> Self {
        self.0.push(Span::Code(redact::plain(code.as_ref().as_bytes(), CODE_MAX)));
        self
    }

    /// Goes on with an address: a name of any length.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.0.push(Span::Name(address.into()));
        self
    }

    /// Goes on with another sentence.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for span in other.0 {
            match span {
                Span::Text(text) => self = self.text(text),
                Span::Name(_) | Span::Code(_) => self.0.push(span),
            }
        }
        self
    }

    /// Names in a row, with commas between them.
    #[must_use]
    pub fn names<'name>(self, names: impl IntoIterator<Item = &'name str>) -> Self {
        names.into_iter().enumerate().fold(self, |said, (index, name)| {
            let said = if index == 0 { said } else { said.text(", ") };
            said.name(name)
        })
    }

    /// Its parts.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// Length in characters, without markup.
    #[must_use]
    pub fn characters(&self) -> usize {
        self.0.iter().map(|span| span.letters().chars().count()).sum()
    }

    /// At most so many characters; what is left out is shown as one `…`.
    #[must_use]
    pub fn cut(&self, characters: usize) -> Self {
        if self.characters() <= characters {
            return self.clone();
        }
        let mut room = characters.saturating_sub(1);
        let mut kept = Self::default();
        for span in &self.0 {
            let letters: String = span.letters().chars().take(room).collect();
            room -= letters.chars().count();
            if !letters.is_empty() {
                kept.0.push(span.with(letters));
            }
        }
        kept.text("…")
    }

    /// The letters alone, for a place where everything is code.
    #[must_use]
    pub fn bare(&self) -> String {
        self.0.iter().map(Span::letters).collect()
    }

    /// Without markup: code stands in backticks, so that its end can be seen.
    #[must_use]
    pub fn plain(&self) -> String {
        let plain = |span: &Span| match span {
            Span::Text(letters) | Span::Name(letters) => letters.clone(),
            Span::Code(code) => format!("`{code}`"),
        };
        self.0.iter().map(plain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_code_from_outside_cannot_break_a_line_or_turn_it_round() {
        let said = Said::of("a ").name("x\ny\u{202e}z").text(" b ").code("rm\t-rf\u{0}/\r\n");
        assert_eq!(said.plain(), "a x y z b `rm -rf /  `");
    }

    #[test]
    fn a_cut_keeps_the_beginning_and_says_that_it_cut() {
        let said = Said::of("one ").code("two three").text(" four");
        assert_eq!(said.cut(18), said);
        assert_eq!(said.cut(17).plain(), "one `two three` fo…");
        assert_eq!(said.cut(8).plain(), "one `two`…");
        assert_eq!(said.cut(8).characters(), 8);
        assert_eq!(said.cut(1).plain(), "…");
    }

    #[test]
    fn words_that_follow_each_other_are_one_part() {
        let said = Said::of("a").text("").text("b").and(Said::of("c").name("d"));
        assert_eq!(said.spans(), [Span::Text("abc".into()), Span::Name("d".into())]);
    }
}
