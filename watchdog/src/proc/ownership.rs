//! Does anybody own this family? The exact answer by run cookie first, the structure of the tree after it.
//!
//! Pure, and without thresholds: how long an orphan is left in peace is the signal's business. Every rule that was
//! consulted is named, for the alert and for `explain`.
//!
//! Invariants: without the core's word nothing is called an orphan while a core is expected to answer; what could not
//! be read makes nobody an orphan, only "owner unknown".

use orch_contract::{ENDED_RUNS_KEPT_MS, ObservationDocument, SupervisedTree};

use crate::evidence::{Evidence, RunName};
use crate::observe::{Cookie, Family, Lineage, Supervisor};

/// A run that started this shortly before the document was built may be missing from it (ten seconds, in
/// milliseconds).
const DOCUMENT_LAG_MS: i64 = 10_000;

/// What is known from the core.
#[derive(Debug, Clone, Copy)]
pub enum CoreKnowledge<'tick> {
    /// Its document.
    Document(&'tick ObservationDocument),
    /// A core is configured and does not answer: it may own anything.
    Silent,
    /// No core is configured: structure is all there is.
    Off,
}

/// Who owns a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody does.
    Owned {
        /// Who, in words.
        by: String,
    },
    /// It was the core's, and nobody owns it any more.
    Orphan {
        /// Why, in words.
        because: String,
    },
    /// Nobody owns it, and it never had anything to do with the core: told much later.
    Foreign {
        /// Why, in words.
        because: String,
    },
    /// It cannot be told.
    OwnerUnknown {
        /// Why not, in words.
        why: String,
    },
}

/// A verdict with everything that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The rules consulted, in order.
    pub evidence: Vec<Evidence>,
}

/// Judges one family.
#[must_use]
pub fn judge(family: &Family, core: CoreKnowledge<'_>) -> Judgement {
    let mut evidence = Vec::new();
    let verdict =
        by_cookie(family, core, &mut evidence).unwrap_or_else(|| by_structure(family, core, &mut evidence));
    Judgement { verdict, evidence }
}

/// The exact rule; `None` where it does not apply.
fn by_cookie(family: &Family, core: CoreKnowledge<'_>, evidence: &mut Vec<Evidence>) -> Option<Verdict> {
    let cookie = match family.cookie {
        Cookie::Run(cookie) => cookie,
        Cookie::None => {
            evidence.push(Evidence::NoCookie);
            return None;
        }
        Cookie::Unreadable => {
            evidence.push(Evidence::CookieUnreadable);
            // a live run of the core may be re-parented: without its cookie structure can clear it, never condemn it
            return match by_structure(family, core, evidence) {
                clear @ (Verdict::Owned { .. } | Verdict::OwnerUnknown { .. }) => Some(clear),
                Verdict::Orphan { .. } | Verdict::Foreign { .. } => {
                    Some(Verdict::OwnerUnknown { why: "its run cookie could not be read".to_owned() })
                }
            };
        }
    };
    let document = match core {
        CoreKnowledge::Document(document) => document,
        CoreKnowledge::Silent => {
            evidence.push(Evidence::CookieUnheard { cookie });
            evidence.push(Evidence::Structure(family.lineage.clone()));
            return Some(Verdict::OwnerUnknown { why: "the core was not heard".to_owned() });
        }
        CoreKnowledge::Off => {
            evidence.push(Evidence::CookieUnasked { cookie });
            if let Supervisor::Alive(pid) = family.supervisor {
                return Some(supervised(pid, evidence));
            }
            evidence.push(Evidence::Structure(family.lineage.clone()));
            return Some(Verdict::OwnerUnknown { why: "no core was asked whose run this is".to_owned() });
        }
    };
    // decimal text in the document; compared as a number, so that leading zeros are no other run
    let tree = document.processes.iter().find(|tree| tree.cookie.parse() == Ok(cookie));
    if let Some(tree) = tree {
        let run = run_name(tree);
        return Some(match tree.ended_at_ms {
            None => {
                let by = run.to_string();
                evidence.push(Evidence::RunAlive { cookie, run });
                Verdict::Owned { by }
            }
            Some(_) => {
                let plain = |outcome: &str| super::redact::plain(outcome.as_bytes(), 80);
                let outcome = tree.outcome.as_deref().map(plain);
                let how = outcome.as_deref().unwrap_or("in an unknown way");
                let because = format!("{run} has ended ({how})");
                evidence.push(Evidence::RunEnded { cookie, run, outcome });
                evidence.push(Evidence::Structure(family.lineage.clone()));
                Verdict::Orphan { because }
            }
        });
    }
    unlisted(family, cookie, document, evidence)
}

