//! Answers to commands, in Russian. Commands and ids are typed as they are, so they stay as they are.

use super::super::answers::ChatWord;
use super::super::phrases::Answers;
use super::super::said::Said;
use super::{Russian, core_name, count, date_time, duration};
use orch_settings::decimal::DecimalError;

use crate::cases::{CaseId, Suppression};
use crate::commands::{
    About, CaseLine, DurationFault, Ended, Malformed, MissingWord, MuteLine, Refusal, USAGE,
};
use crate::notify::buttons::Wish;
use crate::signals::{CollectorName, Entity, Severity, SignalKind};

impl Answers for Russian {
    fn about(&self, about: &About) -> Said {
        match about {
            About::Signal(signal) => Said::default().name(signal.name()),
            About::Case { signal: None, entity: of, .. } => entity(of),
            About::Case { id, signal: Some(signal), entity: of } => {
                let named = id.map_or_else(Said::default, |id| case(id).text(" "));
                named.text("(").name(signal.name()).text(", ").and(entity(of)).text(")")
            }
        }
    }

    fn muted(&self, what: &About, until_ms: i64, silenced: usize) -> Said {
        Said::of(format!("молчу до {} или до отбоя: ", date_time(until_ms)))
            .and(self.about(what))
            .text(format!("; сейчас заглушено: {silenced}"))
    }

