//! A look at the host, in English, for chats and for the terminal.

use super::super::phrases::{Proofs as _, Scans};
use super::super::said::Said;
use super::super::units::CpuUse;
use super::{English, bytes, cores, count, duration};
use crate::signals::OwnershipWord;
use crate::survey::{Headline, SurveyedFamily, Unheard, ViewLimit};

impl Scans for English {
    fn headline(&self, headline: Headline) -> Said {
        Said::of(match headline {
            Headline::OwnersUnknown { unjudged, matched } => {
                format!("could not tell: the owner of {unjudged} of {matched} matched families is unknown")
            }
            Headline::Hidden => "could not look: what is hidden may block this host all the same".to_owned(),
            Headline::OwnNamespace { matched } => format!(
                "could not look at the host; in this pid namespace {matched} matched, and nothing blocks it"
            ),
            Headline::NoneMatched => "no test run is under way".to_owned(),
            Headline::AllFine { matched } => format!("nothing blocks this host; {matched} matched and fine"),
            Headline::Found { found, matched } => {
                format!("{found} of {matched} matched families need a look")
            }
        })
    }

    fn readable(&self, readable: u64, listed: u64) -> Said {
        Said::of(format!(" ({readable} of {listed} processes readable)"))
    }

    fn limit(&self, limit: &ViewLimit) -> Said {
        let said = Said::of("limited view: ");
        match limit {
            ViewLimit::HiddenByMount { option } => {
                said.text("processes of other users are hidden by the mount option ").name(option)
            }
            ViewLimit::FirstHidden => {
                said.text("process 1 is not listed, so other users' processes are hidden")
            }
            ViewLimit::Unreadable { readable, listed } => {
                said.text(format!("can read {readable} of {listed} processes"))
            }
            ViewLimit::OwnNamespace => {
                said.text("sees only its own pid namespace; for the host run it with ").name("pid: host")
            }
        }
    }

    fn unheard(&self, unheard: &Unheard) -> Said {
        let said = Said::of("the core was not heard: ");
        let said = match unheard {
            Unheard::Starting => said.text("it is starting"),
            Unheard::OtherSchema(found) => said.text(format!("its document has schema version {found}")),
            Unheard::Fault(fault) => said.and(self.fault(fault)),
        };
        said.text("; owners are unknown")
    }

    fn could_not_look(&self, why: &str) -> Said {
        Said::of("could not look: ").name(why)
    }

    fn family(&self, seen: &SurveyedFamily) -> Said {
        let family = &seen.family;
        let cpu = match CpuUse::of(family.cpu_share) {
            CpuUse::Spinning(share) | CpuUse::Working(share) => cores(share),
            CpuUse::Idle => "idle".to_owned(),
            CpuUse::Unknown => "CPU not measured".to_owned(),
        };
        Said::of(match seen.ownership {
            OwnershipWord::Orphan => "orphan",
            OwnershipWord::Foreign => "orphan, not the core's",
            OwnershipWord::OwnerUnknown => "owner unknown",
            OwnershipWord::Owned => "owned",
        })
        .text(" · ")
        .code(&family.command)
        .text(format!(
            " · {}, {cpu}, {}, {}",
            duration(family.awake_age_ms),
            bytes(family.rss_bytes),
            count(family.members.len(), "process", "processes")
        ))
    }

    fn more_members(&self, left_out: usize) -> Said {
        Said::of(format!("and {}", count(left_out, "process more", "processes more")))
    }

    fn root_ended(&self, pid: i32) -> Said {
        Said::of(format!("root: {pid} has ended; these are left of it"))
    }

    fn container(&self, name: &str) -> Said {
        Said::of("where: ").name(name)
    }

    fn rule(&self, rule: Said) -> Said {
        Said::of("evidence: ").and(rule)
    }

    fn stop(&self, command: &str) -> Said {
        Said::of("stop: ").code(command)
    }
}
