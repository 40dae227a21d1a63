//! Runs under supervision, with real processes: the real binary supervises, Python programs misbehave.
//!
//! Every claim about an end is checked twice, by cookie and by a marker that each member carries in its command line, so
//! that a fault in the cookie does not hide itself.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

mod adoption;
mod outcomes;
mod protocol;
mod support;
mod zoo;
