//! A look at the host, in Russian, for chats.

use super::super::phrases::{Proofs as _, Scans};
use super::super::said::Said;
use super::super::units::CpuUse;
use super::{Russian, bytes, core_name, cores, count, duration};
use crate::signals::OwnershipWord;
use crate::survey::{Headline, SurveyedFamily, Unheard, ViewLimit};

impl Scans for Russian {
    fn headline(&self, headline: Headline) -> Said {
        Said::of(match headline {
            Headline::OwnersUnknown { unjudged, matched } => {
                format!("не понять, чьи процессы: владелец неизвестен у {unjudged} из {matched} найденных")
            }
            Headline::Hidden => {
                "посмотреть не удалось: хост может держать то, чего отсюда не видно".to_owned()
            }
            Headline::OwnNamespace { matched } => {
                format!("хост не виден; в этом пространстве pid найдено {matched}, и ничто его не блокирует")
            }
            Headline::NoneMatched => "тесты сейчас не идут".to_owned(),
            Headline::AllFine { matched } => {
                format!("хост ничто не держит; найдено: {matched}, всё в порядке")
            }
            Headline::Found { found, matched } => format!("требуют внимания: {found} из {matched} найденных"),
        })
    }

    fn readable(&self, readable: u64, listed: u64) -> Said {
        Said::of(format!(" (прочитано процессов: {readable} из {listed})"))
    }

    fn limit(&self, limit: &ViewLimit) -> Said {
        let said = Said::of("обзор неполный: ");
        match limit {
            ViewLimit::HiddenByMount { option } => {
                said.text("чужие процессы скрыты параметром монтирования ").name(option)
            }
            ViewLimit::FirstHidden => said.text("процесса 1 нет в списке, значит, чужие процессы скрыты"),
            ViewLimit::Unreadable { readable, listed } => {
                said.text(format!("читаются процессы: {readable} из {listed}"))
            }
            ViewLimit::OwnNamespace => {
                said.text("видно только своё пространство pid; чтобы видеть хост, нужно ").name("pid: host")
            }
        }
    }

    fn unheard(&self, unheard: &Unheard) -> Said {
        let said = core_name().text(" не слышно: ");
        let said = match unheard {
            Unheard::Starting => said.text("запускается"),
            Unheard::OtherSchema(found) => said.text(format!("у его документа версия схемы {found}")),
            Unheard::Fault(fault) => said.and(self.fault(fault)),
        };
        said.text("; владельцы неизвестны")
    }

    fn could_not_look(&self, why: &str) -> Said {
        Said::of("посмотреть не удалось: ").name(why)
    }

    fn family(&self, seen: &SurveyedFamily) -> Said {
        let family = &seen.family;
        let cpu = match CpuUse::of(family.cpu_share) {
            CpuUse::Spinning(share) | CpuUse::Working(share) => cores(share),
            CpuUse::Idle => "простаивает".to_owned(),
            CpuUse::Unknown => "CPU не измерен".to_owned(),
        };
        let owner = match seen.ownership {
            OwnershipWord::Orphan => Said::of("сирота"),
            OwnershipWord::Foreign => Said::of("сирота, не от ").and(core_name()),
            OwnershipWord::OwnerUnknown => Said::of("владелец неизвестен"),
            OwnershipWord::Owned => Said::of("есть владелец"),
        };
        owner.text(" · ").code(&family.command).text(format!(
            " · {}, {cpu}, {}, {}",
            duration(family.awake_age_ms),
            bytes(family.rss_bytes),
            count(family.members.len(), ["процесс", "процесса", "процессов"])
        ))
    }

    fn more_members(&self, left_out: usize) -> Said {
        Said::of(format!("и ещё {}", count(left_out, ["процесс", "процесса", "процессов"])))
    }

    fn root_ended(&self, pid: i32) -> Said {
        Said::of(format!("корень {pid} завершился, это его остатки"))
    }

    fn container(&self, name: &str) -> Said {
        Said::of("где: ").name(name)
    }

    fn rule(&self, rule: Said) -> Said {
        Said::of("признак: ").and(rule)
    }

    fn stop(&self, command: &str) -> Said {
        Said::of("остановить: ").code(command)
    }
}
