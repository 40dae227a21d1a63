//! Findings about jobs, leases and tasks, in Russian.

use super::super::in_headline;
use super::super::phrases::{Told, WorkFindings};
use super::super::said::Said;
use super::super::units;
use super::{Russian, core_name, date_time, duration, duration_of, effect, pids};
use crate::signals::{
    ActorWord, AgentHungFacts, AgentOverrunFacts, ApprovalFacts, HangCause, LeaseFacts, StageStuckFacts,
    StaleCause, WaitsForWord,
};

impl WorkFindings for Russian {
    fn agent_hung(&self, facts: &AgentHungFacts) -> Told {
        let who = who(&facts.work_item, &facts.stage, &facts.role);
        let mut details = vec![place(&facts.repo, facts.job_id, facts.run_id)];
        let what = match &facts.cause {
            HangCause::Silent { silent_ms, cpu_ms, window_ms } => {
                let (used, window) = (duration_of(*cpu_ms), duration(*window_ms));
                details.push(Said::of(format!(
                    "признак (простой): вывода нет, всё дерево заняло {used} CPU за {window}, меньше 1 % ядра"
                )));
                format!(": агент завис, молчит и простаивает {}", duration(*silent_ms))
            }
            HangCause::RunGone { gone_ms, grace_ms } => {
                details.push(
                    Said::of("признак (запуск): код выхода не записан за отсрочку ")
                        .name("reaper")
                        .text(format!(" в {}", duration(*grace_ms))),
                );
                format!(": запуск исчез {} назад, а задание не закрыто", duration(*gone_ms))
            }
        };
        details.extend(facts.families.iter().map(|(command, members)| {
            Said::of("внутри: ").code(in_headline(command)).text(format!(" (pid {})", pids(members)))
        }));
        Told {
            what: who.clone().text(what),
            subject: Said::of("зависание ").and(who),
            details,
            effect: effect("задача стоит, слот занят"),
        }
    }

    fn agent_overrun(&self, facts: &AgentOverrunFacts) -> Told {
        let who = who(&facts.work_item, &facts.stage, &facts.role);
        let (age, limit) = (duration(facts.age_ms), duration(facts.limit_ms));
        let share = share(facts.age_ms, facts.limit_ms);
        let wrote = facts.silent_ms.map_or_else(
            || "вывода ещё не было".to_owned(),
            |silent_ms| format!("последний вывод {} назад", duration(silent_ms)),
        );
        let mut details = vec![
            place(&facts.repo, facts.job_id, facts.run_id).text(format!(", попытка {}", facts.attempt)),
            Said::of(format!(
                "признак (возраст): {age} из {limit}{share}, порог {} %; {wrote}",
                facts.share_percent
            )),
        ];
        if let Some(microusd) = facts.cost_microusd {
            details.push(Said::of(format!("потрачено: {} $", cents(microusd))));
        }
        Told {
            what: who.clone().text(format!(" работает {age} (лимит {limit})")),
            subject: Said::of("долгая работа ").and(who),
            details,
            effect: effect("на лимите агент будет остановлен, и попытка пропадёт"),
        }
    }

    fn lease(&self, facts: &LeaseFacts) -> Told {
        let subject =
            Said::of("зависшая аренда ").name(&facts.work_item).text(" (").name(&facts.edge).text(")");
        let age = duration(facts.age_ms);
        let (why, evidence) = match facts.cause {
            StaleCause::EarlierBoot => (
                Said::of("выдана до перезапуска ").and(core_name()),
                Said::of("признак (владелец): это была прошлая жизнь ").and(core_name()),
            ),
            StaleCause::OwnerGone => (
                Said::of("владельца больше нет"),
                Said::of("признак (владелец): мёртв по словам ").and(core_name()),
            ),
            StaleCause::TooOld(limit_ms) => (
                Said::of(format!("ей {age}, лимит {}", duration(limit_ms))),
                Said::of("признак (возраст): больше всех тайм-аутов перехода"),
            ),
        };
        Told {
            what: subject.clone().text(": ").and(why),
            subject,
            details: vec![
                Said::of("где: репозиторий ")
                    .name(&facts.repo)
                    .text(", держит ")
                    .name(&facts.actor)
                    .text(format!(", токен {}", facts.fencing)),
                evidence.text(format!("; выдана {age} назад")),
            ],
            effect: effect("этот переход задачи закрыт для всех"),
        }
    }

