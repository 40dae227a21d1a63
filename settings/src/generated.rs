//! Files of the repository that equal a rendering: compared by tests, rewritten on demand.
//!
//! For tests of the programs; no program calls this.

use std::path::Path;

use crate::render;
use crate::strings::Strings;

/// Variable that makes tests rewrite the files instead of refusing them.
pub const UPDATE_VARIABLE: &str = "UPDATE_FILES";

/// What to do about a file that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differing {
    /// Say so.
    Refuse,
    /// Rewrite it.
    Rewrite,
}

/// What the environment of the tests asks for.
#[must_use]
pub fn differing(strings: &Strings) -> Differing {
    if strings.is_set(UPDATE_VARIABLE) { Differing::Rewrite } else { Differing::Refuse }
}

/// The settings of an environment file, comments left out.
pub fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='))
}

/// Compares one marked block of a document ([`render::with_block`]) with what it should hold.
///
/// # Errors
/// As [`agree`], and when the document has no such block.
pub fn agree_block(path: &Path, name: &str, block: &str, differing: Differing) -> Result<(), String> {
    let document = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let wanted = render::with_block(&document, name, block)
        .ok_or_else(|| format!("{} has no block {name:?}", path.display()))?;
    agree(path, &wanted, differing)
}

/// Compares a file with what it should hold.
///
/// # Errors
/// In words, when it differs and may not be rewritten, or cannot be read or written.
pub fn agree(path: &Path, wanted: &str, differing: Differing) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let found = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    if found == wanted {
        return Ok(());
    }
    match differing {
        Differing::Rewrite => std::fs::write(path, wanted).map_err(failed),
        Differing::Refuse => {
            let line = 1 + found.lines().zip(wanted.lines()).take_while(|(old, new)| old == new).count();
            let expected = wanted.lines().nth(line - 1).unwrap_or("the end");
            Err(format!(
                "{}:{line} is not as generated (expected: {expected}); run the tests with {UPDATE_VARIABLE}=1",
                path.display()
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewriting_happens_when_the_environment_asks_for_it_only() {
        assert_eq!(differing(&Strings::from_pairs([("OTHER", "1")])), Differing::Refuse);
        assert_eq!(differing(&Strings::from_pairs([(UPDATE_VARIABLE, "1")])), Differing::Rewrite);
    }

    #[test]
    fn an_environment_file_is_its_settings() {
        let found: Vec<_> = pairs("# A=1\nB=2\n\nC=x=y\nD=\n").collect();
        assert_eq!(found, [("B", "2"), ("C", "x=y"), ("D", "")]);
    }
}
