//! orch-telemetry: what both programs tell of themselves in the same way.
//!
//! Responsible for the log (its settings, its subscriber), for the numbers of the own process, and
//! for the word that a metric's unit has in the documents. It names no metric but `process_*`,
//! declares no setting, and decides nothing about what is worth a line.

mod log;
mod own_process;
mod unit;

pub use log::{Colour, LogConfig, LogFilter, LogFormat, LogKeys, TelemetryError, init};
pub use own_process::OwnProcess;
pub use unit::unit;
