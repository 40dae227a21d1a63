//! What a state of the model holds: the task, the lease, the journal, the outside, and how far each
//! actor is. Values only; what changes them stands in `store` and `entry`.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use orch_core::domain::{
    actor::Actor,
    effect::EffectKind,
    event::{Event, StoredEvent},
    ids::WorkItemKey,
    stage::Stage,
    task::{self, Task},
};

/// The effects that take part, in the order of the edge table.
pub(crate) const EFFECTS: [EffectKind; 3] =
    [EffectKind::Merge, EffectKind::StartDeploy, EffectKind::CloseWorkItem];

/// The revision that a merge makes.
pub(crate) const MERGED: &str = "m1";

/// A task as the store holds it: the fold of its events, shared by whoever has read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row(pub(crate) Arc<Task>);

impl Hash for Row {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// What an actor's seat is taken by: the seven actors, by what they do at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Monitor and reconciler: ask for every open task that is not blocked.
    Sweep,
    /// A webhook of tracker or forge: asks once, with news; asked again only if it was deferred.
    Webhook,
    /// Asks while the task is in `deploy`.
    Finalizer,
    /// Takes leases of the dead, and of the overdue; then asks.
    Reaper,
    /// A person takes the task back.
    RollBack,
    /// A person gives the task up.
    Cancel,
    /// The start of a life, before anybody enters.
    Recovery,
}

impl Kind {
    /// Those of which a history has three.
    pub(crate) const SEATED: [Self; 6] =
        [Self::Sweep, Self::Webhook, Self::Finalizer, Self::Reaper, Self::RollBack, Self::Cancel];

    /// As whom it writes.
    pub(crate) const fn actor(self) -> Actor {
        match self {
            Self::Sweep | Self::Recovery => Actor::Reconciler,
            Self::Webhook => Actor::GiteaWebhook,
            Self::Finalizer => Actor::Finalizer,
            Self::Reaper => Actor::Reaper,
            Self::RollBack | Self::Cancel => Actor::Operator,
        }
    }

    /// Name on the page.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Sweep => "monitor, reconciler",
            Self::Webhook => "webhooks",
            Self::Finalizer => "finalizer",
            Self::Reaper => "reaper",
            Self::RollBack => "person: roll back",
            Self::Cancel => "person: cancel",
            Self::Recovery => "recovery",
        }
    }

    /// Whether a person is behind it, who makes others give way.
    pub(crate) const fn is_person(self) -> bool {
        match self {
            Self::RollBack | Self::Cancel => true,
            Self::Sweep | Self::Webhook | Self::Finalizer | Self::Reaper | Self::Recovery => false,
        }
    }
}

/// What an entry asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Advance,
    RollBack,
    Cancel,
}

/// Where the owner of the edge is, as whoever comes finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Moment {
    /// Settles what an earlier try left open.
    Settles,
    /// Looks at gates, or stands between two steps.
    Looks,
    /// Journalled that it will act; has not acted.
    Intended,
    /// Acted; has not journalled it.
    Acted,
    /// Decided; is about to commit.
    Decides,
    /// The same for an edge without effects: there is no lease, the comparison alone decides.
    DecidesUnleased,
    /// Is about to give the lease back.
    Leaves,
}

impl Moment {
    /// Name on the page.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Settles => "settles an earlier intent",
            Self::Looks => "looks, between steps",
            Self::Intended => "between intent and act",
            Self::Acted => "between act and record",
            Self::Decides => "between decision and commit",
            Self::DecidesUnleased => "between decision and commit, no lease",
            Self::Leaves => "is about to leave",
        }
    }
}

/// Whom an entry found at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Met {
    /// Nobody.
    Nobody,
    /// An owner, in the rightful possession of the lease.
    Owner(Kind, Moment),
    /// An owner whose lease was taken by force, and who lives.
    Robbed(Kind, Moment),
    /// The lease of somebody who is gone.
    Dead,
}

