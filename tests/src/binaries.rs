//! Finding the built programs beside the running one.
//!
//! Cargo gives an integration test the path of its own package's binaries only, so the others are
//! looked for where the build puts them, and their absence names the command that builds them.

use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;

/// Folder of this build's programs (`target/debug`, `target/release`).
///
/// # Errors
/// When this program's own place cannot be told.
pub fn profile_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let folder = own.parent().context("this program is in no folder")?;
    let folder =
        if folder.ends_with("deps") { folder.parent().context("deps is in no folder")? } else { folder };
    Ok(folder.to_path_buf())
}

/// Path of a built program.
///
/// # Errors
/// When it is not there: names the command that builds it.
pub fn built(name: &str) -> Result<PathBuf> {
    let path = profile_folder()?.join(name);
    if !path.is_file() {
        let release =
            if path.components().any(|part| part.as_os_str() == "release") { " --release" } else { "" };
        bail!(
            "{} is missing: build it with `cargo build{release} -p orch-core -p orch-watchdog -p orch-tests`",
            path.display()
        );
    }
    Ok(path)
}
