//! The ten stages and the edge table.
//!
//! One enum, one table: who works in a stage, which gates check its exit, which steps an exit with
//! effects takes and in which order, where a roll-back leads. Every other map of stages derives
//! from here; the tests walk the enum and prove each map complete. This module decides nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{effect::EffectKind, job::Role, verdict::GateKind};

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Known, nothing done.
    Created,
    /// The analyst writes the brief.
    Analysis,
    /// The architect writes the decision record.
    Architecture,
    /// The developer changes code and tests.
    Development,
    /// The reviewer reads the change.
    Review,
    /// The tester tries it.
    Testing,
    /// The deployer prepares staging; then the edge with effects.
    DeployStaging,
    /// Merged and started; the finalizer watches.
    Deploy,
    /// Merged, deployed, closed.
    Done,
    /// Given up, with a reason.
    Cancelled,
}

/// A step of the edge with effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A journalled effect.
    Effect(EffectKind),
    /// A gate: looks, changes nothing outside.
    Gate(GateKind),
}

/// One row of the edge table: what a stage is and how it is left.
#[derive(Debug, Clone, Copy)]
pub struct StageRow {
    /// Role that works in the stage.
    pub role: Option<Role>,
    /// Stage that the forward edge leads to; `None` for terminal stages.
    pub next: Option<Stage>,
    /// Steps of the forward edge, in order.
    pub steps: &'static [Step],
    /// Where a roll-back leads; `None` where there is none.
    pub rollback: Option<Stage>,
}

/// A permitted change of stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edge {
    /// From.
    pub from: Stage,
    /// To.
    pub to: Stage,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

/// The edge that merges and deploys, in the order that makes its claims true: what changes the
/// candidate first, then every check of exactly that candidate, then the irreversible acts.
const DEPLOY_EDGE: &[Step] = &[
    Step::Effect(EffectKind::PrepareCandidate),
    Step::Gate(GateKind::Ci),
    Step::Effect(EffectKind::RebuildImage),
    Step::Gate(GateKind::Image),
    Step::Gate(GateKind::Staging),
    Step::Gate(GateKind::Retest),
    Step::Gate(GateKind::Coverage),
    Step::Gate(GateKind::Security),
    Step::Effect(EffectKind::Merge),
    Step::Gate(GateKind::LandedTree),
    Step::Effect(EffectKind::RatchetCoverage),
    Step::Effect(EffectKind::StartDeploy),
];

impl Stage {
    /// All of them, in pipeline order.
    pub const ALL: [Self; 10] = [
        Self::Created,
        Self::Analysis,
        Self::Architecture,
        Self::Development,
        Self::Review,
        Self::Testing,
        Self::DeployStaging,
        Self::Deploy,
        Self::Done,
        Self::Cancelled,
    ];

