//! The state space: who may move when, what may go wrong, and what must hold in every state.

use std::sync::Arc;

use orch_core::domain::{stage::Stage, task::Standing, verdict::Waitee};
use stateright::{Model, Property};

use crate::{
    entry::{Choice, Mover, choices, signature},
    page::Seen,
    removed::Removed,
    store,
    world::{Ask, At, By, Kind, Mishap, Note, Place, World, bit},
};

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    /// An actor's entry goes one step on.
    Step(usize, Choice),
    /// An actor comes to the door by itself.
    Knock(usize),
    /// An actor that was deferred is asked again.
    AskedAgain(usize),
    /// The reaper sees a lease that it will take.
    Reap(usize, bool),
    /// CI answers, and the webhook is told.
    CiGreen,
    /// Something goes wrong, or somebody else acts.
    Mishap(Mishap, usize),
}

/// The door with three actors before it.
#[derive(Clone)]
pub(crate) struct Door {
    /// Who is seated, and how many mishaps may come.
    pub(crate) seated: Vec<([Kind; 3], u8)>,
    pub(crate) removed: Removed,
    pub(crate) seen: Arc<Seen>,
}

/// Three at the door: the first is always a sweep, since a core without one does not exist, the others
/// are any two. One mishap comes to each; two where nothing but sweep, finalizer and reaper is about.
pub(crate) fn every_three() -> Vec<([Kind; 3], u8)> {
    let kinds = Kind::SEATED;
    let pairs = (0..kinds.len()).flat_map(|one| (one..kinds.len()).map(move |two| (one, two)));
    pairs
        .map(|(one, two)| [Kind::Sweep, kinds[one], kinds[two]])
        .map(|seated| (seated, 1 + u8::from(seated[1..].iter().all(|kind| WATCHERS.contains(kind)))))
        .collect()
}

const WATCHERS: [Kind; 2] = [Kind::Finalizer, Kind::Reaper];

/// What must hold of a state.
type Rule = fn(&Door, &World) -> bool;

/// The seat that only a start uses.
const RECOVERY: usize = 3;

impl Door {
    fn may(world: &World, mishap: Mishap) -> bool {
        world.mishaps_left > 0 && world.mishaps & mishap as u8 == 0
    }

    /// Whether an idle actor comes by itself, and what it asks for.
    fn comes(&self, world: &World, at: usize) -> Option<Ask> {
        let seat = &world.seats[at];
        let open = matches!(world.task.0.standing, Standing::Moving {} | Standing::Waiting { .. });
        let held = matches!(world.task.0.standing, Standing::Held { .. });
        let changed = || !seat.up_to_date;
        match seat.kind {
            Kind::Sweep => ((open || held) && changed()).then_some(Ask::Advance),
            Kind::Finalizer => {
                (world.task.0.stage == Stage::Deploy && open && changed()).then_some(Ask::Advance)
            }
            Kind::Webhook => seat.due.then_some(Ask::Advance),
            Kind::Reaper => None,
            Kind::RollBack => seat.due.then_some(Ask::RollBack),
            Kind::Cancel => seat.due.then_some(Ask::Cancel),
            Kind::Recovery => world.recovering.then_some(Ask::Advance),
        }
    }

    /// What happens by itself, sooner or later.
    fn by_itself(&self, world: &World, acts: &mut Vec<Act>) {
        let steps =
            |at: usize| choices(world, at, self.removed).into_iter().map(move |choice| Act::Step(at, choice));
        if world.recovering {
            acts.extend(steps(RECOVERY));
            if world.seats[RECOVERY].place == Place::Idle {
                acts.push(Act::Knock(RECOVERY));
            }
            return;
        }
        for at in 0..RECOVERY {
            acts.extend(steps(at));
            let seat = &world.seats[at];
            if seat.place != Place::Idle {
                continue;
            }
            if store::can_take_pending(world, seat.kind.actor(), self.removed) {
                acts.push(Act::AskedAgain(at));
            }
            if seat.kind == Kind::Reaper && store::is_dead(world, self.removed) {
                acts.push(Act::Reap(at, false));
            }
            if !seat.kind.is_person() && self.comes(world, at).is_some() {
                acts.push(Act::Knock(at));
            }
        }
        if !world.outside.ci_green {
            acts.push(Act::CiGreen);
        }
    }

