//! Labelled points at which a test can end this process, as a crash would.
//!
//! A point is armed by the hidden setting `ORCH_FAILPOINT=<label>[:<detail>]` in builds with debug
//! assertions; a release build has none of this. Nothing but ending the process is offered: what a
//! crash at this point leaves behind is exactly what the proof is about.

#[cfg(debug_assertions)]
use std::sync::OnceLock;

#[cfg(debug_assertions)]
static ARMED: OnceLock<String> = OnceLock::new();

/// Arms one point for this life.
#[cfg(debug_assertions)]
pub fn arm(label: &str) {
    if ARMED.set(label.to_owned()).is_err() {
        tracing::warn!(label, "a fail point is armed already");
    }
}

/// Ends the process here if this point is armed.
#[cfg_attr(not(debug_assertions), expect(clippy::missing_const_for_fn, reason = "empty in release builds"))]
pub fn hit(label: &str, detail: &str) {
    #[cfg(debug_assertions)]
    if let Some(armed) = ARMED.get()
        && (armed == label || armed.split_once(':') == Some((label, detail)))
    {
        tracing::error!(label, detail, "fail point: ending the process");
        // SIGKILL to ourselves: no destructor, no buffer, no exit handler
        if rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).is_err() {
            std::process::abort();
        }
    }
    #[cfg(not(debug_assertions))]
    {
        let _ = (label, detail);
    }
}
