//! Signal masks and dispositions of the supervisor and of the program that it starts.
//!
//! The standard library hands both on to a child; a core that was started by `nohup`, or in the background of a script
//! (SIGINT and SIGQUIT ignored), would hand agents signals that they can never catch, and an ignored SIGCHLD loses
//! every exit status. Setting a disposition needs `unsafe`; *catching* a signal through tokio does not, and exec turns
//! what is caught into the default. So that is how the default is restored here.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use proc_identity::PROC_ROOT;
use tokio::signal::unix::{SignalKind, signal};

/// Left alone: what cannot be caught (KILL, STOP), what must not be caught by a handler that returns (ILL, FPE, SEGV), and
/// SIGPIPE, which the Rust runtime ignores in this process and `exec` restores.
const LEFT_ALONE: [Signal; 6] =
    [Signal::SIGKILL, Signal::SIGSTOP, Signal::SIGILL, Signal::SIGFPE, Signal::SIGSEGV, Signal::SIGPIPE];

/// What a supervisor is told by signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// SIGTERM or SIGINT: end the run.
    Stop,
    /// SIGCHLD: somebody is to be reaped.
    Child,
    /// Anything else is of no interest to a supervisor.
    Nothing,
}

/// The supervisor's signals, as a descriptor.
#[derive(Debug)]
pub(super) struct Inbox(SignalFd);

impl Inbox {
    /// Blocks every signal of this thread and opens the descriptor for those that matter.
    pub(super) fn open() -> std::io::Result<Self> {
        let mut read = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
            read.add(signal);
        }
        SigSet::all().thread_block()?;
        Ok(Self(SignalFd::with_flags(&read, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next signal that is pending.
    pub(super) fn next(&self) -> Option<Told> {
        let info = self.0.read_signal().ok().flatten()?;
        let number = i32::try_from(info.ssi_signo).unwrap_or_default();
        Some(match Signal::try_from(number) {
            Ok(Signal::SIGTERM | Signal::SIGINT) => Told::Stop,
            Ok(Signal::SIGCHLD) => Told::Child,
            Ok(_) | Err(_) => Told::Nothing,
        })
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Unblocks everything: the mask survives exec.
pub(super) fn clear_mask() -> std::io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    Ok(())
}

/// Makes sure that none of the signals asked for is ignored: here it is then caught (and the catch does nothing), behind
/// the next exec it is the default.
pub(super) fn stop_ignoring(which: Which) -> std::io::Result<()> {
    let own = i32::try_from(std::process::id()).map_err(std::io::Error::other)?;
    let ignored = proc_identity::read_status(PROC_ROOT.as_ref(), own)
        .map_err(std::io::Error::other)?
        .ignored_signals
        .unwrap_or(u64::MAX);
    let wanted = |signal: &Signal| match which {
        Which::All => !LEFT_ALONE.contains(signal),
        Which::Children => *signal == Signal::SIGCHLD,
    };
    let mut affected = Signal::iterator()
        .filter(|signal| wanted(signal) && ignored & (1 << (*signal as u32 - 1)) != 0)
        .peekable();
    if affected.peek().is_none() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    for caught in affected {
        // only the handler is wanted, and it stays when the stream of events is dropped
        drop(signal(SignalKind::from_raw(caught as i32))?);
    }
    Ok(())
}

/// Which ignored signals are to be caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All that a program may want to catch.
    All,
    /// SIGCHLD alone: while it is ignored, children vanish without a status.
    Children,
}