/// What a look at the steps gave; becomes `Checked` for the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Saw {
    Nothing,
    Through,
    Red,
    CiPending,
    NotDeployed,
    Infra,
    InDoubt(EffectKind),
    /// A start found a parked task settled: it goes on.
    Settled,
}

/// What a probe said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Looked {
    Done,
    Absent,
    Blind,
}

/// One entry of one actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) ask: Ask,
    /// Lost races after which it is tried again.
    pub(crate) tries: u8,
}

/// How an entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    Advanced,
    RolledBack,
    Cancelled,
    Waiting,
    Held,
    Blocked,
    Deferred,
    LostRace,
    NoChange,
    Refused,
}

impl End {
    /// Name on the page.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Advanced => "advanced",
            Self::RolledBack => "rolled back",
            Self::Cancelled => "cancelled",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Blocked => "blocked",
            Self::Deferred => "deferred",
            Self::LostRace => "lost race",
            Self::NoChange => "no change",
            Self::Refused => "refused",
        }
    }
}

/// How far an owner is inside of the edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    Settle,
    Settled {
        effect: usize,
        grant: u8,
        looked: Looked,
    },
    Step {
        step: usize,
        landed: bool,
    },
    /// `red`: a gate was red, and the merge is written down only because somebody else merged.
    Intent {
        step: usize,
        effect: usize,
        red: bool,
    },
    Probe {
        step: usize,
        effect: usize,
        grant: u8,
        fresh: bool,
        red: bool,
    },
    Act {
        step: usize,
        effect: usize,
        grant: u8,
        red: bool,
    },
    Record {
        step: usize,
        effect: usize,
        grant: u8,
        red: bool,
    },
    Commit {
        row: Row,
        saw: Saw,
    },
    Release {
        end: End,
    },
}

/// How far an actor is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Not at the door.
    Idle,
    /// Lost a race; comes again.
    Again(Entry),
    /// Has loaded the task.
    Read(Entry, Row),
    /// Decided without a lease; about to commit.
    Unleased(Entry, Row, Saw),
    /// Holds, or believes to hold, the lease.
    Inside { entry: Entry, row: Row, fencing: i64, robbed: Option<Moment>, at: At },
    /// A person who waits for the owner's end.
    WaitsForOwner(Entry),
    /// The reaper has seen a lease that it will take.
    Reaping { fencing: i64, overdue: bool },
}

/// An actor's seat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seat {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    /// Nothing has changed since it last came: the same would come of the same.
    pub(crate) up_to_date: bool,
    /// Has news (webhook), or has not asked yet (person).
    pub(crate) due: bool,
}

/// The lease's row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) fencing: i64,
    pub(crate) held: bool,
    pub(crate) forced: bool,
    pub(crate) actor: Actor,
    pub(crate) life: u8,
    pub(crate) owner: i64,
}

/// The latest journal row of one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Note {
    None,
    Intent,
    Done,
    Void,
}

/// Who made the outside what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum By {
    Nobody,
    Us,
    Person,
}

/// Forge, deployment, tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Outside {
    pub(crate) ci_green: bool,
    pub(crate) merged: By,
    /// Whose deploy of the merged revision is live.
    pub(crate) deployed: By,
    /// A later revision took its place.
    pub(crate) replaced: bool,
    pub(crate) closed: bool,
    /// Deploy commands that we ran for this revision.
    pub(crate) deploys: u8,
}

/// What may go wrong once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Mishap {
    /// SIGKILL of the core.
    Crash = 1,
    /// An owner panics inside of a living core.
    OwnerDies = 1 << 1,
    /// A lease is older than any limit, or a person releases it.
    Overdue = 1 << 2,
    /// A probe fails to look.
    Blind = 1 << 3,
    /// A person merges by hand.
    PersonMerges = 1 << 4,
    /// A person deploys the merged revision by hand.
    PersonDeploys = 1 << 5,
    /// A later revision is deployed over ours.
    Replaced = 1 << 6,
}

