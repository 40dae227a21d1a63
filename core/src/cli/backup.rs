//! `backup` and `restore`: the database by itself, without asking a core.

use std::{io::Write, path::Path};

use orch_settings::Strings;

use super::Failure;
use crate::{
    chain::chain,
    config::CoreConfig,
    serve,
    store::{self, BackupError},
};

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        Self::Refused(chain(&error))
    }
}

fn settings(strings: &Strings, base: &Path) -> Result<CoreConfig, Failure> {
    let loaded = CoreConfig::load(strings, base).map_err(|problems| Failure::Usage(problems.to_string()))?;
    Ok(loaded.value)
}

pub(super) fn backup(
    file: &Path,
    strings: &Strings,
    base: &Path,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let config = settings(strings, base)?;
    let target = base.join(file);
    let copied = store::backup(&config.db_path, &target)?;
    writeln!(out, "{} holds {} tasks, each explained by its history", target.display(), copied.tasks)?;
    Ok(())
}

pub(super) fn restore(
    file: &Path,
    strings: &Strings,
    base: &Path,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let config = settings(strings, base)?;
    let identity = serve::own_identity().map_err(|error| Failure::Refused(chain(&error)))?;
    let (copied, kept) = store::restore(&config.db_path, &base.join(file), &identity, "this one (restore)")?;
    writeln!(
        out,
        "{} holds {} tasks, each explained by its history",
        config.db_path.display(),
        copied.tasks
    )?;
    if let Some(kept) = kept {
        writeln!(out, "what was there before is kept as {}", kept.display())?;
    }
    Ok(())
}
