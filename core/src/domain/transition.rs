//! The decision: `(task, command, facts, now) → Decision | Refusal`, pure and total.
//!
//! It knows nothing of leases, transactions or the outside: the engine gathers the facts, carries
//! the decision into one transaction, and only then acts. A refusal is a value for whoever asked,
//! and changes nothing.

use super::{
    effect::EffectKind,
    event::Event,
    job::Role,
    stage::Stage,
    task::{Standing, Task},
    verdict::{GateKind, Verdict, Waitee},
};

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Go on if everything permits.
    Advance,
    /// Take the task back, with what must be mended.
    RollBack {
        /// Why; becomes the finding.
        why: String,
    },
    /// Try again what stands blocked or held.
    Retry,
    /// Start the deploy of what is merged again.
    Redeploy,
    /// Give the task up.
    Cancel,
}

/// Where the role's work of this round stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// The stage has no role.
    NotNeeded,
    /// No job of this round.
    Missing,
    /// Queued or running.
    Open,
    /// The agent ended well.
    Done,
    /// Attempts are used up; the last end in words.
    Failed(String),
}

/// What the steps of the edge said; evaluated only where `Work` permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// Not evaluated.
    No,
    /// Every step let the task through.
    Through,
    /// The first step that did not.
    Stopped {
        /// Its name.
        step: String,
        /// Its verdict.
        verdict: Verdict,
    },
    /// An effect may or may not have happened.
    InDoubt {
        /// Its name.
        step: String,
        /// What is in doubt.
        cause: String,
    },
}

/// Limits that the decision obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `ORCH_MAX_ROLLBACKS`.
    pub rollbacks_max: u32,
    /// `ORCH_GATE_INFRA_RETRIES`; 0 when the retry is switched off.
    pub infra_retries_max: u32,
    /// First pause before an infra retry; doubles with each.
    pub infra_backoff_ms: i64,
    /// `ORCH_CI_WAIT_S`.
    pub ci_wait_ms: i64,
}

/// What is known of the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The role's work.
    pub work: Work,
    /// The steps.
    pub checked: Checked,
    /// Limits.
    pub limits: Limits,
    /// How long the task has stood as it stands, in milliseconds that were watched: no difference of two
    /// times of the host's clock.
    pub stood_ms: i64,
    /// Number of the last run of the task's deploy command, 0 for none.
    pub last_deploy: i64,
}

/// What comes of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// To be appended.
    pub events: Vec<Event>,
    /// Role whose job is to be queued for the round that follows.
    pub enqueue: Option<Role>,
    /// Whether open jobs of the task are to be cancelled.
    pub cancel_jobs: bool,
    /// What to tell whoever asked.
    pub outcome: Outcome,
}

/// Answer of the one door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A forward edge was taken.
    Advanced {
        /// To.
        to: Stage,
    },
    /// Taken back.
    RolledBack {
        /// To.
        to: Stage,
    },
    /// Somebody must answer.
    Waiting {
        /// Who.
        who: Waitee,
        /// Until when at most.
        until_ms: Option<i64>,
    },
    /// Tried again by the core.
    Held {
        /// When.
        retry_at_ms: i64,
    },
    /// A person must act.
    Blocked {
        /// Why.
        cause: String,
        /// What to do.
        way_out: String,
    },
    /// A live owner is at work; the trigger stays pending.
    Deferred {
        /// Who.
        owner: String,
    },
    /// Somebody else was faster; nothing was written.
    LostRace,
    /// Nothing to do.
    NoChange,
}

impl Outcome {
    /// Name in metrics and API.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Advanced { .. } => "advanced",
            Self::RolledBack { .. } => "rolled_back",
            Self::Waiting { .. } => "waiting",
            Self::Held { .. } => "held",
            Self::Blocked { .. } => "blocked",
            Self::Deferred { .. } => "deferred",
            Self::LostRace => "lost_race",
            Self::NoChange => "no_change",
        }
    }
}

/// Why a command is refused; nothing changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Terminal.
    #[error("the task is {0} and stays so")]
    Terminal(Stage),
    /// No roll-back from here.
    #[error("stage `{0}` has no roll-back: {1}")]
    NoRollBack(Stage, &'static str),
    /// Nothing waits for a retry.
    #[error("the task is not blocked or held ({0}); there is nothing to retry")]
    NothingToRetry(&'static str),
    /// No deploy of it has come to nothing.
    #[error(
        "the task is {1} in stage `{0}`: no deploy of it failed or is in doubt, so none is started again"
    )]
    NothingToDeploy(Stage, &'static str),
}

