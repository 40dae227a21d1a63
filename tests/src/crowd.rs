//! Many processes, for benches: idle ones, and ones that come and go.
//!
//! Responsible for starting them and for ending exactly these, each by its own handle. It measures nothing.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process::bare_program;

/// Processes that come and go, a second.
pub const CHURN_A_SECOND: u32 = 50;
/// How long each of these lives, in seconds: long enough that a pass meets some of them alive.
const CHURN_LIFE_S: &str = "1";

/// Idle processes; ended and reaped on drop.
#[derive(Debug)]
pub struct Crowd(Vec<Child>);

impl Crowd {
    /// Starts `size` idle processes, of which the first `matched` call themselves pytest.
    ///
    /// # Errors
    /// When the host starts no more of them.
    pub fn start(size: usize, matched: usize) -> Result<Self> {
        let mut crowd = Self(Vec::with_capacity(size));
        for at in 0..size {
            let mut command = bare_program("sleep");
            command.arg("3600").stdin(Stdio::null());
            if at < matched {
                command.arg0("pytest");
            }
            crowd.0.push(command.spawn().with_context(|| format!("started {at} of {size}"))?);
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // those that ended by themselves are only reaped
        for child in &mut self.0 {
            child.kill().ok();
        }
        for child in &mut self.0 {
            child.wait().ok();
        }
    }
}

/// Processes that come and go until it is dropped.
#[derive(Debug)]
pub struct Churn {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Churn {
    /// Begins.
    #[must_use]
    pub fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut alive: Vec<Child> = Vec::new();
            while !told.load(Ordering::Relaxed) {
                // one that the host refuses is one less, and the next may be started again
                alive.extend(bare_program("sleep").arg(CHURN_LIFE_S).stdin(Stdio::null()).spawn());
                alive.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
                std::thread::sleep(Duration::from_secs(1) / CHURN_A_SECOND);
            }
            for mut child in alive {
                child.wait().ok();
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}
