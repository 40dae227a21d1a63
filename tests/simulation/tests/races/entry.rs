//! One entry at the door, step by step: what `core/src/engine` does between two of its waits, one
//! atomic step each. The decision is the program's own.

use orch_core::{
    domain::{
        effect::EffectKind,
        event::Event,
        stage::{Stage, Step},
        task::{Standing, Task},
        transition::{Checked, Command, Decision, Facts, Limits, Outcome, Refusal, Work, decide, is_parked},
        verdict::{GateKind, InfraClass, Verdict, Waitee},
    },
    guards::Guard,
};

use crate::{
    page::Seen,
    removed::Removed,
    store::{self, Acquired, Intent},
    world::{
        Ask, At, By, EFFECTS, End, Entry, Kind, Looked, MERGED, Mishap, Note, Place, Row, Saw, World, bit,
    },
};

/// Lost races within one entry, beyond the first. The program has three; one shows what comes of it.
const LOST_RACES: u8 = 1;

/// What a step that can end in several ways does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Choice {
    Only,
    Pass,
    Red,
    /// The outside cannot be looked at.
    Blind,
}

/// Who moves, in a world from which something may be missing.
pub(crate) struct Mover<'a> {
    pub(crate) world: World,
    pub(crate) seat: usize,
    pub(crate) removed: Removed,
    pub(crate) seen: &'a Seen,
}

/// The steps of a stage's exit that take part: the others change the candidate or look, and nothing of
/// ownership hangs on them. `Retest` stands for every gate before the merge.
fn steps(stage: Stage) -> Vec<Step> {
    let takes_part = |step: &&Step| match step {
        // there it acts by a person's word, which nobody gives here
        Step::Effect(EffectKind::StartDeploy) => stage != Stage::Deploy,
        Step::Effect(EffectKind::Merge | EffectKind::CloseWorkItem) => true,
        Step::Effect(
            EffectKind::PrepareCandidate | EffectKind::RebuildImage | EffectKind::RatchetCoverage,
        ) => false,
        Step::Gate(GateKind::Retest | GateKind::Deployed) => true,
        Step::Gate(
            GateKind::Artifact
            | GateKind::Approval
            | GateKind::Change
            | GateKind::Ci
            | GateKind::Image
            | GateKind::Staging
            | GateKind::Coverage
            | GateKind::Security
            | GateKind::LandedTree,
        ) => false,
    };
    stage.row().steps.iter().filter(takes_part).copied().collect()
}

fn index_of(kind: EffectKind) -> usize {
    EFFECTS.iter().position(|known| *known == kind).expect("takes part")
}

/// What an actor would find: while it stays the same, coming again is coming for nothing.
pub(crate) fn signature(world: &World, removed: Removed) -> impl PartialEq + use<> {
    let found = (world.task.0.version, world.journal, world.outside, world.life);
    (found, store::is_dead(world, removed), world.is_asked_to_yield())
}

/// The ways in which a seat's next step can go; none when it waits.
pub(crate) fn choices(world: &World, seat: usize, removed: Removed) -> Vec<Choice> {
    let blind = |also: Vec<Choice>| {
        let may = world.mishaps_left > 0 && world.mishaps & Mishap::Blind as u8 == 0;
        if may { [also, vec![Choice::Blind]].concat() } else { also }
    };
    let verdicts = vec![Choice::Pass, Choice::Red];
    match &world.seats[seat].place {
        Place::Idle => Vec::new(),
        Place::Read(entry, row) if row.0.stage == Stage::Testing && entry.ask == Ask::Advance => verdicts,
        Place::WaitsForOwner(_) if store::would_defer(world, removed) => Vec::new(),
        Place::Inside { row, at, .. } => match at {
            At::Settle if world.journal.iter().any(|(note, _)| *note == Note::Intent) => {
                blind(vec![Choice::Only])
            }
            At::Probe { .. } => blind(vec![Choice::Only]),
            At::Step { step, landed } => match steps(row.0.stage).get(*step) {
                Some(Step::Gate(GateKind::Retest)) if world.outside.ci_green && !landed => verdicts,
                Some(_) | None => vec![Choice::Only],
            },
            At::Settle
            | At::Settled { .. }
            | At::Intent { .. }
            | At::Act { .. }
            | At::Record { .. }
            | At::Commit { .. }
            | At::Release { .. } => vec![Choice::Only],
        },
        Place::Again(_)
        | Place::Read(..)
        | Place::Unleased(..)
        | Place::WaitsForOwner(_)
        | Place::Reaping { .. } => vec![Choice::Only],
    }
}