    /// What may happen, and may as well not: people, and mishaps.
    fn may_happen(&self, world: &World, acts: &mut Vec<Act>) {
        let mut may = |mishap, at, fits: bool| {
            if fits && Self::may(world, mishap) {
                acts.push(Act::Mishap(mishap, at));
            }
        };
        let busy = world.seats.iter().any(|seat| seat.place != Place::Idle);
        may(Mishap::Crash, 0, busy || world.lease.as_ref().is_some_and(|lease| lease.held));
        if world.recovering {
            return;
        }
        let outside = &world.outside;
        let staging = world.task.0.stage == Stage::DeployStaging;
        may(Mishap::PersonMerges, 0, staging && outside.ci_green && outside.merged == By::Nobody);
        // nothing outside keeps a person from deploying between our look and our act
        let deploys = world.seats.iter().any(|seat| {
            matches!(
                &seat.place,
                Place::Inside { at: At::Probe { effect: 1, .. } | At::Act { effect: 1, .. }, .. }
            )
        });
        let merged = outside.merged != By::Nobody && outside.deployed == By::Nobody;
        may(Mishap::PersonDeploys, 0, merged && !deploys && staging);
        let live = outside.deployed != By::Nobody && !outside.replaced;
        may(
            Mishap::Replaced,
            0,
            live && world.journal[1].0 == Note::Done && !world.task.0.stage.is_terminal(),
        );
        for at in 0..RECOVERY {
            let seat = &world.seats[at];
            let dies = matches!(seat.place, Place::Inside { .. }) && !seat.kind.is_person();
            may(Mishap::OwnerDies, at, dies);
            let held = world.lease.as_ref().is_some_and(|lease| lease.held);
            let alive = held && !store::is_dead(world, self.removed);
            may(Mishap::Overdue, at, seat.kind == Kind::Reaper && seat.place == Place::Idle && alive);
        }
        let people = (0..RECOVERY).filter(|at| {
            let seat = &world.seats[*at];
            seat.kind.is_person() && seat.place == Place::Idle && seat.due
        });
        acts.extend(people.map(Act::Knock));
    }

    /// Whether nothing happens by itself any more.
    pub(crate) fn is_at_rest(&self, world: &World) -> bool {
        let mut acts = Vec::new();
        self.by_itself(world, &mut acts);
        acts.iter().all(|act| matches!(act, Act::Step(_, Choice::Blind)))
    }

    fn happens(&self, world: &mut World, mishap: Mishap, at: usize) {
        world.mishaps |= mishap as u8;
        world.mishaps_left -= 1;
        match mishap {
            Mishap::Crash => {
                for seat in &mut world.seats {
                    // what a webhook said and nobody kept is lost; a person's kept command is not
                    seat.due = seat.kind.is_person()
                        && (world.kept == Some(seat.kind) || (seat.due && seat.place == Place::Idle));
                    (seat.place, seat.up_to_date) = (Place::Idle, false);
                }
                world.life += 1;
                world.recovering = true;
                world.witness.deferred &= world.pending;
            }
            Mishap::OwnerDies => world.seats[at].place = Place::Idle,
            Mishap::Overdue => self.reap(world, at, true),
            Mishap::Blind => {}
            Mishap::PersonMerges => world.outside.merged = By::Person,
            Mishap::PersonDeploys => world.outside.deployed = By::Person,
            Mishap::Replaced => world.outside.replaced = true,
        }
    }

    fn reap(&self, world: &mut World, at: usize, overdue: bool) {
        if let Some(lease) = &world.lease {
            world.seats[at].place = Place::Reaping { fencing: lease.fencing, overdue };
        }
    }
}

impl Model for Door {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        self.seated.iter().map(|(seated, mishaps)| World::new(*seated, *mishaps)).collect()
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        self.by_itself(world, acts);
        self.may_happen(world, acts);
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        let mut next = self.after(world.clone(), act);
        if signature(&next, self.removed) != signature(world, self.removed) {
            let came = match act {
                Act::Step(at, _) | Act::Knock(at) | Act::AskedAgain(at) => Some(at),
                Act::Reap(..) | Act::CiGreen | Act::Mishap(..) => None,
            };
            // whoever looked before this change has not seen it; whoever made it by looking has
            for (at, seat) in next.seats.iter_mut().enumerate() {
                seat.up_to_date &= came == Some(at) && matches!(seat.place, Place::Read(..));
            }
        }
        next.settle_names();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let bad = |name, rule: Rule| Property::<Self>::always(name, rule);
        vec![
            bad(ONE_EFFECT, |_, world| !world.witness.doubled),
            bad(DONE_IS_MERGED, |_, world| {
                world.task.0.stage != Stage::Done
                    || (world.outside.merged != By::Nobody && world.task.0.merged.is_some())
            }),
            bad(NO_ROLL_BACK_AFTER_MERGE, |_, world| !world.witness.rolled_back_merged),
            bad(NOT_BOTH, |_, world| !(world.witness.rolled_back && world.task.0.stage == Stage::Done)),
            bad(ONE_OWNER, |_, world| !world.witness.two_owners && !world.witness.token_shrank),
            bad(STALE_IS_MUTE, |_, world| !world.witness.stale_wrote),
            bad(LOSER_IS_MUTE, |_, world| !world.witness.written_over),
            bad(NOTHING_FORGOTTEN, |_, world| !is_forgotten(world)),
            bad(VOID_IS_PROVEN, |_, world| !world.witness.void_unproven),
            bad(HISTORY_FITS, |_, world| !world.witness.bad_history),
            bad(HEALTHY_SURVIVES, |_, world| !world.witness.robbed_in_time),
            bad(REST_HAS_A_CAUSE, |door, world| !door.is_at_rest(world) || door.has_a_cause(world)),
            Property::eventually(COMES_TO_REST, |door: &Self, world| door.is_at_rest(world)),
            Property::sometimes("a task can be done", |_, world: &World| world.task.0.stage == Stage::Done),
            Property::sometimes("a task can be rolled back", |_, world: &World| world.witness.rolled_back),
            Property::sometimes("a task can be cancelled", |_, world: &World| {
                world.task.0.stage == Stage::Cancelled
            }),
            Property::sometimes("a task can be parked", |_, world: &World| {
                matches!(world.task.0.standing, Standing::Blocked { .. })
            }),
        ]
    }
}

