//! The keeper before disks that take, refuse, hang and return.

use std::sync::Condvar;

use super::*;
use crate::cases::{Notice, NoticeKind};
use crate::notify::Channel;
use crate::signals::{CollectorFacts, CollectorName, Entity, Facts, Finding, Severity, SignalKind};
use crate::store;

const PATIENCE: Duration = Duration::from_secs(30);

/// What the stand-in for a disk does with a save.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Takes,
    Refuses,
    Hangs,
}

/// A disk with moods; it keeps what it took.
#[derive(Clone)]
struct Moody(Arc<Watched>);

/// A mood and what was saved last.
type Watched = (Mutex<(Mood, Option<Durable>)>, Condvar);

impl Moody {
    fn new(mood: Mood) -> Self {
        Self(Arc::new((Mutex::new((mood, None)), Condvar::new())))
    }

    fn set(&self, mood: Mood) {
        self.0.0.lock().unwrap().0 = mood;
        self.0.1.notify_all();
    }

    fn holds(&self) -> Option<Durable> {
        self.0.0.lock().unwrap().1.clone()
    }
}

impl Disk for Moody {
    fn recall(&self, _: i64) -> Result<Option<Durable>, StoreError> {
        Ok(None)
    }

    fn save(&self, state: &Durable, _: i64) -> Result<(), StoreError> {
        let (lock, woken) = &*self.0;
        let mut inside = woken.wait_while(lock.lock().unwrap(), |inside| inside.0 == Mood::Hangs).unwrap();
        match inside.0 {
            Mood::Refuses => Err(StoreError::Missing { dir: "no-room".into() }),
            Mood::Takes | Mood::Hangs => {
                inside.1 = Some(state.clone());
                Ok(())
            }
        }
    }
}

fn tell_something(keeper: &Keeper) {
    let facts = CollectorFacts { collector: CollectorName::Proc, reason: String::new().into() };
    let finding = Finding {
        signal: SignalKind::CollectorUnavailable,
        entity: Entity::Collector(CollectorName::Proc),
        severity: Severity::Warning,
        since_ms: 0,
        facts: Facts::Collector(facts),
    };
    keeper.change(|state| {
        state.outbox.push(&[Channel::Log], &Notice { kind: NoticeKind::Alert, at_ms: 0, finding });
        ((), Worth::Saving)
    });
}

async fn seen(keeper: &Keeper, what: impl FnMut(&Saved) -> bool) -> Saved {
    let mut saved = keeper.saved();
    let seen = tokio::time::timeout(PATIENCE, saved.wait_for(what)).await;
    seen.unwrap().unwrap().clone()
}

fn minded(keeper: &Keeper) -> tokio::task::JoinHandle<()> {
    tokio::spawn(keeper.clone().mind(Duration::from_millis(20)))
}

#[tokio::test]
async fn a_change_worth_saving_is_on_disk_after_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Store::open(dir.path(), 0).unwrap();
    let (keeper, writer) = Keeper::start(Arc::new(opened.store), opened.state).unwrap();
    let moved = store::MovedChat { configured: 1, now: 2 };
    keeper.change(|state| {
        state.moved_chat = Some(moved);
        ((), Worth::Saving)
    });
    assert!(keeper.flush(PATIENCE).await);
    assert_eq!(store::peek(dir.path()).unwrap().unwrap().moved_chat, Some(moved));
    drop(keeper);
    writer.join();
}

#[tokio::test]
async fn a_save_that_fails_is_told_and_does_not_hold_delivery_back() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Store::open(dir.path(), 0).unwrap();
    std::fs::create_dir(dir.path().join("state.json.new")).unwrap();
    let (keeper, _writer) = Keeper::start(Arc::new(opened.store), opened.state).unwrap();
    tell_something(&keeper);
    let saved = seen(&keeper, |saved| saved.generation == 1).await;
    assert!(saved.attempts >= 1 && saved.failures == saved.attempts, "{saved:?}");
    assert_eq!(saved.outbox_seq, 1);
    assert!(saved.fault.unwrap().why.contains("state.json.new"));
}

#[tokio::test]
async fn a_save_that_failed_is_tried_again_without_a_further_change() {
    let disk = Moody::new(Mood::Refuses);
    let (keeper, writer) = Keeper::start(disk.clone(), Durable::default()).unwrap();
    tell_something(&keeper);
    let failed = seen(&keeper, |saved| saved.failures > 1).await;
    assert!(failed.fault.is_some() && disk.holds().is_none());
    disk.set(Mood::Takes);
    let saved = seen(&keeper, |saved| saved.fault.is_none()).await;
    assert_eq!(saved.generation, 1, "nothing else changed");
    assert_eq!(disk.holds(), Some(keeper.read(Durable::clone)));
    drop(keeper);
    writer.join();
}

#[tokio::test]
async fn a_save_that_hangs_holds_notices_back_for_its_patience_only_and_all_is_saved_when_it_ends() {
    let disk = Moody::new(Mood::Hangs);
    let (keeper, writer) = Keeper::start(disk.clone(), Durable::default()).unwrap();
    tell_something(&keeper);
    assert_eq!(keeper.saved().borrow().outbox_seq, 0, "not before it was tried");
    let minder = minded(&keeper);
    let late = seen(&keeper, |saved| saved.outbox_seq == 1).await;
    assert!(late.fault.is_some_and(|fault| fault.hangs) && late.late == 1);
    assert_eq!((late.generation, disk.holds()), (0, None));
    // whatever comes while it hangs does not wait at all
    tell_something(&keeper);
    assert_eq!(keeper.saved().borrow().outbox_seq, 2);
    disk.set(Mood::Takes);
    let saved = seen(&keeper, |saved| saved.generation == 2).await;
    assert_eq!((saved.fault, saved.failures), (None, 0));
    assert_eq!(disk.holds(), Some(keeper.read(Durable::clone)));
    minder.abort();
    assert!(minder.await.unwrap_err().is_cancelled());
    drop(keeper);
    writer.join();
}

#[tokio::test]
async fn a_disk_that_answers_in_time_is_never_late_and_one_that_hangs_again_is_told_again() {
    let disk = Moody::new(Mood::Takes);
    let (keeper, _writer) = Keeper::start(disk.clone(), Durable::default()).unwrap();
    let minder = tokio::spawn(keeper.clone().mind(PATIENCE));
    for _ in 0..20 {
        tell_something(&keeper);
        assert!(keeper.flush(PATIENCE).await);
    }
    assert_eq!(keeper.saved().borrow().late, 0);
    minder.abort();
    let _minder = minded(&keeper);
    for times in 1..3 {
        disk.set(Mood::Hangs);
        tell_something(&keeper);
        seen(&keeper, |saved| saved.late == times && saved.hangs()).await;
        disk.set(Mood::Takes);
        seen(&keeper, |saved| saved.fault.is_none()).await;
    }
}