impl Mover<'_> {
    fn kind(&self) -> Kind {
        self.world.seats[self.seat].kind
    }

    fn go(&mut self, place: Place) {
        self.world.seats[self.seat].place = place;
    }

    /// Comes to the door: loads the task.
    pub(crate) fn knock(&mut self, ask: Ask) {
        self.load(Entry { ask, tries: LOST_RACES });
    }

    fn load(&mut self, entry: Entry) {
        let kind = self.kind();
        self.world.witness.deferred &= !bit(kind.actor());
        self.world.seats[self.seat].up_to_date = true;
        if entry.ask == Ask::Advance && self.world.is_asked_to_yield() {
            return self.end(entry, End::NoChange);
        }
        let row = self.world.task.clone();
        self.go(Place::Read(entry, row));
    }

    fn end(&mut self, entry: Entry, end: End) {
        let kind = self.kind();
        if end == End::LostRace && entry.tries > 0 {
            return self.go(Place::Again(Entry { tries: entry.tries - 1, ..entry }));
        }
        if end == End::Deferred && kind.is_person() {
            return self.go(Place::WaitsForOwner(entry));
        }
        if kind.is_person() {
            self.world.kept = None;
        }
        if kind == Kind::Recovery {
            self.world.recovering = false;
        }
        self.go(Place::Idle);
    }

    /// The next step of the seat's entry.
    pub(crate) fn step(&mut self, choice: Choice) {
        if choice == Choice::Blind {
            self.world.mishaps |= Mishap::Blind as u8;
            self.world.mishaps_left -= 1;
        }
        match self.world.seats[self.seat].place.clone() {
            Place::Idle => {}
            Place::Again(entry) => self.load(entry),
            Place::WaitsForOwner(entry) => self.load(Entry { tries: LOST_RACES, ..entry }),
            Place::Read(entry, row) => self.enter(entry, row, choice),
            Place::Unleased(entry, row, saw) => {
                let (kind, removed) = (self.kind(), self.removed);
                let met = store::met(&self.world, self.seat, removed);
                let end = match decided(&row.0, entry.ask, saw, removed) {
                    Ok(decision) if store::commit(&mut self.world, kind, None, &row, &decision, removed) => {
                        end_of(&decision.outcome)
                    }
                    Ok(_) => End::LostRace,
                    Err(_) => End::Refused,
                };
                self.seen.committed(kind, met, end);
                self.end(entry, end);
            }
            Place::Reaping { fencing, overdue } => {
                let kind = self.kind();
                let met = store::met(&self.world, self.seat, self.removed);
                let robs = store::force(&mut self.world, kind, fencing, overdue, self.removed);
                let parked = matches!(self.world.task.0.standing, Standing::Blocked { .. });
                self.seen.reaped(met, robs, robs && parked);
                self.go(Place::Idle);
            }
            Place::Inside { entry, row, fencing, robbed, at } => {
                match self.inside(entry, &row, fencing, &at, choice) {
                    Ok(at) => self.go(Place::Inside { entry, row, fencing, robbed, at }),
                    Err(end) => {
                        if let Some(moment) = robbed {
                            self.seen.robbed(self.kind(), moment, end);
                        }
                        self.end(entry, end);
                    }
                }
            }
        }
    }

    fn enter(&mut self, entry: Entry, row: Row, choice: Choice) {
        let kind = self.kind();
        if row.0.stage.has_effects() {
            let met = store::met(&self.world, self.seat, self.removed);
            let answer = store::acquire(&mut self.world, kind, self.removed);
            self.seen.came(kind, met, answer);
            return match answer {
                Acquired::Deferred => self.end(entry, End::Deferred),
                Acquired::Granted(fencing) => {
                    let present = self.world.task.clone();
                    let at = if present.0.stage == row.0.stage {
                        At::Settle
                    } else {
                        At::Release { end: End::LostRace }
                    };
                    self.go(Place::Inside { entry, row: present, fencing, robbed: None, at });
                }
            };
        }
        let (row, saw) = match (row.0.stage == Stage::Testing, entry.ask) {
            (true, Ask::Advance) => {
                let present = self.world.task.clone();
                if (present.0.stage, present.0.round) != (row.0.stage, row.0.round) {
                    return self.end(entry, End::LostRace);
                }
                (present, if choice == Choice::Red { Saw::Red } else { Saw::Through })
            }
            (true, Ask::RollBack | Ask::Cancel) | (false, _) => (row, Saw::Nothing),
        };
        match decided(&row.0, entry.ask, saw, self.removed) {
            Err(_) => self.end(entry, End::Refused),
            Ok(decision) if changes_nothing(&decision) => self.end(entry, end_of(&decision.outcome)),
            Ok(_) => self.go(Place::Unleased(entry, row, saw)),
        }
    }

    fn has_landed(&self, stage: Stage) -> bool {
        stage == Stage::DeployStaging && self.world.outside.merged != By::Nobody
    }

    fn look(&self, effect: usize, row: &Task, choice: Choice) -> Looked {
        let outside = &self.world.outside;
        let stands = match EFFECTS[effect] {
            EffectKind::Merge => outside.merged != By::Nobody,
            EffectKind::StartDeploy => {
                row.merged.is_some() && outside.deployed != By::Nobody && !outside.replaced
            }
            EffectKind::CloseWorkItem => outside.closed,
            EffectKind::PrepareCandidate | EffectKind::RebuildImage | EffectKind::RatchetCoverage => false,
        };
        match (choice, stands) {
            (Choice::Blind, _) => Looked::Blind,
            (Choice::Only | Choice::Pass | Choice::Red, true) => Looked::Done,
            (Choice::Only | Choice::Pass | Choice::Red, false) => Looked::Absent,
        }
    }

    /// One step of an owner; `Err` when its entry has ended.
    fn inside(&mut self, entry: Entry, row: &Row, fencing: i64, at: &At, choice: Choice) -> Result<At, End> {
        let (kind, removed) = (self.kind(), self.removed);
        let lost = Ok(At::Release { end: End::LostRace });
        Ok(match *at {
            At::Settle => self.settle(entry, row, choice),
            At::Settled { effect, grant, looked } => {
                let written = match looked {
                    Looked::Done => store::done(&mut self.world, fencing, kind, (effect, grant), removed),
                    Looked::Absent => store::void(&mut self.world, fencing, (effect, grant), removed),
                    Looked::Blind if removed.stands(Guard::DoubtParks) => {
                        return Ok(self.conclude(entry, row, Saw::InDoubt(EFFECTS[effect])));
                    }
                    Looked::Blind => {
                        self.world.witness.void_unproven = true;
                        store::void(&mut self.world, fencing, (effect, grant), removed)
                    }
                };
                if !written {
                    return lost;
                }
                At::Settle
            }
            At::Step { step, landed } => self.walk(entry, row, fencing, (step, landed), choice),
            At::Intent { step, effect, red } => self.begin(entry, row, fencing, (step, effect, red)),
            At::Probe { step, effect, grant, fresh, red } => {
                match self.look(effect, &self.world.task.0, choice) {
                    Looked::Done => At::Record { step, effect, grant, red },
                    Looked::Absent => At::Act { step, effect, grant, red },
                    Looked::Blind if fresh => self.conclude(entry, row, Saw::Infra),
                    Looked::Blind => self.conclude(entry, row, Saw::InDoubt(EFFECTS[effect])),
                }
            }
            At::Act { step, effect, grant, red } if self.act(effect) => {
                At::Record { step, effect, grant, red }
            }
            At::Act { .. } => self.conclude(entry, row, Saw::Infra),
            At::Record { step, effect, grant, red } => {
                if !store::done(&mut self.world, fencing, kind, (effect, grant), removed) {
                    return lost;
                }
                self.after_effect(entry, row, step, red)
            }
            At::Commit { row: ref decided_on, saw } => {
                let met = store::met(&self.world, self.seat, removed);
                let end = match decided(&decided_on.0, asked(entry.ask, saw), saw, removed) {
                    Ok(decision)
                        if store::commit(
                            &mut self.world,
                            kind,
                            Some(fencing),
                            decided_on,
                            &decision,
                            removed,
                        ) =>
                    {
                        end_of(&decision.outcome)
                    }
                    Ok(_) | Err(_) => End::LostRace,
                };
                self.seen.committed(kind, met, end);
                return Err(end);
            }
            At::Release { end } => {
                store::release(&mut self.world, fencing);
                return Err(end);
            }
        })
    }

    fn settle(&self, entry: Entry, row: &Row, choice: Choice) -> At {
        let open = self.world.journal.iter().position(|(note, _)| *note == Note::Intent);
        match open.filter(|_| self.removed.stands(Guard::SettledFirst)) {
            Some(effect) => {
                let looked = self.look(effect, &self.world.task.0, choice);
                At::Settled { effect, grant: self.world.journal[effect].1, looked }
            }
            None if self.kind() == Kind::Recovery => {
                let present = self.world.task.clone();
                if is_parked(&present.0) {
                    At::Commit { row: present, saw: Saw::Settled }
                } else {
                    At::Release { end: End::NoChange }
                }
            }
            None if entry.ask == Ask::Advance => {
                At::Step { step: 0, landed: row.0.merged.is_some() || self.has_landed(row.0.stage) }
            }
            None => self.conclude(entry, row, Saw::Nothing),
        }
    }

    fn walk(
        &mut self,
        entry: Entry,
        row: &Row,
        fencing: i64,
        (mut step, landed): (usize, bool),
        choice: Choice,
    ) -> At {
        let steps = steps(row.0.stage);
        let merge_at = steps.iter().position(|step| *step == Step::Effect(EffectKind::Merge));
        while landed && merge_at.is_some_and(|merge_at| step < merge_at) {
            step += 1;
        }
        let Some(next) = steps.get(step) else { return self.conclude(entry, row, Saw::Through) };
        if self.world.is_asked_to_yield() {
            return At::Release { end: End::LostRace };
        }
        let on = At::Step { step: step + 1, landed };
        match next {
            Step::Gate(GateKind::Deployed) if self.look(1, &row.0, Choice::Only) == Looked::Done => on,
            Step::Gate(GateKind::Deployed) => self.conclude(entry, row, Saw::NotDeployed),
            Step::Gate(_) if !self.world.outside.ci_green => self.conclude(entry, row, Saw::CiPending),
            Step::Gate(_) if choice == Choice::Red && self.has_landed(row.0.stage) => {
                At::Intent { step, effect: 0, red: true }
            }
            Step::Gate(_) if choice == Choice::Red => self.conclude(entry, row, Saw::Red),
            Step::Gate(_) => on,
            Step::Effect(kind) => self.begin(entry, row, fencing, (step, index_of(*kind), false)),
        }
    }

    fn begin(
        &mut self,
        entry: Entry,
        row: &Row,
        fencing: i64,
        (step, effect, red): (usize, usize, bool),
    ) -> At {
        match store::intent(&mut self.world, fencing, effect, self.removed) {
            Intent::Fenced => At::Release { end: End::LostRace },
            Intent::Done => self.after_effect(entry, row, step, red),
            Intent::Open { grant, fresh } if self.removed.stands(Guard::ProbeFirst) => {
                At::Probe { step, effect, grant, fresh, red }
            }
            Intent::Open { grant, .. } => At::Act { step, effect, grant, red },
        }
    }

    fn after_effect(&self, entry: Entry, row: &Row, step: usize, red: bool) -> At {
        if red { self.conclude(entry, row, Saw::Red) } else { At::Step { step: step + 1, landed: true } }
    }

    /// Acts outside, with the guard that the outside offers.
    fn act(&mut self, effect: usize) -> bool {
        let outside = &mut self.world.outside;
        match EFFECTS[effect] {
            EffectKind::Merge => {
                // the forge merges a pull request once, and says so to whoever asks again
                if outside.merged == By::Nobody {
                    outside.merged = By::Us;
                }
                true
            }
            EffectKind::StartDeploy => {
                let stands = outside.deployed != By::Nobody && !outside.replaced;
                self.world.witness.doubled |= stands || outside.deploys > 0;
                outside.deploys += 1;
                (outside.deployed, outside.replaced) = (By::Us, false);
                true
            }
            EffectKind::CloseWorkItem => !std::mem::replace(&mut outside.closed, true),
            EffectKind::PrepareCandidate | EffectKind::RebuildImage | EffectKind::RatchetCoverage => true,
        }
    }

    fn conclude(&self, entry: Entry, row: &Row, saw: Saw) -> At {
        let asked_in = (row.0.stage, row.0.round);
        let present = &self.world.task;
        let row = if (present.0.stage, present.0.round) == asked_in {
            present.clone()
        } else if self.removed.stands(Guard::Comparison) {
            return At::Release { end: End::LostRace };
        } else {
            row.clone()
        };
        let ask = asked(entry.ask, saw);
        if ask == Ask::RollBack && self.has_landed(row.0.stage) {
            return At::Release { end: End::Refused };
        }
        match decided(&row.0, ask, saw, self.removed) {
            Err(_) => At::Release { end: End::Refused },
            Ok(decision) if changes_nothing(&decision) => At::Release { end: end_of(&decision.outcome) },
            Ok(_) => At::Commit { row, saw },
        }
    }
}

