//! Says at once when a watched process ends, instead of at the next tick.
//!
//! Responsible for one pidfd for each family's topmost process, a bounded number. A pidfd becomes readable when the
//! process turns into a zombie, which is the end we mean; it needs no permission over the process and can signal
//! nothing here. It decides nothing: whoever awaits it makes an ordinary pass. Where pidfds are refused (an old
//! kernel, a seccomp filter) the tick finds the end a little later, and [`EndWatch::refusal`] says so.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::task::Poll;

use proc_identity::ProcessId;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource, getrlimit, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::reader::Reader;
use crate::observe::Family;

/// Processes watched at once at most; each costs a file descriptor. A host with more matched families than this has a
/// trouble of its own, which is told at the tick as well.
pub const WATCHED_MAX: usize = 512;

/// Share of the files that this process may have open: the rest belongs to connections, collectors and the state.
const SHARE_OF_FILES: u64 = 4;

/// The watched processes.
#[derive(Debug)]
pub struct EndWatch {
    room: usize,
    watched: BTreeMap<ProcessId, AsyncFd<OwnedFd>>,
    /// Ended and told, and still in the last observation.
    told: Vec<ProcessId>,
    refusal: Option<String>,
    unwatched: usize,
}

impl Default for EndWatch {
    /// With as much room as the limit of open files leaves.
    fn default() -> Self {
        let files = getrlimit(Resource::Nofile).current;
        let share =
            files.map_or(WATCHED_MAX, |files| usize::try_from(files / SHARE_OF_FILES).unwrap_or(WATCHED_MAX));
        Self::with_room(share.min(WATCHED_MAX))
    }
}

impl EndWatch {
    /// Watches so many processes at most.
    #[must_use]
    pub fn with_room(room: usize) -> Self {
        Self { room, watched: BTreeMap::new(), told: Vec::new(), refusal: None, unwatched: 0 }
    }

    /// Watches exactly the topmost live process of each family from now on. Must run inside a tokio runtime.
    pub fn follow(&mut self, families: &[Family], reader: &mut Reader) {
        let roots: Vec<ProcessId> = families
            .iter()
            .filter_map(|family| family.members.first())
            .map(|member| ProcessId { pid: member.key.pid, start_ticks: member.key.start_ticks })
            .collect();
        self.watched.retain(|id, _| roots.contains(id));
        self.told.retain(|id| roots.contains(id));
        self.unwatched = 0;
        for id in roots {
            if self.watched.contains_key(&id) || self.told.contains(&id) {
                continue;
            }
            if self.watched.len() >= self.room {
                self.unwatched += 1;
                continue;
            }
            match open(id, reader) {
                Ok(Some(fd)) => {
                    self.refusal = None;
                    self.watched.insert(id, fd);
                }
                Ok(None) => {}
                Err(error) => {
                    self.refusal = Some(error);
                    self.unwatched += 1;
                }
            }
        }
    }

    /// Waits until one of them ends, and says which; each is told once. Waits for ever when none is watched.
    /// Cancel-safe: nothing is lost when the future is dropped.
    pub async fn ended(&mut self) -> ProcessId {
        let watched = &self.watched;
        let id = poll_fn(|context| {
            for (id, fd) in watched {
                // an error of the poll itself is worth a look as well
                if fd.poll_read_ready(context).is_ready() {
                    return Poll::Ready(*id);
                }
            }
            Poll::Pending
        })
        .await;
        self.watched.remove(&id);
        self.told.push(id);
        id
    }

    /// How many are watched.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.watched.len()
    }

    /// How many topmost processes are left to the tick.
    #[must_use]
    pub fn unwatched(&self) -> usize {
        self.unwatched
    }

    /// Why the kernel gave no pidfd, if it did not.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

/// `Ok(None)`: it ended already, and the next pass will see it.
fn open(id: ProcessId, reader: &mut Reader) -> Result<Option<AsyncFd<OwnedFd>>, String> {
    let Some(pid) = Pid::from_raw(id.pid) else { return Ok(None) };
    let fd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(fd) => fd,
        Err(Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(format!("pidfd_open: {errno}")),
    };
    // the descriptor holds whoever has the pid now; only if that is still the one we mean, it is ours
    match reader.stat(id.pid).map(|stat| stat.id()) {
        Ok(now) if now == id => {}
        Ok(_) | Err(_) => return Ok(None),
    }
    register(fd).map(Some).map_err(|error| format!("pidfd: {error}"))
}

/// What makes the successor of this constructor unsafe to call is a descriptor that somebody else closes; an `OwnedFd`
/// that lives inside the result cannot be.
#[expect(
    deprecated,
    reason = "the successor needs unsafe code, which is forbidden here; an OwnedFd is sound"
)]
fn register(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}
