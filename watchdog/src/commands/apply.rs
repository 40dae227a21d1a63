//! What a command does.
//!
//! `apply` is pure: state, command, time and person in, state and answer out. It does not save, and
//! knows no way by which commands come.

use super::{Command, Person, Target};
use crate::cases::{Case, CaseId, Mute, MuteScope, NotAcknowledged, Phase, Suppression};
use crate::notify::text;
use crate::signals::{Entity, Finding, SignalKind};
use crate::store::{CommandRow, Durable};

/// What is answered to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Muted.
    Muted {
        /// What.
        what: About,
        /// When it ends by itself, UTC Unix milliseconds.
        until_ms: i64,
        /// Firing cases that it silences now.
        silenced: usize,
    },
    /// No longer muted, or no longer acknowledged.
    Unmuted {
        /// What it was, one by one.
        what: Vec<Ended>,
    },
    /// Acknowledged.
    Acknowledged(Box<CaseLine>),
    /// How it stands.
    Status(Status),
    /// Nothing was changed.
    Refused(Refusal),
}

/// What a command was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// All cases of a signal.
    Signal(SignalKind),
    /// One case.
    Case {
        /// Short name.
        id: Option<CaseId>,
        /// Signal; absent for a case that is forgotten.
        signal: Option<SignalKind>,
        /// Of what.
        entity: Entity,
    },
}

/// What a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// A mute.
    Mute(About),
    /// An acknowledgement.
    Acknowledgement(About),
}

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No case has this id.
    UnknownId(CaseId),
    /// The case is of another signal than the person said.
    OtherSignal {
        /// Which case.
        id: CaseId,
        /// What it is of.
        is: SignalKind,
        /// What was said.
        said: SignalKind,
    },
    /// The case is over.
    Over(CaseId),
    /// Somebody acknowledged it before.
    AlreadyAcknowledged {
        /// Which case.
        id: CaseId,
        /// Who.
        by: String,
        /// When, UTC Unix milliseconds.
        at_ms: i64,
    },
    /// There is no mute to end.
    NotMuted,
}

/// How it stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// Cases that fire, announced or not, worst first.
    pub firing: Vec<CaseLine>,
    /// Mutes.
    pub mutes: Vec<MuteLine>,
}

/// One case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseLine {
    /// Short name.
    pub id: Option<CaseId>,
    /// The condition.
    pub finding: Finding,
    /// Since when it counts, UTC Unix milliseconds.
    pub since_ms: i64,
    /// Why it is not announced.
    pub suppression: Option<Suppression>,
    /// Who acknowledged it.
    pub acknowledged_by: Option<String>,
}

/// One mute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MuteLine {
    /// What.
    pub what: About,
    /// When it ends, UTC Unix milliseconds.
    pub until_ms: i64,
    /// Who asked.
    pub by: String,
}

impl Reply {
    /// Whether something was changed.
    #[must_use]
    pub fn changed(&self) -> bool {
        match self {
            Self::Muted { .. } | Self::Unmuted { .. } | Self::Acknowledged(_) => true,
            Self::Status(_) | Self::Refused(_) => false,
        }
    }
}

/// Does a command.
pub fn apply(state: &mut Durable, command: &Command, now_ms: i64, person: &Person) -> Reply {
    let done = match command {
        Command::Mute { target, for_ms } => mute(state, *target, *for_ms, now_ms, person),
        Command::Unmute { target } => unmute(state, *target),
        Command::Ack { id } => acknowledge(state, *id, now_ms, person),
        Command::Status => Ok((Reply::Status(status(state, now_ms)), None)),
    };
    match done {
        Ok((reply, told)) => {
            if let Some(what) = told {
                let (way, by) = (person.way(), person.name().to_owned());
                state.remember_command(CommandRow { at_ms: now_ms, way, by, what });
            }
            reply
        }
        Err(refusal) => Reply::Refused(refusal),
    }
}

/// An answer, and what history says when something was changed.
type Done = Result<(Reply, Option<String>), Refusal>;

fn mute(state: &mut Durable, target: Target, for_ms: i64, now_ms: i64, person: &Person) -> Done {
    let (scope, what) = scope_of(state, target)?;
    if let MuteScope::Case(_) = scope
        && let Target::Case { id, .. } = target
        && !state.alerts.by_id(id).is_some_and(|(_, case)| case.fires())
    {
        return Err(Refusal::Over(id));
    }
    let until_ms = now_ms.saturating_add(for_ms);
    let mute = Mute { since_ms: now_ms, until_ms, by: person.name().to_owned() };
    let silenced = state.alerts.mute(scope, mute);
    let told = format!("mute {} for {}", text::about(&what), text::duration(for_ms));
    Ok((Reply::Muted { what, until_ms, silenced }, Some(told)))
}

