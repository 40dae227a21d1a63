//! The process collector: what runs on this host that matches, who belongs to it, where it came from, who owns it.
//!
//! The rim (`scan`, `recount`, `reader`, `detail`, `selfcheck`, `endwatch`) reads; the middle (`shape`, `redact`, `table`,
//! `family`, `lineage`, `container`, `ownership`) decides without I/O and without a clock.
//!
//! Nothing here opens another process's environment, memory, maps or descriptors, and nothing sends a signal.

mod assemble;
pub mod container;
mod detail;
pub mod endwatch;
pub mod family;
mod hiding;
pub mod hint;
pub mod inspect;
pub mod lineage;
mod marked;
mod outlook;
pub mod ownership;
pub mod reader;
mod recount;
pub mod redact;
mod rhythm;
pub mod runs;
pub mod scan;
pub mod selfcheck;
pub mod shape;
pub mod stop;
pub mod table;
mod turns;
mod wrapper;

pub use endwatch::EndWatch;
pub use family::ProcMemory;
pub use hiding::Hiding;
pub use hint::CoreHint;
pub use ownership::{CoreKnowledge, Judgement, Verdict, judge};
pub use reader::Counters;
pub use scan::{Collector, CollectorSettings, StartError};
pub use selfcheck::{Answer, InodeScheme, SelfCheck};
pub use shape::Pattern;
