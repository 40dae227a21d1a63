//! Labelled points at which a test can end this process, as SIGKILL would, or let one thread hang.
//!
//! Responsible for the hidden variables `WATCHDOG_FAILPOINT=<label>[:<detail>]` and
//! `WATCHDOG_HANGPOINT=<label>=<file>` (whoever comes by stands there while the file exists, as before
//! a disk that does not answer), in builds with debug assertions; a release build has none of this.
//! What is told twice and what is lost after it is what the proof is about. The details are kinds of
//! notices, so that a test can choose the alert or its recovery.

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

#[cfg(debug_assertions)]
static HANGING: OnceLock<(String, std::path::PathBuf)> = OnceLock::new();

/// How often a hanging thread looks whether it may go on.
#[cfg(debug_assertions)]
const HANG_LOOKS: std::time::Duration = std::time::Duration::from_millis(20);

/// Lets threads hang at one point, for this life: `<label>=<file>`.
#[cfg(debug_assertions)]
pub fn arm_hang(point: &str) {
    let armed = point.split_once('=').map(|(label, file)| HANGING.set((label.to_owned(), file.into())));
    if armed != Some(Ok(())) {
        tracing::warn!(point, "no point to hang at, or one is armed already");
    }
}

/// Ends the process here if this point is armed, or waits if it is to hang.
#[cfg_attr(not(debug_assertions), expect(clippy::missing_const_for_fn, reason = "empty in release builds"))]
pub fn hit(label: &str, detail: &str) {
    #[cfg(debug_assertions)]
    if let Some((_, file)) = HANGING.get().filter(|(armed, _)| armed == label) {
        while file.exists() {
            std::thread::sleep(HANG_LOOKS);
        }
    }
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
