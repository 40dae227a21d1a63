//! Programs of others that tests need.
//!
//! `.ci/run` installs them, so a missing one is a failure that names its cure, never a skip.

use crate::process::{self, Said};
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use std::time::Duration;

/// Longest time for one call of a checker, in seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program and the Debian package that brings it.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Name, as typed.
    pub program: &'static str,
    /// Package.
    pub package: &'static str,
}

/// Checks metrics and rules.
pub const PROMTOOL: Tool = Tool { program: "promtool", package: "prometheus" };
/// Scrapes and evaluates.
pub const PROMETHEUS: Tool = Tool { program: "prometheus", package: "prometheus" };
/// Takes alerts.
pub const ALERTMANAGER: Tool =
    Tool { program: "prometheus-alertmanager", package: "prometheus-alertmanager" };
/// Checks the settings of an Alertmanager.
pub const AMTOOL: Tool = Tool { program: "amtool", package: "prometheus-alertmanager" };

/// Makes certificates.
pub const OPENSSL: Tool = Tool { program: "openssl", package: "openssl" };

impl Tool {
    /// Where it is.
    ///
    /// # Errors
    /// When it is missing: with the command that installs it.
    pub fn find(self) -> Result<PathBuf> {
        let Self { program, package } = self;
        process::on_path(program).with_context(|| format!("{program} is missing: apt-get install {package}"))
    }

    /// Run it to its end.
    ///
    /// # Errors
    /// When it is missing or does not end.
    pub fn run(self, arguments: &[&str]) -> Result<Said> {
        process::run(process::bare_program(self.find()?).args(arguments), PATIENCE)
    }
}

/// What `promtool check metrics` makes of an exposition.
///
/// # Errors
/// When promtool is missing, or the text cannot be handed to it.
pub fn check_metrics(exposition: &str) -> Result<Said> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), exposition)?;
    let mut command = process::bare_program("sh");
    command.args(["-c", "exec \"$0\" check metrics < \"$1\""]).arg(PROMTOOL.find()?).arg(file.path());
    process::run(&mut command, PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_by_another_name_is_refused_and_a_proper_one_is_not() {
        let page = |name: &str| format!("# HELP {name} Things.\n# TYPE {name} counter\n{name} 1\n");
        assert!(check_metrics(&page("things_total")).unwrap().status.success());
        let refused = check_metrics(&page("things")).unwrap();
        assert!(!refused.status.success() && refused.all().contains("_total"), "{}", refused.all());
    }

    #[test]
    fn a_missing_tool_is_named_with_its_cure() {
        let none = Tool { program: "no-such-program-anywhere", package: "its-package" };
        let told = none.find().unwrap_err().to_string();
        assert_eq!(told, "no-such-program-anywhere is missing: apt-get install its-package");
        assert!(Tool { program: "sh", package: "dash" }.find().unwrap().is_absolute());
    }
}
