//! Reasons in Russian: what decided ownership, and what ended a condition.

use super::super::phrases::Proofs;
use super::super::said::Said;
use super::{Russian, bytes, core_name, count, duration, duration_of};
use crate::evidence::{Evidence, RunName};
use crate::observe::{Fault, Lineage, Reaper, Unclear};
use crate::signals::Ending;

impl Proofs for Russian {
    fn evidence(&self, evidence: &Evidence) -> Said {
        match evidence {
            Evidence::NoCookie => Said::of("метки запуска нет: ").and(core_name()).text(" его не запускал"),
            Evidence::CookieUnreadable => Said::of("метку запуска не удалось прочитать"),
            Evidence::CookieUnheard { cookie } => {
                Said::of(format!("метка запуска {cookie}, но ")).and(core_name()).text(" не отвечает")
            }
            Evidence::CookieUnasked { cookie } => {
                Said::of(format!("метка запуска {cookie}, но ")).and(core_name()).text(" не настроен")
            }
            Evidence::RunAlive { cookie, run } => name_of(run).text(format!(" ещё идёт (метка {cookie})")),
            Evidence::RunEnded { cookie, run, outcome } => match outcome {
                Some(outcome) => name_of(run).text(" завершён: ").name(outcome),
                None => name_of(run).text(" завершён"),
            }
            .text(format!(" (метка {cookie})")),
            Evidence::CookieMaybeCut { cookie, left_out } => {
                let left_out = usize::try_from(*left_out).unwrap_or(usize::MAX);
                Said::of(format!("метки запуска {cookie} нет в списке, но "))
                    .and(core_name())
                    .text(format!(" опустил в нём {}", count(left_out, ["запуск", "запуска", "запусков"])))
            }
            Evidence::CookieTooYoung { cookie } => {
                Said::of(format!("метки запуска {cookie} ещё нет в списке: процесс моложе документа "))
                    .and(core_name())
            }
            Evidence::SupervisorUnseen { cookie } => {
                Said::of(format!("метки запуска {cookie} нет в списке, а его супервизора не разглядеть"))
            }
            Evidence::SupervisorAlive { pid } => {
                Said::of(format!("супервизор {pid} жив, значит, и запуск идёт"))
            }
            Evidence::CookieExpired { cookie } => Said::of(format!(
                "метка {cookie}: за последний час такого запуска не было, и супервизора нет в живых"
            )),
            Evidence::CookieUnsupervised { cookie } => Said::of(format!("метка {cookie} не от этого "))
                .and(core_name())
                .text(", и супервизора нет в живых"),
            Evidence::CookieOfAnother { cookie } => {
                Said::of(format!("метка {cookie} не от этого ")).and(core_name())
            }
            Evidence::Structure(lineage) => structure(lineage),
            Evidence::MayBeTheCores => core_name().text(" не отвечает, а процесс может быть его"),
            Evidence::LinkedToCore => Said::of("процесс был связан с ").and(core_name()),
            Evidence::NeverLinked => Said::of("процесс никогда не был связан с ").and(core_name()),
            Evidence::CoreUnheard { age_s } => core_name().text(format!(" не слышно {}", seconds(*age_s))),
            Evidence::EndedByLastWord { age_s } => {
                core_name().text(format!(" не слышно {}, но запуск был завершён уже тогда", seconds(*age_s)))
            }
            Evidence::Words(words) => Said::default().name(words.to_string()),
        }
    }

    fn ending(&self, ending: &Ending) -> Said {
        match ending {
            Ending::LastProcessEnded => Said::of("последний процесс завершился"),
            Ending::OwnedAndYoung => Said::of("есть владелец, и возраст в пределах лимита"),
            Ending::HostRestarted => Said::of("хост перезагрузился"),
            Ending::JobMoves => Said::of("задание снова движется"),
            Ending::JobEnded => Said::of("задание больше не выполняется"),
            Ending::RunSettles => Said::of("запуск завершился, итог записывается"),
            Ending::WithinShare => Said::of("запущено заново, или лимит подняли"),
            Ending::LeaseReleased => Said::of("аренда освобождена"),
            Ending::LeaseOwned => Said::of("у аренды есть живой владелец"),
            Ending::TaskSettled => Said::of("задача завершена или отменена"),
            Ending::TaskFinished => Said::of("задача завершена"),
            Ending::WithinStageLimit { stage } => Said::of("теперь в пределах лимита стадии ").name(stage),
            Ending::WaitsForPerson => Said::of("теперь ждёт человека"),
            Ending::PersonActed => Said::of("человека больше не ждёт"),
            Ending::AskedAgain => Said::of("ответ был, и спросили снова"),
            Ending::QueueEmpty => Said::of("готовых заданий в очереди нет"),
            Ending::SlotsTaken => Said::of("свободных слотов нет"),
            Ending::JobsStart => Said::of("задания снова запускаются"),
            Ending::DiskHasRoom { percent } => {
                Said::of(format!("места и инодов свободно больше {percent} %"))
            }
            Ending::CoreOnTime => Said::of("документы и акторы вовремя, часы сходятся"),
            Ending::CpuRelieved { percent } => Said::of(format!("работа ждёт {percent} % времени")),
            Ending::ChannelTakes => Said::of("канал снова принимает"),
            Ending::CoreAnswers => core_name().text(" снова отвечает"),
            Ending::CoreStarts => core_name().text(" снова отвечает: запускается"),
            Ending::CoreOtherSchema => core_name().text(" снова отвечает, но документом другой версии схемы"),
            Ending::CoreUnreadable => core_name().text(" снова отвечает, но ответ непригоден"),
            Ending::HostHasRoom => Said::of("хосту снова хватает ресурсов"),
            Ending::ChannelUnconfigured => Said::of("канал больше не настроен"),
            Ending::CanLook => Said::of("снова видно"),
            Ending::StateSaved => Said::of("оно снова сохраняется"),
            Ending::SwitchedOff => Said::of("сигнал выключен в настройках"),
            Ending::Words(words) => Said::default().name(words.to_string()),
        }
    }

