//! Findings about the host and about ourselves, in Russian.

use super::super::in_headline;
use super::super::phrases::{HostFindings, Proofs as _, Told, in_full};
use super::super::said::Said;
use super::super::units::CpuUse;
use super::{Russian, bytes, core_name, cores, count, duration, duration_of, effect, percent};
use crate::notify::delivery::{FailureReason, LastFailure};
use crate::signals::{
    ChannelFacts, CollectorFacts, CollectorName, CpuStarvedFacts, OwnershipWord, ProcessFacts, SignalKind,
    StateFacts,
};

const PROCESSES: [&str; 3] = ["процесс", "процесса", "процессов"];
const LIVE_PROCESSES: [&str; 3] = ["живой процесс", "живых процесса", "живых процессов"];

impl HostFindings for Russian {
    fn process(&self, signal: SignalKind, facts: &ProcessFacts) -> Told {
        let command = in_headline(&facts.command);
        let age = duration(facts.age_ms);
        let orphaned = signal == SignalKind::ProcOrphaned;
        let what = match orphaned {
            true => {
                let does = match CpuUse::of(facts.cpu_share) {
                    CpuUse::Spinning(share) => format!(" крутится: {}, живёт {age}", cores(share)),
                    CpuUse::Working(share) => format!(" занимает {}, живёт {age}", cores(share)),
                    CpuUse::Idle => format!(" простаивает, живёт {age}"),
                    CpuUse::Unknown => format!(" живёт {age}"),
                };
                Said::of("сирота ").code(&command).text(does)
            }
            false => {
                let claim = format!(" идёт {age} (лимит {})", duration(facts.age_limit_ms));
                let said = Said::default().code(&command).text(claim);
                match facts.ownership {
                    OwnershipWord::Owned => said,
                    OwnershipWord::Orphan => said.text(", сирота"),
                    OwnershipWord::OwnerUnknown => said.text(", владелец неизвестен"),
                    OwnershipWord::Foreign => said.text(", не от ").and(core_name()),
                }
            }
        };
        let mut details = vec![process_place(facts)];
        if command != facts.command {
            details.push(Said::of("команда: ").code(&facts.command));
        }
        if !orphaned {
            let limit = duration(facts.age_limit_ms);
            details.push(Said::of(format!("признак (возраст): {age}, лимит {limit}")));
        }
        details.push(Said::of(format!("признак (CPU): {}", cpu_words(facts))));
        let owner = |evidence| Said::of("признак (владелец): ").and(self.evidence(evidence));
        details.extend(facts.evidence.iter().map(owner));
        if !facts.matched_by.is_empty() {
            details.push(Said::of("подошло под: ").code(&facts.matched_by));
        }
        Told {
            what,
            subject: Said::of(if orphaned { "сирота " } else { "долгий " }).code(command),
            details,
            effect: effect(match facts.ownership {
                OwnershipWord::Orphan | OwnershipWord::Foreign => {
                    "результата никто не ждёт, а ресурсы он отнимает у проверок и повторных тестов"
                }
                OwnershipWord::Owned if facts.work_item.is_some() => "пока он не закончит, его задача стоит",
                OwnershipWord::Owned => {
                    "кто его запустил, на месте и, может быть, ждёт его; ресурсы он отнимает у проверок"
                }
                OwnershipWord::OwnerUnknown => {
                    "ждёт ли его кто-нибудь, неизвестно; посмотрите, прежде чем останавливать"
                }
            }),
        }
    }

    fn cpu_starved(&self, facts: &CpuStarvedFacts) -> Told {
        let limit = f64::from(facts.limit_percent);
        let mut details = vec![Said::of(format!(
            "признак (нагрузка): работа ждала {} за 10 с, {} за 60 с, {} за 5 мин; лимит — {} за 60 с",
            percent(facts.avg10_percent),
            percent(facts.avg60_percent),
            percent(facts.avg300_percent),
            percent(limit)
        ))];
        for family in &facts.families {
            let said = Said::of(format!("занимает {}: ", cores(family.cpu_share)))
                .code(&family.command)
                .text(format!(" (pid {}, {}", family.key.pid, count(family.members, PROCESSES)));
            let said = match &family.container {
                Some(container) => said.text(", ").name(container),
                None => said,
            };
            details.push(said.text(")"));
        }
        if let Some(memory) = facts.memory {
            let (free, all) = (bytes(memory.available_bytes), bytes(memory.total_bytes));
            details.push(Said::of(format!("память: доступно {free} из {all}")));
        }
        Told {
            what: Said::of(format!(
                "хосту не хватает CPU: работа ждёт {} времени (лимит {})",
                percent(facts.avg60_percent),
                percent(limit)
            )),
            subject: Said::of("нехватка CPU"),
            details,
            effect: effect("проверки и агенты тормозят, а их тайм-аут выглядит как сломанный код"),
        }
    }