/// A person's command must not paper over an effect of which nobody knows.
fn asked(ask: Ask, saw: Saw) -> Ask {
    match saw {
        Saw::InDoubt(_) => Ask::Advance,
        Saw::Nothing
        | Saw::Through
        | Saw::Red
        | Saw::CiPending
        | Saw::NotDeployed
        | Saw::Infra
        | Saw::Settled => ask,
    }
}

fn changes_nothing(decision: &Decision) -> bool {
    decision.events.is_empty() && decision.enqueue.is_none() && !decision.cancel_jobs
}

fn end_of(outcome: &Outcome) -> End {
    match outcome {
        Outcome::Advanced { to: Stage::Cancelled } => End::Cancelled,
        Outcome::Advanced { .. } => End::Advanced,
        Outcome::RolledBack { .. } => End::RolledBack,
        Outcome::Waiting { .. } => End::Waiting,
        Outcome::Held { .. } => End::Held,
        Outcome::Blocked { .. } => End::Blocked,
        Outcome::Deferred { .. } => End::Deferred,
        Outcome::LostRace => End::LostRace,
        Outcome::NoChange => End::NoChange,
    }
}

/// The program's decision on what was seen.
fn decided(task: &Task, ask: Ask, saw: Saw, removed: Removed) -> Result<Decision, Refusal> {
    let stopped = |verdict| Checked::Stopped { step: "model".to_owned(), verdict };
    let wait = |who| Verdict::Wait { reason: "not yet".to_owned(), who, until_ms: None };
    let checked = match saw {
        Saw::Nothing => Checked::No,
        Saw::Through => Checked::Through,
        Saw::Red => stopped(Verdict::Red { findings: vec!["red".to_owned()] }),
        Saw::CiPending => stopped(wait(Waitee::Ci { name: "ci".to_owned() })),
        Saw::NotDeployed => stopped(wait(Waitee::Deploy { name: MERGED.to_owned() })),
        Saw::Infra => stopped(Verdict::Infra { class: InfraClass::Other, detail: "failed".to_owned() }),
        Saw::InDoubt(effect) => {
            Checked::InDoubt { step: effect.to_string(), cause: "cannot be looked at".to_owned() }
        }
        Saw::Settled => {
            return Ok(Decision {
                events: vec![Event::Stood { standing: Standing::Moving {} }],
                enqueue: None,
                cancel_jobs: false,
                outcome: Outcome::NoChange,
            });
        }
    };
    let work = match task.stage {
        Stage::Testing | Stage::DeployStaging => Work::Done,
        Stage::Deploy | Stage::Done | Stage::Cancelled | Stage::Created => Work::NotNeeded,
        Stage::Analysis | Stage::Architecture | Stage::Development | Stage::Review => Work::Open,
    };
    let command = match ask {
        Ask::Advance => Command::Advance,
        Ask::RollBack => Command::RollBack { why: "a person asks".to_owned() },
        Ask::Cancel => Command::Cancel,
    };
    let limits = Limits { rollbacks_max: 3, infra_retries_max: 1, infra_backoff_ms: 0, ci_wait_ms: i64::MAX };
    let mut task = task.clone();
    if removed == Removed::MergeBar {
        task.merged = None;
    }
    decide(&task, &command, &Facts { work, checked, limits, stood_ms: 0, last_deploy: 0 }, 0)
}
