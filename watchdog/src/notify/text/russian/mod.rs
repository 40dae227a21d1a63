//! Russian.
//!
//! Responsible for the frames around every finding and for measures in the Russian manner (plural
//! forms, decimal comma, day before month); findings stand in the files beside. Short and plain, as
//! people on call speak. Names of the programs, of stages and of roles stay as they are.

mod answers;
mod core;
mod host;
mod proofs;
mod scan;
mod work;

use super::phrases::{Frames, Language};
use super::said::Said;
use super::units::{self, Length, SizeUnit};

/// The language.
pub(super) struct Russian;

/// How the core is called: its Russian name would mean a processor's core as well.
const CORE: &str = "orch-core";

impl Language for Russian {}

impl Frames for Russian {
    fn still(&self) -> &'static str {
        "всё ещё: "
    }

    fn worse(&self) -> &'static str {
        "стало хуже: "
    }

    fn changed(&self) -> &'static str {
        "новая причина: "
    }

    fn flapping(&self) -> &'static str {
        "то есть, то нет: "
    }

    fn reminder(&self, count: u32) -> String {
        format!("напоминание {count}")
    }

    fn changes(&self, changes: usize) -> String {
        format!("{} за час; молчу, пока не успокоится", count(changes, ["смена", "смены", "смен"]))
    }

    fn over_after(&self, lasted_ms: i64) -> String {
        format!("отбой, длилось {}: ", duration(lasted_ms))
    }

    fn was_on(&self, from_ms: i64, until_ms: i64) -> String {
        let same_day = units::stamp(from_ms, "%F") == units::stamp(until_ms, "%F");
        let told = |ms| if same_day { clock(ms) } else { date_time(ms) };
        let lasted = duration(until_ms.saturating_sub(from_ms));
        format!("было с {} до {} ({lasted}) и прошло: ", told(from_ms), told(until_ms))
    }

    fn because(&self) -> &'static str {
        " — "
    }

    fn since(&self, since_ms: i64, for_ms: i64) -> String {
        match for_ms {
            ..1_000 => format!("с {}", date_time(since_ms)),
            _ => format!("с {}, уже {}", date_time(since_ms), duration(for_ms)),
        }
    }

    fn runbook(&self) -> &'static str {
        "что делать: "
    }

    fn more(&self, left_out: usize) -> String {
        format!("и ещё {}", count(left_out, ["событие", "события", "событий"]))
    }

    fn more_follow(&self, left_out: usize) -> String {
        format!("{}, в следующем сообщении", self.more(left_out))
    }

    fn test_alert(&self, host: &str, at_ms: i64) -> Said {
        Said::of("проверка связи: ").name(host).text(format!(", {}", date_time(at_ms)))
    }
}

fn effect(text: &str) -> Said {
    Said::of(format!("последствия: {text}"))
}

fn core_name() -> Said {
    Said::default().name(CORE)
}

/// The form of a noun after a number: 1, 2 to 4, 5 and more; 11 to 14 are "many".
fn plural(number: usize, forms: [&'static str; 3]) -> &'static str {
    let [one, few, many] = forms;
    match (number % 100, number % 10) {
        (11..=14, _) => many,
        (_, 1) => one,
        (_, 2..=4) => few,
        (_, _) => many,
    }
}

fn count(number: usize, forms: [&'static str; 3]) -> String {
    format!("{number} {}", plural(number, forms))
}

fn days(days: i64) -> String {
    count(usize::try_from(days).unwrap_or(usize::MAX), ["день", "дня", "дней"])
}

fn duration(ms: i64) -> String {
    match units::length(ms) {
        Length::Seconds(seconds) => format!("{seconds} с"),
        Length::Minutes(minutes, 0) => format!("{minutes} мин"),
        Length::Minutes(minutes, seconds) => format!("{minutes} мин {seconds} с"),
        Length::Hours(hours, 0) => format!("{hours} ч"),
        Length::Hours(hours, minutes) => format!("{hours} ч {minutes} мин"),
        Length::Days(whole, 0) => days(whole),
        Length::Days(whole, hours) => format!("{} {hours} ч", days(whole)),
    }
}

fn duration_of(ms: u64) -> String {
    duration(i64::try_from(ms).unwrap_or(i64::MAX))
}

fn bytes(bytes: u64) -> String {
    let (number, unit) = units::size(bytes);
    let unit = match unit {
        SizeUnit::Kibi => "КиБ",
        SizeUnit::Mebi => "МиБ",
        SizeUnit::Gibi => "ГиБ",
        SizeUnit::Tebi => "ТиБ",
    };
    format!("{} {unit}", comma(&number))
}

/// A fraction of a core or several of them; "0,98 ядра" and "4,0 ядра" take the same form.
fn cores(share: f64) -> String {
    let number = if share < 1.005 { format!("{share:.2}") } else { format!("{share:.1}") };
    format!("{} ядра", comma(&number))
}

fn percent(share: f64) -> String {
    format!("{share:.0} %")
}

fn comma(number: &str) -> String {
    number.replace('.', ",")
}

fn date_time(ms: i64) -> String {
    units::stamp(ms, "%d.%m.%Y %H:%M:%S UTC").unwrap_or_else(|| format!("{ms} мс"))
}

fn clock(ms: i64) -> String {
    units::stamp(ms, "%H:%M UTC").unwrap_or_else(|| format!("{ms} мс"))
}

fn pids(pids: &[i32]) -> String {
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    pids.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_take_the_form_that_their_number_asks_for() {
        for (number, expected) in [
            (0, "0 процессов"),
            (1, "1 процесс"),
            (2, "2 процесса"),
            (4, "4 процесса"),
            (5, "5 процессов"),
            (11, "11 процессов"),
            (12, "12 процессов"),
            (14, "14 процессов"),
            (21, "21 процесс"),
            (22, "22 процесса"),
            (111, "111 процессов"),
            (1_001, "1001 процесс"),
        ] {
            assert_eq!(count(number, ["процесс", "процесса", "процессов"]), expected);
        }
    }

    #[test]
    fn measures_read_as_russian_does() {
        assert_eq!(duration(90_000), "1 мин 30 с");
        assert_eq!(duration(183_600_000), "2 дня 3 ч");
        assert_eq!(duration(86_400_000), "1 день");
        assert_eq!(bytes((1 << 30) + (1 << 29)), "1,5 ГиБ");
        assert_eq!((cores(0.98), cores(3.97)), ("0,98 ядра".to_owned(), "4,0 ядра".to_owned()));
        assert_eq!(date_time(1_700_000_000_000), "14.11.2023 22:13:20 UTC");
        assert_eq!(date_time(i64::MAX), "9223372036854775807 мс");
    }
}