/// Decides.
///
/// # Errors
/// [`Refusal`] where the command does not fit the task; only operators' commands can be refused.
pub fn decide(task: &Task, command: &Command, facts: &Facts, now_ms: i64) -> Result<Decision, Refusal> {
    match command {
        Command::Advance if task.stage.is_terminal() => Ok(Decision::nothing(Outcome::NoChange)),
        Command::Advance => Ok(advance(task, facts, now_ms)),
        Command::RollBack { .. } | Command::Retry | Command::Redeploy | Command::Cancel
            if task.stage.is_terminal() =>
        {
            Err(Refusal::Terminal(task.stage))
        }
        Command::RollBack { why } => roll_back_by_hand(task, why),
        Command::Retry => retry(task, facts),
        Command::Redeploy => redeploy(task, facts),
        Command::Cancel => Ok(Decision {
            events: vec![Event::Entered { from: task.stage, to: Stage::Cancelled }],
            enqueue: None,
            cancel_jobs: true,
            outcome: Outcome::Advanced { to: Stage::Cancelled },
        }),
    }
}

fn advance(task: &Task, facts: &Facts, now_ms: i64) -> Decision {
    let Some(to) = task.stage.row().next else {
        return Decision::nothing(Outcome::NoChange);
    };
    match (&facts.work, &facts.checked) {
        (Work::Missing | Work::Open, _) => match task.stage.row().role {
            Some(role) => work_on(task, role, &facts.work),
            None => Decision::nothing(Outcome::NoChange),
        },
        (Work::Failed(end), _) => blocked(
            task,
            format!("agent {} gave up: {end}", role_name(task.stage)),
            "look at the run's log, mend the cause, then `task retry`".to_owned(),
        ),
        (Work::NotNeeded | Work::Done, Checked::No) => Decision::nothing(Outcome::NoChange),
        (Work::NotNeeded | Work::Done, Checked::Through) => forward(task, to),
        (Work::NotNeeded | Work::Done, Checked::Stopped { step, verdict }) => {
            stopped(task, step, verdict, facts, now_ms)
        }
        (Work::NotNeeded | Work::Done, Checked::InDoubt { step, cause }) => blocked(
            task,
            format!("effect {step} {IN_DOUBT}: {cause}"),
            if *step == EffectKind::StartDeploy.as_str() {
                format!(
                    "look whether it happened outside; `task retry {0}` asks the outside again, `task redeploy {0}` starts it once more",
                    task.key
                )
            } else {
                "look whether it happened outside; `task retry` asks the outside again".to_owned()
            },
        ),
    }
}

fn forward(task: &Task, to: Stage) -> Decision {
    let mut events = vec![Event::Entered { from: task.stage, to }];
    let role = to.row().role;
    events.extend(role.into_iter().flat_map(queued));
    Decision { events, enqueue: role, cancel_jobs: false, outcome: Outcome::Advanced { to } }
}

fn stopped(task: &Task, step: &str, verdict: &Verdict, facts: &Facts, now_ms: i64) -> Decision {
    let limits = facts.limits;
    match verdict {
        // a step that lets through never stops; read it as "ask again"
        Verdict::Pass { .. } | Verdict::Skipped { .. } => Decision::nothing(Outcome::NoChange),
        Verdict::Red { findings } if task.merged.is_some() => blocked(
            task,
            format!("{step} after the merge: {}", findings.join("; ")),
            match &task.merged {
                Some(merged) if step == GateKind::LandedTree.as_str() => format!(
                    "test what landed, then `task accept-landed {} --revision {merged}`; or revert it by hand and `task cancel`",
                    task.key
                ),
                Some(_) if step == GateKind::Deployed.as_str() => format!(
                    "look why; `task redeploy {0}` starts the deploy again, `task retry {0}` waits for it once more; or revert it by hand and `task cancel {0}`",
                    task.key
                ),
                Some(_) | None => {
                    "nothing is rolled back after a merge: mend or revert it by hand, then `task retry`"
                        .to_owned()
                }
            },
        ),
        Verdict::Red { findings } => roll_back(task, step, findings, limits),
        Verdict::Infra { detail, .. } if task.infra_attempts < limits.infra_retries_max => {
            let pause = limits.infra_backoff_ms.saturating_mul(1 << task.infra_attempts.min(6));
            let retry_at_ms = now_ms.saturating_add(pause);
            Decision {
                events: vec![Event::InfraRetry {
                    step: step.to_owned(),
                    detail: detail.clone(),
                    retry_at_ms,
                }],
                enqueue: None,
                cancel_jobs: false,
                outcome: Outcome::Held { retry_at_ms },
            }
        }
        Verdict::Infra { class, detail } => match EffectKind::parse(step) {
            Some(EffectKind::StartDeploy) => blocked(
                task,
                format!("{step} did not succeed: {detail}"),
                format!(
                    "mend the machine or the command, then `task redeploy {0}`; or revert what is merged by hand and `task cancel {0}`",
                    task.key
                ),
            ),
            Some(_) => blocked(
                task,
                format!("{step} did not succeed: {detail}"),
                "mend the machine or the command, then `task retry`; the code was not found at fault"
                    .to_owned(),
            ),
            None => blocked(
                task,
                format!("{step} could not judge the code ({}): {detail}", class.as_str()),
                "mend the machine or the command, then `task retry`; the code was not found at fault"
                    .to_owned(),
            ),
        },
        Verdict::Wait { reason, who, until_ms } => {
            if matches!(who, Waitee::Ci { .. })
                && let Some(overdue) = overdue_ci(task, step, reason, facts)
            {
                return overdue;
            }
            let standing =
                Standing::Waiting { who: who.clone(), reason: reason.clone(), until_ms: *until_ms };
            Decision::nothing(Outcome::Waiting { who: who.clone(), until_ms: *until_ms })
                .standing(task, standing)
        }
    }
}

