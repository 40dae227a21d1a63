//! What the watchdog goes by when nothing is set.

use std::path::Path;

use orch_settings::Strings;
use orch_watchdog::config::WatchdogConfig;
use orch_watchdog::service;
use orch_watchdog::signals::Thresholds;

/// Thresholds of a watchdog without a single setting.
pub(crate) fn thresholds() -> Thresholds {
    let nothing = Strings::from_pairs::<String, String>([]);
    let loaded = WatchdogConfig::load(&nothing, Path::new("/"), "host").expect("defaults hold");
    service::thresholds(&loaded.value)
}
