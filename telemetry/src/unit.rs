//! The unit of a metric, told by its name.
//!
//! By the customs of Prometheus the unit is a part of the name, in base units; the documents say it
//! in words, and a name whose ending says another unit than its value has is a mistake of the name.

/// Endings that say a unit, the more exact ones first.
const ENDINGS: [(&str, &str); 13] = [
    ("_timestamp_seconds", "Unix time, s"),
    ("_start_time_seconds", "Unix time, s"),
    ("_seconds", "s"),
    ("_bytes", "bytes"),
    ("_ratio", "ratio"),
    ("_usd", "US dollars"),
    ("_info", "always 1"),
    ("_up", "0 or 1"),
    ("_blind", "0 or 1"),
    ("_parked", "0 or 1"),
    ("_ready", "0 or 1"),
    ("_readable", "0 or 1"),
    ("_saved", "0 or 1"),
];

/// Unit of a metric as the documents name it; a name without one counts things.
#[must_use]
pub fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map_or("count", |(_, unit)| unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_unit() {
        for (name, expected) in [
            ("orch_core_start_timestamp_seconds", "Unix time, s"),
            ("process_start_time_seconds", "Unix time, s"),
            ("process_cpu_seconds_total", "s"),
            ("process_resident_memory_bytes", "bytes"),
            ("orch_watchdog_matched_cpu_ratio", "ratio"),
            ("orch_watchdog_build_info", "always 1"),
            ("orch_watchdog_core_up", "0 or 1"),
            ("orch_watchdog_alerts_total", "count"),
            ("process_open_fds", "count"),
        ] {
            assert_eq!(unit(name), expected, "{name}");
        }
    }
}