/// A supervisor lives for exactly as long as its run, so the run is alive, whichever core's it is.
fn supervised(pid: i32, evidence: &mut Vec<Evidence>) -> Verdict {
    evidence.push(Evidence::SupervisorAlive { pid });
    Verdict::Owned { by: format!("its run's supervisor {pid}, which lives") }
}

/// A cookie that the document does not list: another core's on this host, or a run that this one has forgotten.
fn unlisted(
    family: &Family,
    cookie: u64,
    document: &ObservationDocument,
    evidence: &mut Vec<Evidence>,
) -> Option<Verdict> {
    if let Supervisor::Alive(pid) = family.supervisor {
        evidence.push(Evidence::CookieOfAnother { cookie });
        return Some(supervised(pid, evidence));
    }
    if document.processes_omitted > 0 {
        evidence.push(Evidence::CookieMaybeCut { cookie, left_out: document.processes_omitted });
        return Some(Verdict::OwnerUnknown { why: "the core's document is cut".to_owned() });
    }
    let age_ms = document.generated_at_ms.saturating_sub(family.started_at_ms);
    if age_ms < DOCUMENT_LAG_MS {
        evidence.push(Evidence::CookieTooYoung { cookie });
        return Some(Verdict::OwnerUnknown { why: "younger than the core's document".to_owned() });
    }
    if family.supervisor == Supervisor::Unknown {
        evidence.push(Evidence::SupervisorUnseen { cookie });
        return Some(Verdict::OwnerUnknown { why: "its supervisor could not be looked for".to_owned() });
    }
    if age_ms > ENDED_RUNS_KEPT_MS {
        evidence.push(Evidence::CookieExpired { cookie });
        evidence.push(Evidence::Structure(family.lineage.clone()));
        return Some(Verdict::Orphan {
            because: "its run ended over an hour ago, or its core is gone".to_owned(),
        });
    }
    // a run of this core would be listed: it is another core's, or that core's records are lost
    evidence.push(Evidence::CookieUnsupervised { cookie });
    None
}

fn by_structure(family: &Family, core: CoreKnowledge<'_>, evidence: &mut Vec<Evidence>) -> Verdict {
    evidence.push(Evidence::Structure(family.lineage.clone()));
    let because = match &family.lineage {
        Lineage::Main => {
            return Verdict::Owned { by: "its container or service runs it as main command".to_owned() };
        }
        Lineage::Child { root_name, .. } => {
            return Verdict::Owned { by: format!("a live parent, below {root_name}") };
        }
        Lineage::ExecRoot { .. } => {
            return Verdict::OwnerUnknown {
                why: "started by an exec into its container: live and abandoned look alike".to_owned(),
            };
        }
        Lineage::Unknown(why) => return Verdict::OwnerUnknown { why: why.to_string() },
        Lineage::Reparented { leader_alive: true, .. } => {
            return Verdict::Owned { by: "the leader of its session or group lives".to_owned() };
        }
        Lineage::Reparented { reaper, leader_alive: false, .. } => {
            format!("its starter is gone; its parent is {reaper}")
        }
    };
    match core {
        CoreKnowledge::Silent => {
            evidence.push(Evidence::MayBeTheCores);
            Verdict::OwnerUnknown { why: "the core was not heard".to_owned() }
        }
        CoreKnowledge::Document(_) | CoreKnowledge::Off if family.core_linked => {
            evidence.push(Evidence::LinkedToCore);
            Verdict::Orphan { because }
        }
        CoreKnowledge::Document(_) | CoreKnowledge::Off => {
            evidence.push(Evidence::NeverLinked);
            Verdict::Foreign { because }
        }
    }
}

fn run_name(tree: &SupervisedTree) -> RunName {
    let plain = |item: &str| super::redact::plain(item.as_bytes(), 40);
    RunName { run_id: tree.run_id, work_item: tree.work_item.as_deref().map(plain) }
}