    fn channel(&self, facts: &ChannelFacts) -> Told {
        let channel = facts.channel.name();
        let notices = count(facts.notices, ["сообщение", "сообщения", "сообщений"]);
        let mut details = vec![Said::of(format!(
            "признак: лимит {}; с запуска сторожа попыток — {}, неудачных — {}",
            duration(facts.limit_ms),
            facts.attempts,
            facts.failures
        ))];
        match (&facts.parked, &facts.last_failure) {
            (Some(parked), _) => {
                details.push(Said::of("само не пройдёт, нужно исправить: ").code(parked));
            }
            (None, Some(failure)) => details.push(last_failure(failure)),
            (None, None) => {}
        }
        Told {
            what: Said::default()
                .name(channel)
                .text(format!(" не принимает сообщения {}, в очереди {notices}", duration(facts.waiting_ms))),
            subject: Said::of("сбой доставки в ").name(channel),
            details,
            effect: effect("кто читает только этот канал, о хосте ничего не узнает"),
        }
    }

    fn collector(&self, facts: &CollectorFacts) -> Told {
        let (what, blind) = match facts.collector {
            CollectorName::Proc => (Said::of("не видно процессов"), "процессах"),
            CollectorName::Core => {
                (Said::of("не разобрать ответы ").and(core_name()), "заданиях, задачах и арендах")
            }
            CollectorName::Host => (Said::of("не видно нагрузки хоста"), "нехватке CPU"),
        };
        Told {
            what: what.clone().text(": ").and(self.fault(&facts.reason)),
            subject: what,
            details: vec![Said::of("причина: ").and(in_full(&facts.reason, self.fault(&facts.reason)))],
            effect: effect(&format!("до тех пор о {blind} нет ни тревог, ни отбоев")),
        }
    }

    fn state(&self, facts: &StateFacts) -> Told {
        Told {
            what: Said::of("состояние не сохраняется: ").code(&facts.why),
            subject: Said::of("состояние наблюдателя не сохранялось"),
            details: vec![
                Said::of("причина: ").code(&facts.why),
                Said::of(format!("признак: предел {}", duration(facts.limit_ms))),
            ],
            effect: effect(
                "наблюдение и тревоги идут из памяти; после перезапуска наблюдателя прежние тревоги могут повториться, а \
                 отбой тому, что кончится за это время, может не прийти",
            ),
        }
    }
}

fn last_failure(failure: &LastFailure) -> Said {
    let said = Said::of("последний сбой: ").text(match failure.reason {
        FailureReason::RateLimited => "слишком много сообщений",
        FailureReason::Server => "ошибка сервера",
        FailureReason::Network => "нет соединения или ответа",
        FailureReason::Refused => "отказ",
        FailureReason::Moved => "чат переехал",
        FailureReason::Answer => "непонятный ответ",
    });
    let said = match failure.wait_ms {
        Some(wait_ms) => said.text(format!(", просит подождать {}", duration(wait_ms))),
        None => said,
    };
    if failure.why.is_empty() { said } else { said.text(": ").code(&failure.why) }
}

fn process_place(facts: &ProcessFacts) -> Said {
    let said = Said::of("где: ");
    let said = match &facts.container {
        Some(container) => said.name(container),
        None => said.text("на хосте"),
    };
    let said = match &facts.work_item {
        Some(task) => said.text(", задача ").name(task),
        None => said,
    };
    let ended = if facts.root_alive { "" } else { " (завершён)" };
    let size = count(facts.members, LIVE_PROCESSES);
    said.text(format!("; корневой pid {}{ended}, {size}", facts.root_pid))
}

fn cpu_words(facts: &ProcessFacts) -> String {
    let now = match CpuUse::of(facts.cpu_share) {
        CpuUse::Spinning(share) => format!("крутится, сейчас {}; ", cores(share)),
        CpuUse::Working(share) => format!("сейчас {}; ", cores(share)),
        CpuUse::Idle => "сейчас простаивает; ".to_owned(),
        CpuUse::Unknown => String::new(),
    };
    format!("{now}всего {}, память {}", duration_of(facts.cpu_ms), bytes(facts.rss_bytes))
}
