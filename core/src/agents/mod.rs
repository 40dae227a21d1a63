//! Agents that are other people's programs: how they are called, what they print, and what their end means.
//!
//! Pure: bytes and exit codes in, words out. Runs are started and watched elsewhere (`runs`, `actors::agents`).

pub mod claude;
pub mod prompt;