    /// Name in store, API, metrics and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Analysis => "analysis",
            Self::Architecture => "architecture",
            Self::Development => "development",
            Self::Review => "review",
            Self::Testing => "testing",
            Self::DeployStaging => "deploy-staging",
            Self::Deploy => "deploy",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text)
    }

    /// The row of the edge table.
    #[must_use]
    pub const fn row(self) -> StageRow {
        const fn row(
            role: Option<Role>,
            next: Option<Stage>,
            steps: &'static [Step],
            rollback: Option<Stage>,
        ) -> StageRow {
            StageRow { role, next, steps, rollback }
        }
        match self {
            Self::Created => row(None, Some(Self::Analysis), &[], None),
            Self::Analysis => row(
                Some(Role::Analyst),
                Some(Self::Architecture),
                &[Step::Gate(GateKind::Artifact), Step::Gate(GateKind::Approval)],
                Some(Self::Analysis),
            ),
            Self::Architecture => row(
                Some(Role::Architect),
                Some(Self::Development),
                &[Step::Gate(GateKind::Artifact)],
                Some(Self::Architecture),
            ),
            Self::Development => row(
                Some(Role::Developer),
                Some(Self::Review),
                &[Step::Gate(GateKind::Change), Step::Gate(GateKind::Ci)],
                Some(Self::Development),
            ),
            Self::Review => row(
                Some(Role::Reviewer),
                Some(Self::Testing),
                &[Step::Gate(GateKind::Artifact)],
                Some(Self::Development),
            ),
            Self::Testing => row(
                Some(Role::Tester),
                Some(Self::DeployStaging),
                &[Step::Gate(GateKind::Artifact)],
                Some(Self::Development),
            ),
            Self::DeployStaging => {
                row(Some(Role::Deployer), Some(Self::Deploy), DEPLOY_EDGE, Some(Self::Development))
            }
            Self::Deploy => row(
                None,
                Some(Self::Done),
                &[
                    Step::Effect(EffectKind::StartDeploy),
                    Step::Gate(GateKind::Deployed),
                    Step::Effect(EffectKind::CloseWorkItem),
                ],
                None,
            ),
            Self::Done | Self::Cancelled => row(None, None, &[], None),
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Done | Self::Cancelled => true,
            Self::Created
            | Self::Analysis
            | Self::Architecture
            | Self::Development
            | Self::Review
            | Self::Testing
            | Self::DeployStaging
            | Self::Deploy => false,
        }
    }

    /// Whether the forward edge carries effects, and so needs the lease.
    #[must_use]
    pub fn has_effects(self) -> bool {
        self.row().steps.iter().any(|step| matches!(step, Step::Effect(_)))
    }
}

/// Whether `edge` is permitted at all: forward, roll-back, or cancel.
#[must_use]
pub fn is_edge(edge: Edge) -> bool {
    let row = edge.from.row();
    row.next == Some(edge.to)
        || row.rollback == Some(edge.to)
        || (edge.to == Stage::Cancelled && !edge.from.is_terminal())
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_round_trips_through_its_text() {
        for stage in Stage::ALL {
            assert_eq!(Stage::parse(stage.as_str()), Some(stage));
            let json = serde_json::to_value(stage).expect("serialises");
            assert_eq!(json, stage.as_str(), "one text form only");
        }
        assert_eq!(Stage::parse("deploying"), None);
    }

    #[test]
    fn forward_edges_form_one_path_from_created_to_done() {
        let mut path = vec![Stage::Created];
        while let Some(next) = path.last().and_then(|stage| stage.row().next) {
            assert!(!path.contains(&next), "no loop");
            path.push(next);
        }
        assert_eq!(path, Stage::ALL[..9]);
    }

    #[test]
    fn nothing_leaves_a_terminal_stage_and_nothing_rolls_back_after_the_merge() {
        for to in Stage::ALL {
            assert!(!is_edge(Edge { from: Stage::Done, to }));
            assert!(!is_edge(Edge { from: Stage::Cancelled, to }));
        }
        assert_eq!(Stage::Deploy.row().rollback, None);
    }

    #[test]
    fn a_rollback_never_skips_a_stage_forward() {
        for stage in Stage::ALL {
            if let Some(target) = stage.row().rollback {
                assert!(target <= stage, "{stage} rolls back to {target}");
            }
        }
    }

    #[test]
    fn checks_of_the_candidate_stand_between_its_making_and_its_merge() {
        let at = |wanted: Step| DEPLOY_EDGE.iter().position(|step| *step == wanted).expect("is a step");
        let prepare = at(Step::Effect(EffectKind::PrepareCandidate));
        let merge = at(Step::Effect(EffectKind::Merge));
        for gate in
            [GateKind::Ci, GateKind::Staging, GateKind::Retest, GateKind::Coverage, GateKind::Security]
        {
            assert!((prepare..merge).contains(&at(Step::Gate(gate))), "{gate:?}");
        }
        let rebuild = at(Step::Effect(EffectKind::RebuildImage));
        assert!((prepare..merge).contains(&rebuild));
        assert_eq!(at(Step::Gate(GateKind::Image)), rebuild + 1, "what was built is looked at");
        assert_eq!(at(Step::Gate(GateKind::LandedTree)), merge + 1);
        assert!(at(Step::Effect(EffectKind::StartDeploy)) > at(Step::Effect(EffectKind::RatchetCoverage)));
    }
}