/// The end of waiting for CI. Only time spent on waiting for CI counts: what an agent or the merge
/// slot took before is not the CI's. A task that is blocked for this very wait stays so until there
/// is an answer.
fn overdue_ci(task: &Task, step: &str, reason: &str, facts: &Facts) -> Option<Decision> {
    let limits = facts.limits;
    let cause = format!("{step}: no answer within {} s: {reason}", limits.ci_wait_ms / 1000);
    let is_over = match &task.standing {
        Standing::Waiting { who: Waitee::Ci { .. }, .. } => facts.stood_ms > limits.ci_wait_ms,
        Standing::Blocked { cause: present, .. } => *present == cause,
        Standing::Waiting {
            who: Waitee::Person { .. } | Waitee::Agent { .. } | Waitee::Slot { .. } | Waitee::Deploy { .. },
            ..
        }
        | Standing::Moving {}
        | Standing::Held { .. }
        | Standing::Finished {} => false,
    };
    is_over.then(|| blocked(task, cause, "look at the CI, then `task retry`".to_owned()))
}

/// Until when a task rests before it is tried again; a person's retry ends the rest, and so does a clock
/// that shows an earlier time than the beginning of the rest: it was set back, and must not prolong it.
/// Whoever asks earlier must not use up a try.
#[must_use]
pub fn rests_until(task: &Task, now_ms: i64) -> Option<i64> {
    match task.standing {
        Standing::Held { retry_at_ms, .. } if (task.standing_since_ms..retry_at_ms).contains(&now_ms) => {
            Some(retry_at_ms)
        }
        Standing::Held { .. }
        | Standing::Moving {}
        | Standing::Waiting { .. }
        | Standing::Blocked { .. }
        | Standing::Finished {} => None,
    }
}

fn roll_back(task: &Task, step: &str, findings: &[String], limits: Limits) -> Decision {
    let Some(to) = task.stage.row().rollback else {
        return blocked(
            task,
            format!("{step}: {}", findings.join("; ")),
            "this stage has no roll-back: mend it by hand, then `task retry`".to_owned(),
        );
    };
    if task.rollbacks >= limits.rollbacks_max {
        return blocked(
            task,
            format!("{step}: {} (rolled back {} times already)", findings.join("; "), task.rollbacks),
            "mend what the agents cannot, then `task retry` or `task rollback`".to_owned(),
        );
    }
    Decision {
        events: rolled_back(task.stage, to, step, findings.to_vec()),
        enqueue: to.row().role,
        cancel_jobs: true,
        outcome: Outcome::RolledBack { to },
    }
}

fn rolled_back(from: Stage, to: Stage, step: &str, findings: Vec<String>) -> Vec<Event> {
    let mut events = vec![Event::RolledBack { from, to, step: step.to_owned(), findings }];
    events.extend(to.row().role.into_iter().flat_map(queued));
    events
}

fn queued(role: Role) -> [Event; 2] {
    [Event::JobQueued { role }, Event::Stood { standing: agent_standing(role) }]
}

fn roll_back_by_hand(task: &Task, why: &str) -> Result<Decision, Refusal> {
    if task.merged.is_some() {
        return Err(Refusal::NoRollBack(task.stage, "its change is merged; revert it instead"));
    }
    let Some(to) = task.stage.row().rollback else {
        return Err(Refusal::NoRollBack(task.stage, "no agent has worked in it"));
    };
    Ok(Decision {
        events: rolled_back(task.stage, to, "operator", vec![why.to_owned()]),
        enqueue: to.row().role,
        cancel_jobs: true,
        outcome: Outcome::RolledBack { to },
    })
}