fn unmute(state: &mut Durable, target: Option<Target>) -> Done {
    let mut ended = Vec::new();
    match target {
        None => {
            ended.extend(status_mutes(state).into_iter().map(|mute| Ended::Mute(mute.what)));
            state.alerts.unmute_all();
        }
        Some(target) => {
            let (scope, what) = scope_of(state, target)?;
            if state.alerts.unmute(&scope).is_some() {
                ended.push(Ended::Mute(what.clone()));
            }
            if let Target::Case { id, .. } = target
                && state.alerts.forget_acknowledgement(id).is_some()
            {
                ended.push(Ended::Acknowledgement(what));
            }
        }
    }
    match ended.is_empty() {
        true => Err(Refusal::NotMuted),
        false => {
            let told = format!("unmute {}", text::ended_by_command(&ended));
            Ok((Reply::Unmuted { what: ended }, Some(told)))
        }
    }
}

fn acknowledge(state: &mut Durable, id: CaseId, now_ms: i64, person: &Person) -> Done {
    state.alerts.acknowledge(id, now_ms, person.name()).map_err(|why| match why {
        NotAcknowledged::Unknown => Refusal::UnknownId(id),
        NotAcknowledged::Over => Refusal::Over(id),
        NotAcknowledged::Already(earlier) => {
            Refusal::AlreadyAcknowledged { id, by: earlier.by, at_ms: earlier.at_ms }
        }
    })?;
    let (_, case) = state.alerts.by_id(id).ok_or(Refusal::UnknownId(id))?;
    let line = line(state, case);
    let told = format!("ack {}", text::about(&about(case)));
    Ok((Reply::Acknowledged(Box::new(line)), Some(told)))
}

/// What a target silences, and how it is called.
fn scope_of(state: &Durable, target: Target) -> Result<(MuteScope, About), Refusal> {
    match target {
        Target::Signal(signal) => Ok((MuteScope::Signal(signal), About::Signal(signal))),
        Target::Case { id, signal } => {
            let (key, case) = state.alerts.by_id(id).ok_or(Refusal::UnknownId(id))?;
            let is = case.finding.signal;
            // a family may have turned from one signal of its slot into the other meanwhile
            if let Some(said) = signal.filter(|said| said.slot() != is.slot()) {
                return Err(Refusal::OtherSignal { id, is, said });
            }
            Ok((MuteScope::Case(key.clone()), about(case)))
        }
    }
}

fn about(case: &Case) -> About {
    let finding = &case.finding;
    About::Case { id: case.id(), signal: Some(finding.signal), entity: finding.entity.clone() }
}

/// How it stands; a mute that has had its time is not shown, even before the next tick drops it.
fn status(state: &Durable, now_ms: i64) -> Status {
    let mut firing: Vec<CaseLine> = state.alerts.firing().map(|case| line(state, case)).collect();
    firing.sort_by_key(|line| (std::cmp::Reverse(line.finding.severity), line.since_ms, line.id));
    let mut mutes = status_mutes(state);
    mutes.retain(|mute| now_ms < mute.until_ms);
    Status { firing, mutes }
}

fn status_mutes(state: &Durable) -> Vec<MuteLine> {
    let lines = state.alerts.mutes().iter().map(|(scope, mute)| {
        let what = match scope {
            MuteScope::Signal(signal) => About::Signal(*signal),
            MuteScope::Case(key) => {
                let id = state.alerts.id_of(key);
                let case = id.and_then(|id| state.alerts.by_id(id));
                let forgotten = || About::Case { id, signal: None, entity: key.entity.clone() };
                case.map_or_else(forgotten, |(_, case)| about(case))
            }
        };
        MuteLine { what, until_ms: mute.until_ms, by: mute.by.clone() }
    });
    lines.collect()
}

fn line(state: &Durable, case: &Case) -> CaseLine {
    let finding = &case.finding;
    let since_ms = match &case.phase {
        Phase::Firing { since_ms, .. } => *since_ms,
        Phase::Pending { .. } | Phase::Recovered { .. } => finding.since_ms,
    };
    CaseLine {
        id: case.id(),
        finding: finding.clone(),
        since_ms,
        suppression: state.alerts.suppression(case),
        acknowledged_by: case.acknowledged().map(|seen| seen.by.clone()),
    }
}
