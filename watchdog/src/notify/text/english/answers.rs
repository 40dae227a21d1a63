//! Answers to commands, in English, for chats and for the terminal.

use super::super::answers::ChatWord;
use super::super::phrases::Answers;
use super::super::said::Said;
use super::super::{entity, full_time};
use super::{English, duration};
use crate::cases::{CaseId, Suppression};
use crate::commands::{About, CaseLine, Ended, Malformed, MuteLine, Refusal, USAGE};
use crate::notify::buttons::Wish;

impl Answers for English {
    fn about(&self, about: &About) -> Said {
        match about {
            About::Signal(signal) => Said::default().name(signal.name()),
            About::Case { signal: None, entity: of, .. } => Said::default().name(entity(of)),
            About::Case { id, signal: Some(signal), entity: of } => {
                let named =
                    id.map_or_else(Said::default, |id| Said::default().name(id.to_string()).text(" "));
                named.text("(").name(signal.name()).text(", ").name(entity(of)).text(")")
            }
        }
    }

    fn muted(&self, what: &About, until_ms: i64, silenced: usize) -> Said {
        Said::of("muted ")
            .and(self.about(what))
            .text(format!(" until {}, or until it is over; silenced now: {silenced}", full_time(until_ms)))
    }

    fn ended(&self) -> &'static str {
        "ended: "
    }

    fn ended_one(&self, ended: &Ended) -> Said {
        match ended {
            Ended::Mute(what) => self.about(what),
            Ended::Acknowledgement(what) => Said::of("acknowledgement of ").and(self.about(what)),
        }
    }

    fn acknowledged(&self) -> &'static str {
        "acknowledged until it is over or gets worse: "
    }

    fn refused(&self, refusal: &Refusal) -> Said {
        Said::of(match refusal {
            Refusal::UnknownId(id) => format!("no case {id}: it never was or is forgotten; see status"),
            Refusal::OtherSignal { id, is, said } => {
                format!("{id} is of {}, not of {}; nothing was changed", is.name(), said.name())
            }
            Refusal::Over(id) => format!("{id} does not fire any more; there is nothing to silence"),
            Refusal::AlreadyAcknowledged { id, by, at_ms } => {
                return Said::of(format!("{id} was acknowledged by "))
                    .name(by)
                    .text(format!(" at {}", full_time(*at_ms)));
            }
            Refusal::NotMuted => "that is not muted".to_owned(),
        })
    }

    fn malformed(&self, malformed: &Malformed) -> Said {
        Said::of(malformed.to_string())
    }

    fn case_line(&self, case: &CaseLine, title: Said) -> Said {
        let finding = &case.finding;
        let id = case.id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let (severity, signal) = (finding.severity.name(), finding.signal.name());
        let line = Said::of(format!("{id}  {severity}  {signal}  "))
            .name(entity(&finding.entity))
            .text("  ")
            .and(title)
            .text(format!("  since {}", full_time(case.since_ms)));
        match (case.suppression, &case.acknowledged_by) {
            (None, _) => line,
            (Some(Suppression::Muted), None) => line.text(" [muted]"),
            (Some(Suppression::Muted), Some(by)) => line.text(" [muted; acknowledged by ").name(by).text("]"),
            (Some(Suppression::Acknowledged), Some(by)) => line.text(" [acknowledged by ").name(by).text("]"),
            (Some(Suppression::Acknowledged), None) => line.text(" [acknowledged by somebody]"),
        }
    }

    fn nothing_fires(&self) -> &'static str {
        "nothing fires"
    }

    fn mute_line(&self, mute: &MuteLine) -> Said {
        Said::of("muted: ")
            .and(self.about(&mute.what))
            .text(format!(" until {} by ", full_time(mute.until_ms)))
            .name(&mute.by)
    }

    fn chat(&self, word: ChatWord) -> Said {
        match word {
            ChatWord::Usage => Said::default().name(USAGE).name(" · scan"),
            ChatWord::TooLate(age_ms) => Said::of(format!(
                "not done: this arrived {} late; say it again if it still holds",
                duration(age_ms)
            )),
            ChatWord::PressAgain => Said::of("not done: nobody knows how old this press is; press again"),
            ChatWord::MayNot => Said::of("you are not on the list of those who may"),
            ChatWord::UnknownButton => Said::of("no such button"),
            ChatWord::Unsaved => Said::of("the state could not be saved: a restart forgets this"),
            ChatWord::ScanIsOff => {
                Said::of("processes are not looked at (").name("WATCHDOG_PROC_ENABLED=false").text(")")
            }
            ChatWord::ScanFailed => Said::of("the scan failed; see the log"),
            ChatWord::LinesLeftOut(1) => Said::of("and 1 line more"),
            ChatWord::LinesLeftOut(lines) => Said::of(format!("and {lines} lines more")),
        }
    }

    fn button(&self, wish: Wish, id: CaseId) -> String {
        match wish {
            Wish::Acknowledge => format!("✅ ack {id}"),
            Wish::Mute => format!("🔇 mute {id} 1 h"),
        }
    }
}
