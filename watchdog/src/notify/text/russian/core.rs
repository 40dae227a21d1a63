//! Findings about the core, in Russian.

use super::super::phrases::{CoreFindings, Proofs as _, Told};
use super::super::said::Said;
use super::super::units;
use super::{Russian, bytes, core_name, count, date_time, duration, effect};
use crate::signals::{
    CoreDegradedFacts, CoreDownFacts, DegradedCause, DiskFacts, DiskShortage, QueueStalledFacts,
};

impl CoreFindings for Russian {
    fn core_down(&self, facts: &CoreDownFacts) -> Told {
        let polls = match facts.polls {
            0 | 1 => "опрос не прошёл".to_owned(),
            polls => format!("{} подряд не прошли", count(polls as usize, ["опрос", "опроса", "опросов"])),
        };
        let heard = facts.last_heard_ms.map_or_else(|| "ещё не было".to_owned(), date_time);
        let mut details = vec![Said::of(format!("признак: {polls}; последний ответ: {heard}"))];
        if !facts.work_items.is_empty() {
            details.push(Said::of("тогда шли задания: ").names(facts.work_items.iter().map(String::as_str)));
        }
        let (claim, follows) = match facts.reason.is_of_an_answer() {
            false => (
                core_name().text(" не отвечает: "),
                "задачи не движутся; о заданиях и арендах нельзя судить, пока нет ответа",
            ),
            true => (
                Said::of("ответ ").and(core_name()).text(" непригоден: "),
                "задачи могут двигаться; о них, заданиях и арендах нельзя судить, пока ответ непригоден",
            ),
        };
        Told {
            what: claim.and(self.fault(&facts.reason)),
            subject: Said::of("недоступность ").and(core_name()),
            details,
            effect: effect(follows),
        }
    }

    fn core_degraded(&self, facts: &CoreDegradedFacts) -> Told {
        let mut what = core_name().text(" отвечает, но ");
        let mut details = Vec::new();
        let mut effects: Vec<&str> = Vec::new();
        for (index, cause) in facts.causes.iter().enumerate() {
            let (claim, limit, follows) = degraded(cause);
            what = if index == 0 { what } else { what.text("; ") }.and(claim.clone());
            details.push(Said::of("признак: ").and(claim).text(format!(" ({limit})")));
            if !effects.contains(&follows) {
                effects.push(follows);
            }
        }
        let subject = Said::of("неполадки ").and(core_name());
        Told { what, subject, details, effect: effect(&effects.join("; ")) }
    }

    fn queue_stalled(&self, facts: &QueueStalledFacts) -> Told {
        let ready = count(facts.runnable as usize, ["задание", "задания", "заданий"]);
        Told {
            what: Said::of("очередь стоит: ").name(&facts.work_item).text(format!(
                " ждёт {}, а слоты есть (свободно {} из {})",
                duration(facts.waiting_ms),
                facts.slots_free,
                facts.slots_max
            )),
            subject: Said::of("простой очереди"),
            details: vec![
                Said::of("где: репозиторий ")
                    .name(&facts.repo)
                    .text(format!(", задание {} (", facts.job_id))
                    .name(&facts.stage)
                    .text(", ")
                    .name(&facts.role)
                    .text(")"),
                Said::of(format!(
                    "признак: могли бы идти {ready}, лимит ожидания {}",
                    duration(facts.limit_ms)
                )),
                core_name().text(" говорит: ").name(&facts.reason),
            ],
            effect: effect("место есть, но новые агенты не запускаются"),
        }
    }

    fn disk(&self, facts: &DiskFacts) -> Told {
        let room = format!("{} из {}", bytes(facts.free_bytes), bytes(facts.total_bytes));
        let whole = |number| units::grouped(number, '\u{a0}');
        let inodes = format!("{} из {} инодов", whole(facts.free_inodes), whole(facts.total_inodes));
        let share = |free, total| {
            units::percent(free, total).map_or_else(String::new, |percent| format!(" ({percent} %)"))
        };
        let room_share = share(facts.free_bytes, facts.total_bytes);
        let inode_share = share(facts.free_inodes, facts.total_inodes);
        let short = match facts.short_of {
            DiskShortage::Bytes => format!("{room}{room_share}"),
            DiskShortage::Inodes => format!("{inodes}{inode_share}"),
            DiskShortage::Both => format!("{room}{room_share}, {inodes}{inode_share}"),
        };
        Told {
            what: Said::of("у ").and(core_name()).text(format!(" кончается место: свободно {short}")),
            subject: Said::of("нехватка места у ").and(core_name()),
            details: vec![
                Said::of("где: каталог данных ").and(core_name()).text(" на ").name(&facts.core_host),
                Said::of(format!("признак: свободно {room}, {inodes}; лимит {} %", facts.limit_percent)),
            ],
            effect: effect("когда место кончится, ничего не записать и ни одна задача не сдвинется"),
        }
    }
}

/// The claim, its measure, and what follows from it.
fn degraded(cause: &DegradedCause) -> (Said, String, &'static str) {
    let limit = |ms: i64| format!("лимит {}", duration(ms));
    match cause {
        DegradedCause::StaleDocument { age_ms, limit_ms } => (
            Said::of(format!("его документ не меняется {}", duration(*age_ms))),
            limit(*limit_ms),
            "сведения о работе устарели",
        ),
        DegradedCause::LateActor { name, period_ms, late_ms, limit_ms, passed } => {
            let late = duration(*late_ms);
            let claim = match passed {
                true => format!(" не отрабатывал {late}"),
                false => format!(" за {late} не отработал ни разу"),
            };
            let measure = format!("период {}, {}", duration(*period_ms), limit(*limit_ms));
            (Said::of("его ").name(name).text(claim), measure, "его часть работы не делается")
        }
        DegradedCause::OtherSchema { found, known } => (
            Said::of(format!("у его документа версия схемы {found}")),
            format!("сторож знает {known}"),
            "о заданиях, задачах и арендах нет ни тревог, ни отбоев",
        ),
        DegradedCause::ClockSkew { ahead_ms, limit_ms } => {
            let direction = if *ahead_ms < 0 { "отстают" } else { "спешат" };
            let skew = duration(ahead_ms.saturating_abs());
            (
                Said::of(format!("его часы {direction} на {skew}")),
                limit(*limit_ms),
                "времена в их сообщениях расходятся",
            )
        }
    }
}
