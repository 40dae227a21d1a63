//! Who goes on next: every call of engine, store and world stops at a gate until it is let through.
//!
//! A gate is a step of one task of the core, or a sleep of one. Nothing here knows what happens
//! between two gates; time passes only when [`Schedule::pass_time`] says so.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use orch_core::{
    clock::ManualTime,
    store::{Passage, StorePoint, StorePoints},
};

/// What waits at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A step that cannot fail.
    Step,
    /// A call that can fail before anything happened, or after everything did.
    Call,
    /// A sleep, until this moment of time that never jumps.
    Sleep(i64),
}

/// How a gate is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// The call goes on.
    Go,
    /// The call fails here.
    Fail,
    /// The task that waits here panics.
    Panic,
}

#[derive(Debug)]
struct Gate {
    kind: Kind,
    at: &'static str,
    what: String,
    opened: Option<Open>,
    waker: Option<Waker>,
}

/// Who is told of writes, in the task that writes.
pub trait Witness: std::fmt::Debug + Send + Sync {
    /// Right before a write's transaction, or its failure.
    fn before(&self, command: &'static str);
    /// Right behind its commit.
    fn wrote(&self, command: &'static str);
    /// Its writer is told that it failed, though it stands.
    fn unheard(&self, command: &'static str);
}

#[derive(Debug, Default)]
struct Inner {
    witness: Option<Arc<dyn Witness>>,
    next: u64,
    gates: BTreeMap<u64, Gate>,
    passed_ms: i64,
    jumped_ms: i64,
    is_open: bool,
}

/// All gates of one history.
#[derive(Debug, Clone, Default)]
pub struct Schedule(Arc<Mutex<Inner>>);

/// When every history begins: 2026-01-01 in UTC milliseconds.
const BEGINNING_MS: i64 = 1_767_225_600_000;

impl Schedule {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits to be let through.
    #[must_use]
    pub fn gate(&self, kind: Kind, at: &'static str, what: String) -> Waiting {
        let mut inner = self.inner();
        inner.next += 1;
        let number = inner.next;
        let opened = inner.is_open.then_some(Open::Go);
        inner.gates.insert(number, Gate { kind, at, what, opened, waker: None });
        Waiting { schedule: self.clone(), number }
    }

    /// A step without a name of its own.
    pub async fn step(&self, at: &'static str, what: &str) {
        self.gate(Kind::Step, at, what.to_owned()).await;
    }

    /// A call that may be made to fail; answers whether it was.
    pub async fn fails(&self, at: &'static str, what: &str) -> bool {
        self.gate(Kind::Call, at, what.to_owned()).await == Open::Fail
    }

    /// Tells `witness` of every write from now on, or nobody.
    pub fn tell(&self, witness: Option<Arc<dyn Witness>>) {
        self.inner().witness = witness;
    }

    /// Lets everything through, without a choice, while `on`: for setting up and for looking.
    pub fn let_all_through(&self, on: bool) {
        self.inner().is_open = on;
    }

    /// Gates that can be opened now, oldest first.
    #[must_use]
    pub fn ready(&self) -> Vec<(u64, Kind)> {
        let inner = self.inner();
        let due = |kind| match kind {
            Kind::Sleep(until) => until <= inner.passed_ms,
            Kind::Step | Kind::Call => true,
        };
        inner
            .gates
            .iter()
            .filter(|(_, gate)| gate.opened.is_none() && due(gate.kind))
            .map(|(number, gate)| (*number, gate.kind))
            .collect()
    }

    /// Opens one gate; answers what waited there.
    pub fn open(&self, number: u64, how: Open) -> String {
        let mut inner = self.inner();
        let Some(gate) = inner.gates.get_mut(&number) else { return String::new() };
        gate.opened = Some(how);
        let (told, waker) = (format!("{} {}", gate.at, gate.what), gate.waker.take());
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        told
    }

    /// Lets time pass to the next sleeper's end; false when nobody sleeps.
    pub fn pass_time(&self) -> bool {
        let mut inner = self.inner();
        let next =
            inner.gates.values().filter(|gate| gate.opened.is_none()).filter_map(|gate| match gate.kind {
                Kind::Sleep(until) => Some(until),
                Kind::Step | Kind::Call => None,
            });
        let Some(next) = next.min() else { return false };
        inner.passed_ms = inner.passed_ms.max(next);
        true
    }

    /// Sets the host's clock forth or back.
    pub fn jump(&self, by_ms: i64) {
        self.inner().jumped_ms += by_ms;
    }

    /// Forgets every gate: the life that waited there is over.
    pub fn clear(&self) {
        self.inner().gates.clear();
    }
}

/// Somebody at a gate.
#[derive(Debug)]
pub struct Waiting {
    schedule: Schedule,
    number: u64,
}

impl Future for Waiting {
    type Output = Open;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Open> {
        let mut inner = self.schedule.inner();
        let Some(gate) = inner.gates.get_mut(&self.number) else { return Poll::Pending };
        match gate.opened {
            None => {
                gate.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(how) => {
                inner.gates.remove(&self.number);
                drop(inner);
                if how == Open::Panic {
                    // without the hook: it is meant, and told as a step
                    std::panic::resume_unwind(Box::new("the simulation ends this task"));
                }
                Poll::Ready(how)
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.schedule.inner().gates.remove(&self.number);
    }
}

impl ManualTime for Schedule {
    fn now_ms(&self) -> i64 {
        let inner = self.inner();
        BEGINNING_MS + inner.passed_ms + inner.jumped_ms
    }

    fn passed_ms(&self) -> i64 {
        self.inner().passed_ms
    }

    fn sleep_ms(&self, wait_ms: i64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let until = self.passed_ms() + wait_ms.max(0);
        let gate = self.gate(Kind::Sleep(until), "sleep", format!("{wait_ms} ms"));
        Box::pin(async move {
            gate.await;
        })
    }
}

impl StorePoints for Schedule {
    fn at(&self, point: StorePoint, command: &'static str) -> Pin<Box<dyn Future<Output = Passage> + Send>> {
        let (kind, at) = match point {
            StorePoint::Read => (Kind::Call, "read"),
            StorePoint::BeforeWrite => (Kind::Call, "write"),
            StorePoint::AfterWrite => (Kind::Call, "wrote"),
        };
        let witness = self.inner().witness.clone();
        if let (StorePoint::AfterWrite, Some(witness)) = (point, &witness) {
            witness.wrote(command);
        }
        let gate = self.gate(kind, at, command.to_owned());
        Box::pin(async move {
            let passage = match gate.await {
                Open::Fail => Passage::Fail,
                Open::Go | Open::Panic => Passage::Go,
            };
            match (point, passage, witness) {
                (StorePoint::BeforeWrite, _, Some(witness)) => witness.before(command),
                (StorePoint::AfterWrite, Passage::Fail, Some(witness)) => witness.unheard(command),
                _ => {}
            }
            passage
        })
    }
}
