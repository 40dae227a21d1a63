//! What a program did, by its system calls: strace's record against a list of what it may do.
//!
//! Responsible for starting strace, for reading what it wrote, and for naming each violation. Calls before the
//! program's own `execve` are the wrapper's (setpriv, which gives up privileges) and are left out; everything after is
//! judged, threads included. Needs strace and says how to get it.

pub mod line;
pub mod rules;

use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;
use line::{Call, Line};
pub use rules::{Processes, Rules, Violation};

/// Bytes of a string argument that strace writes down: a request's first line.
const STRING_BYTES: &str = "96";

/// A command under strace, which writes a file a thread into `folder`; its arguments are the program's.
///
/// # Errors
/// When strace is missing: names the command that installs it.
pub fn command(folder: &Path) -> Result<Command> {
    let found = process::bare_program("strace").arg("--version").output();
    if !found.is_ok_and(|said| said.status.success()) {
        bail!("strace is missing: apt-get install strace");
    }
    let mut command = process::bare_program("strace");
    command.args(["-ff", "-yy", "-s", STRING_BYTES, "-o"]).arg(folder.join("thread"));
    Ok(command)
}

/// What one program did.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Its pid.
    pub pid: i32,
    /// Calls of all threads, the main one's first.
    pub calls: Vec<Call>,
    /// Signals that arrived, at whichever thread.
    pub signals: Vec<String>,
    /// How the main thread ended.
    pub end: Option<String>,
    /// Lines that could not be taken apart.
    pub strange: Vec<String>,
}

impl Trace {
    /// Reads the files that [`command`] made strace write, from the `execve` of `program` on.
    ///
    /// # Errors
    /// When a file cannot be read, or no thread executed the program.
    pub fn read(folder: &Path, program: &Path) -> Result<Self> {
        let mut threads: Vec<(i32, String)> = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| format!("no traces in {}", folder.display()))? {
            let path = entry?.path();
            let tid = path.extension().and_then(|tid| tid.to_str()?.parse().ok());
            let tid = tid.with_context(|| format!("{} is no thread's file", path.display()))?;
            threads.push((tid, fs::read_to_string(&path)?));
        }
        threads.sort_unstable();
        let begin = format!("execve({:?}", program.display().to_string());
        let main = threads.iter().position(|(_, text)| text.lines().any(|line| line.starts_with(&begin)));
        let main = threads.remove(main.with_context(|| format!("nothing executed {}", program.display()))?);
        let mut trace = Self { pid: main.0, ..Self::default() };
        let own = main.1.lines().skip_while(|line| !line.starts_with(&begin)).skip(1);
        trace.take(own);
        for (_, text) in &threads {
            // the main thread's end is the program's; a signal to the program may arrive at any thread
            let end = trace.end.take();
            trace.take(text.lines());
            trace.end = end;
        }
        Ok(trace)
    }

    /// Takes lines of one thread in.
    pub fn take<'text>(&mut self, lines: impl Iterator<Item = &'text str>) {
        for text in lines {
            match line::parse(text) {
                Ok(Line::Call(call)) => self.calls.push(call),
                Ok(Line::Signal(name)) => self.signals.push(name),
                Ok(Line::End(how)) => self.end = Some(how),
                Err(strange) => self.strange.push(strange),
            }
        }
    }

    /// Everything that must not have happened.
    #[must_use]
    pub fn violations(&self, rules: &Rules) -> Vec<Violation> {
        let strange = self.strange.iter().cloned().map(Violation::Strange);
        let judged = self.calls.iter().flat_map(|call| rules.judge(call));
        strange.chain(self.unconfined()).chain(judged).collect()
    }

    /// Confinement holds for the thread that asked for it and for those it starts later; no earlier one has it.
    fn unconfined(&self) -> Option<Violation> {
        let first = |wanted: &dyn Fn(&Call) -> bool| self.calls.iter().position(wanted);
        let confined = first(&|call| call.name == "landlock_restrict_self" && call.result == "0");
        let thread = first(&|call| call.name.starts_with("clone"));
        match (confined, thread) {
            (None, _) => Some(Violation::Unconfined("landlock_restrict_self was not granted".to_owned())),
            (Some(confined), Some(thread)) if thread < confined => {
                Some(Violation::Unconfined("a thread was there before".to_owned()))
            }
            (Some(_), _) => None,
        }
    }

    /// How often a file was opened, by its absolute path.
    #[must_use]
    pub fn opened(&self, path: &Path) -> usize {
        let opens = self.calls.iter().filter(|call| call.name == "openat" && !call.failed());
        opens.filter(|call| line::described(&call.result).map(PathBuf::from).as_deref() == Some(path)).count()
    }

    /// How often something was asked of the kernel by this name and with this text in its arguments.
    #[must_use]
    pub fn count(&self, name: &str, text: &str) -> usize {
        let named = self.calls.iter().filter(|call| call.name == name);
        named.filter(|call| call.arguments.iter().any(|argument| argument.contains(text))).count()
    }
}

#[cfg(test)]
mod tests;