    fn ended(&self) -> &'static str {
        "снято: "
    }

    fn ended_one(&self, ended: &Ended) -> Said {
        match ended {
            Ended::Mute(what) => self.about(what),
            Ended::Acknowledgement(what) => Said::of("отметка «вижу»: ").and(self.about(what)),
        }
    }

    fn acknowledged(&self) -> &'static str {
        "принято, молчу до отбоя или ухудшения: "
    }

    fn refused(&self, refusal: &Refusal) -> Said {
        match refusal {
            Refusal::UnknownId(id) => {
                Said::of("нет случая ").and(case(*id)).text(": не было или забыт; см. ").name("status")
            }
            Refusal::OtherSignal { id, is, said } => case(*id)
                .text(" — это ")
                .name(is.name())
                .text(", а не ")
                .name(said.name())
                .text("; ничего не изменено"),
            Refusal::Over(id) => case(*id).text(" уже не горит, глушить нечего"),
            Refusal::AlreadyAcknowledged { id, by, at_ms } => {
                case(*id).text(" уже принял ").name(by).text(format!(", {}", date_time(*at_ms)))
            }
            Refusal::NotMuted => Said::of("это не заглушено"),
        }
    }

    fn malformed(&self, malformed: &Malformed) -> Said {
        match malformed {
            Malformed::Verb(word) => Said::of("нет команды «").name(word).text("»; есть: ").name(USAGE),
            Malformed::Missing(what) => Said::of(match what {
                MissingWord::MuteTarget => "не сказано, что заглушить: ",
                MissingWord::Duration => "не сказано, надолго ли: ",
                MissingWord::UnmuteTarget => "не сказано, что снова включить: ",
                MissingWord::AckTarget => "не сказано, какой случай принят: ",
            })
            .name(USAGE),
            Malformed::Surplus(word) => Said::of("лишнее слово «").name(word).text("»: ").name(USAGE),
            Malformed::Signal { word, nearest } => {
                let said = Said::of("нет сигнала «").name(word).text("»");
                match nearest {
                    Some(nearest) => said.text(" (может быть, ").name(nearest).text("?)"),
                    None => said,
                }
                .text("; есть: ")
                .names(SignalKind::ALL.map(SignalKind::name))
            }
            Malformed::Id(word) => Said::of("«")
                .name(word)
                .text("» — не номер случая: они вида ")
                .name("c17")
                .text(", см. ")
                .name("status"),
            Malformed::Duration { word, why } => {
                let said = Said::of("«").name(word).text("» не годится как длительность: ");
                match why {
                    DurationFault::Unit => said.text("нужна единица, одна из ").name("s, m, h, d"),
                    DurationFault::Number(DecimalError::NotDecimal) => {
                        said.text("это не число вроде ").name("30").text(" или ").name("0.5")
                    }
                    DurationFault::Number(DecimalError::TooLong) => said.text("слишком много цифр"),
                    DurationFault::Number(DecimalError::TooFine) => {
                        said.text("мельче миллисекунды не бывает")
                    }
                    DurationFault::TooShort => said.text("самая короткая — ").name("1m"),
                    DurationFault::TooLong => said
                        .text("самая длинная — ")
                        .name("30d")
                        .text("; насовсем сигнал выключает настройка"),
                }
                .text("; пишите, например, ")
                .name("30m, 1.5h, 2d")
            }
        }
    }

    fn case_line(&self, line: &CaseLine, title: Said) -> Said {
        let finding = &line.finding;
        let id = line.id.map_or_else(|| Said::of("-"), case);
        let said = id
            .text(format!("  {}  ", severity(finding.severity)))
            .name(finding.signal.name())
            .text("  ")
            .and(entity(&finding.entity))
            .text("  ")
            .and(title)
            .text(format!("  с {}", date_time(line.since_ms)));
        match (line.suppression, &line.acknowledged_by) {
            (None, _) => said,
            (Some(Suppression::Muted), None) => said.text(" [заглушено]"),
            (Some(Suppression::Muted), Some(by)) => said.text(" [заглушено; принял ").name(by).text("]"),
            (Some(Suppression::Acknowledged), Some(by)) => said.text(" [принял ").name(by).text("]"),
            (Some(Suppression::Acknowledged), None) => said.text(" [принято]"),
        }
    }

    fn nothing_fires(&self) -> &'static str {
        "ничего не горит"
    }

    fn mute_line(&self, mute: &MuteLine) -> Said {
        Said::of(format!("молчу до {}: ", date_time(mute.until_ms)))
            .and(self.about(&mute.what))
            .text(", так велел ")
            .name(&mute.by)
    }

    fn chat(&self, word: ChatWord) -> Said {
        match word {
            ChatWord::Usage => Said::of("команды: ").name(USAGE).name(" · scan"),
            ChatWord::TooLate(age_ms) => {
                Said::of(format!("не сделано: команда шла {}; повторите, если ещё нужно", duration(age_ms)))
            }
            ChatWord::PressAgain => Said::of("не сделано: неизвестно, когда нажали; нажмите ещё раз"),
            ChatWord::MayNot => Said::of("вас нет в списке тех, кому можно"),
            ChatWord::UnknownButton => Said::of("нет такой кнопки"),
            ChatWord::Unsaved => Said::of("состояние не сохранилось: после перезапуска это забудется"),
            ChatWord::ScanIsOff => {
                Said::of("процессы не просматриваются (").name("WATCHDOG_PROC_ENABLED=false").text(")")
            }
            ChatWord::ScanFailed => Said::of("просмотр не удался, см. журнал"),
            ChatWord::LinesLeftOut(lines) => {
                Said::of(format!("и ещё {}", count(lines, ["строка", "строки", "строк"])))
            }
        }
    }

    fn button(&self, wish: Wish, id: CaseId) -> String {
        match wish {
            Wish::Acknowledge => format!("✅ вижу {id}"),
            Wish::Mute => format!("🔇 тихо {id} 1 ч"),
        }
    }
}

fn case(id: CaseId) -> Said {
    Said::default().name(id.to_string())
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "к сведению",
        Severity::Warning => "внимание",
        Severity::Critical => "критично",
    }
}

fn entity(entity: &Entity) -> Said {
    match entity {
        Entity::Family(key) => Said::of(format!("процесс {} с потомками", key.pid)),
        Entity::Job(job) => Said::of(format!("задание {job}")),
        Entity::WorkItem(key) => Said::of("аренда ").name(key),
        Entity::Task(key) => Said::of("задача ").name(key),
        Entity::Core => core_name(),
        Entity::Host => Said::of("хост"),
        Entity::Channel(channel) => Said::of("канал ").name(channel.name()),
        Entity::Collector(CollectorName::Proc) => Said::of("обзор процессов"),
        Entity::Collector(CollectorName::Core) => Said::of("ответы ").and(core_name()),
        Entity::Collector(CollectorName::Host) => Said::of("обзор хоста"),
        Entity::State => Said::of("своё состояние"),
    }
}