fn retry(task: &Task, facts: &Facts) -> Result<Decision, Refusal> {
    match &task.standing {
        // the agent works again only where its own attempts are used up: work that is done and
        // whose gate could not answer is not paid for twice
        Standing::Blocked { .. } | Standing::Held { .. } => Ok(Decision {
            events: vec![Event::Retried { rerun: matches!(facts.work, Work::Failed(_)) }],
            enqueue: None,
            cancel_jobs: false,
            outcome: Outcome::NoChange,
        }),
        Standing::Moving {} | Standing::Waiting { .. } | Standing::Finished {} => {
            Err(Refusal::NothingToRetry(task.standing.as_str()))
        }
    }
}

/// A person's word gives a new grant, where the last one is known to have come to nothing good, or where nobody
/// knows what it came to.
fn redeploy(task: &Task, facts: &Facts) -> Result<Decision, Refusal> {
    let in_doubt = is_deploy_in_doubt(&facts.checked);
    let is_blocked = matches!(task.standing, Standing::Blocked { .. });
    let stands = is_blocked || matches!(task.standing, Standing::Held { .. });
    let failed = task.stage == Stage::DeployStaging && facts.last_deploy > 0 && facts.checked == Checked::No;
    // its command ended and said so: that is known, and needs no word over what is not
    if failed && task.merged.is_some() && stands {
        return retry(task, facts);
    }
    if task.merged.is_none() || !is_blocked || !(in_doubt || task.stage == Stage::Deploy) {
        return Err(Refusal::NothingToDeploy(task.stage, task.standing.as_str()));
    }
    Ok(Decision {
        events: vec![Event::DeployAsked { after_run: facts.last_deploy }],
        enqueue: None,
        cancel_jobs: false,
        outcome: Outcome::NoChange,
    })
}

/// Whether nobody knows what the start of a deploy came to.
#[must_use]
pub fn is_deploy_in_doubt(checked: &Checked) -> bool {
    matches!(checked, Checked::InDoubt { step, .. } if step == EffectKind::StartDeploy.as_str())
}

/// What the cause of a task says that stands because nobody knows whether an effect happened.
const IN_DOUBT: &str = "is in doubt";
const ROBBED: &str = "the lease was taken by force in the middle of";

/// How a task stands whose owner was robbed of the lease with an effect open.
#[must_use]
pub fn parked_by_force(effect: EffectKind) -> Standing {
    Standing::Blocked {
        cause: format!("{ROBBED} {effect}: whether it happens is not known before its owner has ended"),
        way_out: "the outside is asked as soon as the owner has ended; if it does not end, restart the core"
            .to_owned(),
    }
}

/// Whether a task stands only until the owner that was robbed of its lease has ended: no person's turn.
#[must_use]
pub fn is_parked_by_force(task: &Task) -> bool {
    matches!(&task.standing, Standing::Blocked { cause, .. } if cause.starts_with(ROBBED))
}

/// Whether a task stands only until an open effect is settled.
#[must_use]
pub fn is_parked(task: &Task) -> bool {
    match &task.standing {
        Standing::Blocked { cause, .. } => {
            is_parked_by_force(task) || (cause.starts_with("effect ") && cause.contains(IN_DOUBT))
        }
        Standing::Moving {} | Standing::Waiting { .. } | Standing::Held { .. } | Standing::Finished {} => {
            false
        }
    }
}

fn blocked(task: &Task, cause: String, way_out: String) -> Decision {
    let outcome = Outcome::Blocked { cause: cause.clone(), way_out: way_out.clone() };
    Decision::nothing(outcome).standing(task, Standing::Blocked { cause, way_out })
}

fn role_name(stage: Stage) -> &'static str {
    stage.row().role.map_or("of no role", Role::as_str)
}

fn work_on(task: &Task, role: Role, work: &Work) -> Decision {
    let outcome = Outcome::Waiting { who: agent(role), until_ms: None };
    let mut decision = Decision::nothing(outcome);
    if *work == Work::Missing {
        decision.events.push(Event::JobQueued { role });
        decision.enqueue = Some(role);
    }
    decision.standing(task, agent_standing(role))
}

fn agent_standing(role: Role) -> Standing {
    Standing::Waiting { who: agent(role), reason: format!("the {role} works"), until_ms: None }
}

fn agent(role: Role) -> Waitee {
    Waitee::Agent { name: role.as_str().to_owned() }
}

impl Decision {
    const fn nothing(outcome: Outcome) -> Self {
        Self { events: Vec::new(), enqueue: None, cancel_jobs: false, outcome }
    }

    /// Adds a change of standing, unless the task stands so already: history records changes, not
    /// repetitions.
    fn standing(mut self, task: &Task, standing: Standing) -> Self {
        if task.standing != standing {
            self.events.push(Event::Stood { standing });
        }
        self
    }
}
