//! The one door: every change of stage goes through [`Engine::advance`].
//!
//! The shell around the pure decision: load, look (gates) or act (effects, under the lease),
//! decide, write everything in one transaction, and only then wake whoever is next. Gates stand
//! in `gates`, effects in `effects`; no other module writes a stage.

mod advance;
mod drift;
mod edge;
mod left_over;
mod operator;
mod owners;
mod publish;
mod site;
pub(crate) mod waits;
mod yields;

use std::sync::{Arc, atomic::AtomicU8};

pub(crate) use advance::infra;
pub use advance::{EngineError, Request};
pub(crate) use edge::need_candidate;
pub(crate) use operator::LANDED_TREE;
pub use operator::{ApproveError, CreateError};
pub use site::{Checkout, Site, SiteError};
use tokio::sync::Notify;

use crate::{
    clock::Clock, config::CoreConfig, counters::Counters, domain::transition::Limits, projects::Projects,
    runs::Runs, store::Store,
};

/// Who commits in the core's name.
#[must_use]
pub fn identity() -> crate::git::Identity {
    crate::git::Identity { name: "orch".to_owned(), email: "orch@localhost".to_owned() }
}

/// Where this core is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Life {
    /// Recovering.
    Starting = 0,
    /// Working.
    Ready = 1,
    /// Told to end.
    Stopping = 2,
}

/// Wake-ups. They carry nothing and may be lost: each sleeper also sweeps by a period.
#[derive(Debug, Default)]
pub struct Wakes {
    /// A job may be claimable.
    pub jobs: Notify,
    /// A head may want CI.
    pub ci: Notify,
    /// A deploy was started.
    pub deploys: Notify,
}

/// Everything that acts on tasks, in one place; shared by actors and API.
#[derive(Debug)]
pub struct Engine {
    /// Settings.
    pub config: CoreConfig,
    /// Projects.
    pub projects: Projects,
    /// Store.
    pub store: Store,
    /// Clock.
    pub clock: Clock,
    /// Repository and forge of each project.
    pub sites: Vec<Site>,
    /// Supervised runs.
    pub runs: Arc<Runs>,
    /// Counters.
    pub counters: Counters,
    /// Wake-ups.
    pub wakes: Wakes,
    /// People who wait to enter an edge.
    pub(crate) yields: yields::Yields,
    /// How long the reaper has watched what it may end.
    pub(crate) ages: crate::actors::ages::Ages,
    /// How long tasks have waited for others.
    pub(crate) waits: waits::Waits,
    life: AtomicU8,
    started_at_ms: i64,
}

impl Engine {
    /// Puts the parts together; touches nothing.
    #[must_use]
    pub fn new(
        config: CoreConfig,
        projects: Projects,
        store: Store,
        clock: Clock,
        sites: Vec<Site>,
        runs: Arc<Runs>,
    ) -> Self {
        let started_at_ms = clock.now_ms();
        Self {
            config,
            projects,
            store,
            clock,
            sites,
            runs,
            counters: Counters::default(),
            wakes: Wakes::default(),
            yields: yields::Yields::default(),
            ages: crate::actors::ages::Ages::default(),
            waits: waits::Waits::default(),
            life: AtomicU8::new(Life::Starting as u8),
            started_at_ms,
        }
    }

    /// When this life began.
    #[must_use]
    pub const fn started_at_ms(&self) -> i64 {
        self.started_at_ms
    }

    /// Where this core is in its life.
    #[must_use]
    pub fn life(&self) -> Life {
        match self.life.load(std::sync::atomic::Ordering::Acquire) {
            0 => Life::Starting,
            1 => Life::Ready,
            _ => Life::Stopping,
        }
    }

    /// Moves on in life.
    pub fn set_life(&self, life: Life) {
        self.life.store(life as u8, std::sync::atomic::Ordering::Release);
    }

    /// The project's repository and forge.
    #[must_use]
    pub fn site(&self, project: &str) -> Option<&Site> {
        self.sites.iter().find(|site| site.project.name == project)
    }

    fn limits(&self, site: &Site) -> Limits {
        let gates = &self.config.gates;
        Limits {
            rollbacks_max: self.config.jobs.max_rollbacks,
            infra_retries_max: if gates.infra_retry_enabled { gates.infra_retries } else { 0 },
            infra_backoff_ms: gates.infra_backoff_ms,
            ci_wait_ms: site.project.limits(&self.config).ci_wait_ms,
        }
    }
}
