//! Passing a program's lines on with its name before each, as `make run` shows them.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Where lines of several programs go; each line is written whole.
#[derive(Clone)]
pub struct Screen {
    out: Arc<Mutex<Box<dyn Write + Send>>>,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Screen")
    }
}

impl Screen {
    /// A screen on a writer.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        Self { out: Arc::new(Mutex::new(Box::new(out))) }
    }

    /// Write one line.
    pub fn say(&self, line: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // a reader that went away (`make run | head`) must not end the programs
        writeln!(out, "{line}").and_then(|()| out.flush()).ok();
    }

    /// Pass on all lines of a stream until it ends, in a thread of its own.
    pub fn relay(&self, name: &'static str, stream: impl Read + Send + 'static) -> thread::JoinHandle<()> {
        let screen = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                screen.say(&format!("{name:<8} | {}", String::from_utf8_lossy(&line)));
            }
        })
    }
}
