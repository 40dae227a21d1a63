//! An error with its causes as one line, for the place that handles it.

use std::{error::Error, fmt::Write};

/// `outer: cause: cause of the cause`. Error texts here never repeat their source, so nothing is
/// said twice.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if write!(line, ": {cause}").is_err() {
            break;
        }
        source = cause.source();
    }
    line
}