impl Door {
    fn after(&self, mut world: World, act: Act) -> World {
        let at = match act {
            Act::Mishap(mishap, at) => {
                self.happens(&mut world, mishap, at);
                return world;
            }
            Act::CiGreen => {
                world.outside.ci_green = true;
                for seat in world.seats.iter_mut().filter(|seat| seat.kind == Kind::Webhook) {
                    seat.due = true;
                }
                return world;
            }
            Act::Reap(at, overdue) => {
                self.reap(&mut world, at, overdue);
                return world;
            }
            Act::AskedAgain(at) => {
                let actor = world.seats[at].kind.actor();
                store::take_pending(&mut world, actor, self.removed);
                at
            }
            Act::Knock(at) | Act::Step(at, _) => at,
        };
        let ask = match act {
            Act::Knock(at) => self.comes(&world, at),
            Act::AskedAgain(_) => Some(Ask::Advance),
            Act::Step(..) | Act::Reap(..) | Act::CiGreen | Act::Mishap(..) => None,
        };
        let kind = world.seats[at].kind;
        if let (Some(_), Act::Knock(_)) = (ask, act) {
            world.seats[at].due = false;
            if kind.is_person() {
                world.kept = Some(kind);
            }
        }
        if kind == Kind::Recovery && matches!(act, Act::Knock(_)) {
            let open = world.journal.iter().any(|(note, _)| *note == Note::Intent);
            if !open && !world.lease.as_ref().is_some_and(|lease| lease.held) {
                world.recovering = false;
                return world;
            }
        }
        let mut mover = Mover { world, seat: at, removed: self.removed, seen: &self.seen };
        match (ask, act) {
            (Some(ask), _) => mover.knock(ask),
            (None, Act::Step(_, choice)) => mover.step(choice),
            (None, _) => {}
        }
        mover.world
    }
}

pub(crate) const ONE_EFFECT: &str = "I1: an effect happens once";
pub(crate) const DONE_IS_MERGED: &str = "I2: no done without the merge";
pub(crate) const NO_ROLL_BACK_AFTER_MERGE: &str = "I2: no roll-back after the merge";
pub(crate) const NOT_BOTH: &str = "never rolled back and done";
pub(crate) const ONE_OWNER: &str = "I3: one owner of an edge, and tokens only grow";
pub(crate) const STALE_IS_MUTE: &str = "I3: a stale owner writes neither journal nor task";
pub(crate) const LOSER_IS_MUTE: &str = "I4: nothing is written over what it was not decided on";
pub(crate) const NOTHING_FORGOTTEN: &str = "I6: no end forgets an effect";
pub(crate) const VOID_IS_PROVEN: &str = "I6: no intent is void unless proven so";
pub(crate) const HISTORY_FITS: &str = "I8: every event fits the history";
pub(crate) const HEALTHY_SURVIVES: &str = "a living owner within its time keeps the lease";
pub(crate) const REST_HAS_A_CAUSE: &str =
    "I7, I10: whatever stands has a cause, and nobody who was deferred is forgotten";
pub(crate) const COMES_TO_REST: &str = "I7: every history comes to rest";

/// An end that knows nothing of what we did outside.
fn is_forgotten(world: &World) -> bool {
    let done = |effect: usize| world.journal[effect].0 == Note::Done;
    world.task.0.stage.is_terminal()
        && ((world.outside.merged == By::Us && !done(0))
            || (world.outside.deploys > 0 && !done(1))
            || (world.outside.closed && !done(2)))
}

impl Door {
    /// Whether a world at rest says why. A dead one's lease is the reaper's, if one is seated.
    fn has_a_cause(&self, world: &World) -> bool {
        let held = world.lease.as_ref().is_some_and(|lease| lease.held);
        let outside = &world.outside;
        let cause = match &world.task.0.standing {
            Standing::Finished {} => true,
            Standing::Blocked { cause, way_out } => !cause.is_empty() && !way_out.is_empty(),
            Standing::Waiting { who: Waitee::Ci { .. }, .. } => !outside.ci_green,
            Standing::Waiting { who: Waitee::Agent { .. }, .. } => true,
            Standing::Waiting { who: Waitee::Deploy { .. }, .. } => {
                outside.replaced || outside.deployed == By::Nobody
            }
            Standing::Waiting { who: Waitee::Person { .. } | Waitee::Slot { .. }, .. }
            | Standing::Moving {}
            | Standing::Held { .. } => false,
        };
        let seated = world.seats.iter().fold(0, |bits, seat| bits | bit(seat.kind.actor()));
        cause && (!held || store::is_dead(world, self.removed)) && world.witness.deferred & seated == 0
    }
}
