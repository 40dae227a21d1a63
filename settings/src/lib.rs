//! orch-settings: settings from the environment, read through one declarative table of keys.
//!
//! A program states its keys once ([`Table`]); from that statement come reading ([`Reader`]), the
//! example file, the reference and the print of what is in effect ([`render`]). Responsible for
//! text into typed values and for telling *everything* that is wrong at once. It does not know any
//! key of either program, and reads the environment only in [`Strings::from_process`], which
//! `main` calls.
//!
//! Invariants: the value of a secret never appears in a problem, a print or a `Debug` form; no
//! value leaves [`Reader::finish`] while a single problem stands; a key that is declared but never
//! read, or read but not declared, is itself a problem.

pub mod decimal;
pub mod generated;
mod http_address;
mod key;
mod nearest;
mod problem;
mod reader;
pub mod render;
mod strings;

pub use key::{Empty, Fallback, Key, Kind, Section, Table, Unit, Unknown};
pub use nearest::nearest;
pub use problem::{Problem, Problems};
pub use reader::{Loaded, Reader};
pub use secrecy::{ExposeSecret, SecretString};
pub use strings::Strings;
