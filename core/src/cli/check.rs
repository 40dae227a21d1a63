//! `check-config`: settings and projects, everything that is wrong at once, nothing started.

use std::{io::Write, path::Path};

use orch_settings::Strings;

use super::Failure;
use crate::{chain::chain, config::CoreConfig, projects::Projects};

pub(super) fn check(
    print_env: bool,
    strings: &Strings,
    base: &Path,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let loaded = CoreConfig::load(strings, base).map_err(|problems| Failure::Usage(problems.to_string()))?;
    if print_env {
        write!(out, "{}", loaded.print_env())?;
    }
    let config = &loaded.value;
    let projects = Projects::load(&config.projects_file).map_err(|error| Failure::Usage(chain(&error)))?;
    projects.check(config).map_err(|problems| Failure::Usage(problems.to_string()))?;
    if !print_env {
        let names: Vec<&str> = projects.iter().map(|project| project.name.as_str()).collect();
        writeln!(out, "settings and {} are sound: {}", config.projects_file.display(), names.join(", "))?;
    }
    Ok(())
}