    fn stage_stuck(&self, facts: &StageStuckFacts) -> Told {
        let (age, limit) = (duration(facts.age_ms), duration(facts.limit_ms));
        let next = match &facts.waits_for {
            Some(word) => actor(word),
            None => Said::of("не назван"),
        };
        let until = facts.until_ms.map_or_else(String::new, |until| format!(", до {}", date_time(until)));
        let mut details = vec![
            task(&facts.repo, &facts.title),
            Said::of(format!("признак (возраст): {age} на этой стадии, лимит {limit}")),
        ];
        if let Some(cause) = &facts.cause {
            details.push(core_name().text(" говорит: ").name(cause));
        }
        details.push(Said::of("следующий ход: ").and(next).text(until));
        Told {
            what: Said::default()
                .name(&facts.work_item)
                .text(" на стадии ")
                .name(&facts.stage)
                .text(format!(" уже {age} (лимит {limit})")),
            subject: Said::default()
                .name(&facts.work_item)
                .text(", застрявшая на стадии ")
                .name(&facts.stage),
            details,
            effect: effect("задача стоит, и никого об этом не спросили"),
        }
    }

    fn approval(&self, facts: &ApprovalFacts) -> Told {
        let waiting = duration(facts.waiting_ms);
        let person = match facts.person.is_empty() {
            true => Said::default(),
            false => Said::of(" (").name(&facts.person).text(")"),
        };
        let mut details = vec![
            task(&facts.repo, &facts.title).text(", стадия ").name(&facts.stage),
            Said::of(format!("признак (возраст): {waiting}, лимит {}", duration(facts.limit_ms))),
        ];
        if let Some(cause) = &facts.cause {
            details.push(core_name().text(" говорит: ").name(cause));
        }
        let item = Said::default().name(&facts.work_item);
        let (what, subject, follows) = match facts.blocked {
            true => (
                item.clone().text(format!(" заблокирована уже {waiting}")).and(person),
                Said::of("блокировка ").and(item),
                "задача стоит, пока её не починят",
            ),
            false => (
                item.clone().text(format!(" ждёт ответа уже {waiting}")).and(person),
                Said::of("ожидание ответа по ").and(item),
                "задача стоит, пока никто не ответил",
            ),
        };
        Told { what, subject, details, effect: effect(follows) }
    }
}

fn who(work_item: &str, stage: &str, role: &str) -> Said {
    Said::default().name(work_item).text(" (").name(stage).text(", ").name(role).text(")")
}

fn place(repo: &str, job_id: i64, run_id: i64) -> Said {
    Said::of("где: репозиторий ").name(repo).text(format!(", задание {job_id}, запуск {run_id}"))
}

fn task(repo: &str, title: &str) -> Said {
    Said::of("где: репозиторий ").name(repo).text(", «").name(title).text("»")
}

fn actor(word: &ActorWord) -> Said {
    let sort = match word.kind {
        WaitsForWord::Person => Said::of("человек"),
        WaitsForWord::Agent => Said::of("агент"),
        WaitsForWord::Ci => Said::default().name("CI"),
        WaitsForWord::Slot => Said::of("свободный слот"),
        WaitsForWord::Deploy => Said::of("выкатка"),
        WaitsForWord::Core => core_name(),
        WaitsForWord::Unknown => Said::of("кто-то, кого сторож не знает"),
    };
    if word.name.is_empty() { sort } else { sort.text(" (").name(&word.name).text(")") }
}

fn share(age_ms: i64, limit_ms: i64) -> String {
    let whole = |ms: i64| u64::try_from(ms).unwrap_or(0);
    units::percent(whole(age_ms), whole(limit_ms))
        .map_or_else(String::new, |percent| format!(" ({percent} %)"))
}

fn cents(microusd: i64) -> String {
    let cents = microusd.max(0) / 10_000;
    format!("{},{:02}", cents / 100, cents % 100)
}