/// What the checker remembers beside the state of the system, to tell a violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Witness {
    /// An effect of ours stood already when we made it.
    pub(crate) doubled: bool,
    /// A change of stage was written over what it was not decided on.
    pub(crate) written_over: bool,
    /// A stale owner wrote to journal or task.
    pub(crate) stale_wrote: bool,
    /// Two owners, neither of them robbed, were inside.
    pub(crate) two_owners: bool,
    /// A token did not grow.
    pub(crate) token_shrank: bool,
    /// Rolled back, ever.
    pub(crate) rolled_back: bool,
    /// Rolled back after our merge.
    pub(crate) rolled_back_merged: bool,
    /// An event did not fit the history.
    pub(crate) bad_history: bool,
    /// A living owner within its time was robbed.
    pub(crate) robbed_in_time: bool,
    /// An effect was declared void though nobody knew.
    pub(crate) void_unproven: bool,
    /// Deferred and not asked again yet, as bits by actor.
    pub(crate) deferred: u8,
}

/// One state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) task: Row,
    pub(crate) lease: Option<Lease>,
    pub(crate) journal: [(Note, u8); 3],
    /// Kept triggers, as bits by actor.
    pub(crate) pending: u8,
    /// A person's command that outlives the core.
    pub(crate) kept: Option<Kind>,
    pub(crate) outside: Outside,
    pub(crate) life: u8,
    pub(crate) recovering: bool,
    pub(crate) seats: [Seat; 4],
    /// Mishaps that may still come, and how many at most.
    pub(crate) mishaps: u8,
    pub(crate) mishaps_left: u8,
    pub(crate) witness: Witness,
}

impl World {
    /// A task whose tester is done, whose change waits for CI where a webhook will tell of it.
    pub(crate) fn new(seated: [Kind; 3], mishaps_left: u8) -> Self {
        let seat = |kind: Kind| Seat { kind, place: Place::Idle, up_to_date: false, due: kind.is_person() };
        let [first, second, third] = seated;
        Self {
            task: Row(Arc::new(tested())),
            lease: None,
            journal: [(Note::None, 0); 3],
            pending: 0,
            kept: None,
            outside: Outside {
                ci_green: !seated.contains(&Kind::Webhook),
                merged: By::Nobody,
                deployed: By::Nobody,
                replaced: false,
                closed: false,
                deploys: 0,
            },
            life: 1,
            recovering: false,
            seats: [seat(first), seat(second), seat(third), seat(Kind::Recovery)],
            mishaps: 0,
            mishaps_left,
            witness: Witness::default(),
        }
    }

    /// Whether somebody asks the owner to give way.
    pub(crate) fn is_asked_to_yield(&self) -> bool {
        self.seats.iter().any(|seat| seat.kind.is_person() && seat.place != Place::Idle)
    }

    /// Whether the owner with this number is registered in this life.
    pub(crate) fn is_registered(&self, owner: i64) -> bool {
        self.seats
            .iter()
            .any(|seat| matches!(&seat.place, Place::Inside { fencing, .. } if *fencing == owner))
    }
}

/// The bit of an actor.
pub(crate) fn bit(actor: Actor) -> u8 {
    Actor::ALL.iter().position(|known| *known == actor).map_or(0, |at| 1 << at)
}

/// A task in `testing` with its pull request and candidate, made of the events that lead there.
fn tested() -> Task {
    let key = WorkItemKey::parse("M-1").expect("a key");
    let mut events =
        vec![Event::Created { key, project: "model".to_owned(), title: String::new(), body: String::new() }];
    let mut from = Stage::Created;
    while from != Stage::Testing {
        let to = from.row().next.expect("a path");
        events.push(Event::Entered { from, to });
        from = to;
    }
    events.push(Event::PullRequestOpened { number: 1 });
    events.push(Event::CandidatePrepared { head: "h1".into(), base: "b1".into(), tree: "t1".into() });
    let stored: Vec<StoredEvent> = events
        .into_iter()
        .zip(1..)
        .map(|(event, seq)| StoredEvent {
            seq,
            at_ms: 0,
            actor: Actor::Monitor,
            who: None,
            reason: String::new(),
            event,
        })
        .collect();
    task::fold(&stored).expect("a history").expect("a task")
}