    fn fault(&self, fault: &Fault) -> Said {
        let with_cause = |said: &str, cause: &Option<String>| match cause {
            Some(cause) => Said::of(format!("{said}: ")).name(cause),
            None => Said::of(said),
        };
        match fault {
            Fault::Late { waited_ms } => Said::of(format!("нет ответа за {}", duration_of(*waited_ms))),
            Fault::Connect { cause } => with_cause("нет соединения", cause),
            Fault::BrokeOff { cause } => with_cause("ответ оборвался", cause),
            Fault::TooLarge { limit_bytes } => Said::of(format!("документ больше {}", bytes(*limit_bytes))),
            Fault::Answers(status) => Said::of(format!("код {status}")),
            Fault::AnswersInstead(status) => Said::of(format!("код {status} вместо документа")),
            Fault::TokenRefused(status) => Said::of(format!("токен чтения не принят ({status})")),
            Fault::NoDocument => Said::of("это не документ наблюдения"),
            Fault::BreaksContract { error } => Said::of("документ нарушает контракт: ").name(error),
            Fault::Words(words) => Said::default().name(words),
        }
    }
}

fn seconds(seconds: i64) -> String {
    duration(seconds.saturating_mul(1_000))
}

fn name_of(run: &RunName) -> Said {
    let said = Said::of(format!("запуск {}", run.run_id));
    match &run.work_item {
        Some(item) => said.text(" задачи ").name(item),
        None => said,
    }
}

fn structure(lineage: &Lineage) -> Said {
    match lineage {
        Lineage::Main => Said::of("главный процесс своего контейнера или сервиса"),
        Lineage::Reparented { reaper, leader_alive, .. } => {
            let leader = if *leader_alive { "жив" } else { "умер" };
            Said::of("кто его запустил, умер; родитель теперь ")
                .and(adopter(reaper))
                .text(format!("; лидер сессии и группы {leader}"))
        }
        Lineage::ExecRoot { parent_pid: 0 } => {
            Said::default().name("exec").text(", владелец неизвестен: родитель отсюда не виден")
        }
        Lineage::ExecRoot { parent_pid } => Said::default()
            .name("exec")
            .text(format!(" в контейнер из процесса {parent_pid}, владелец неизвестен")),
        Lineage::Child { parent_pid, root_name } => {
            Said::of(format!("потомок живого процесса {parent_pid}, выше — ")).name(root_name)
        }
        Lineage::Unknown(unclear) => Said::of("место в дереве процессов неясно: ").text(match unclear {
            Unclear::Process(pid) => format!("процесс {pid} не читается"),
            Unclear::Status(pid) => format!("статус процесса {pid} не читается"),
            Unclear::Parent(pid) => format!("родитель {pid} не читается"),
            Unclear::ParentStatus(pid) => format!("статус родителя {pid} не читается"),
            Unclear::Ancestors(depth) => format!("предков больше {depth}"),
        }),
    }
}

/// In the nominative, after "the parent is".
fn adopter(reaper: &Reaper) -> Said {
    let known = |said: Said, name: &str, pid: i32| said.name(name).text(format!(" ({pid})"));
    match reaper {
        Reaper::HostInit => Said::default().name("init").text(" хоста"),
        Reaper::NamespaceInit { name, pid } => {
            known(Said::default().name("init").text(" его пространства pid, "), name, *pid)
        }
        Reaper::OuterInit { name, pid } => {
            known(Said::default().name("init").text(" внешнего пространства pid, "), name, *pid)
        }
        Reaper::Adopter { name, pid } => known(Said::default(), name, *pid).text(" из другой сессии"),
        Reaper::Heir { name, pid, before } => {
            known(Said::default(), name, *pid).text(format!(", раньше родителем был {before}"))
        }
        Reaper::UserManager { pid } => Said::of(format!("менеджер сервисов пользователя ({pid})")),
        Reaper::Known { name, pid } => known(Said::default(), name, *pid),
        Reaper::Core => core_name().text(", который его не регистрировал"),
        Reaper::Supervisor => Said::of("супервизор ").and(core_name()).text(", который его не регистрировал"),
        Reaper::Through { reaper, name, pid } => known(adopter(reaper).text(", через "), name, *pid),
    }
}
