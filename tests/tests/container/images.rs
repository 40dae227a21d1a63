//! The images: built by the shipped Dockerfiles through the shipped compose file.
//!
//! The bases that the Dockerfiles name are taken where they are there, and stood in for otherwise
//! (`tests/container/stand-ins`), for the time of a build: afterwards no image of this engine bears a
//! name that is not its own. What was built stays in the engine's cache for the next run. Two source
//! trees that are tested on one engine at a time share the bases and nothing else.

use super::engine;
use anyhow::{Context as _, Result};
use orch_tests::{process, sample};
use std::fs;
use std::path::Path;

/// Lock of the bases: one for all source trees of a user.
const LOCK: &str = "orch-container-bases.lock";

/// Tag of the images of these tests: the same for each run of one source tree, another for another tree.
#[must_use]
pub(crate) fn tag() -> String {
    let tree = sample::source_tree();
    // FNV-1a: any hash that stays the same from one toolchain to the next
    let mixed = tree.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |mixed, byte| {
        (mixed ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("container-test-{mixed:016x}")
}

/// The watchdog's image.
#[must_use]
pub(crate) fn watchdog() -> String {
    format!("orch/watchdog:{}", tag())
}

/// The core's image.
#[must_use]
pub(crate) fn core() -> String {
    format!("orch/core:{}", tag())
}

/// The core's image with the sample on top, as a project builds its own on it.
#[must_use]
pub(crate) fn with_sample() -> String {
    format!("orch/core-with-sample:{}", tag())
}

/// Label of a stand-in.
const STAND_IN: &str = "{{ index .Config.Labels \"orch.stand-in\" }}";

/// The bases of our Dockerfiles, there while this lives.
#[derive(Debug)]
pub(crate) struct Bases {
    names: Vec<String>,
    // released last: who waits for it finds the names settled
    _alone: fs::File,
}

impl Bases {
    /// Take what is there, make what is not.
    ///
    /// # Errors
    /// When a stand-in cannot be made: names the cure.
    pub(crate) fn borrow() -> Result<Self> {
        let user = nix::unistd::geteuid();
        let lock = std::env::temp_dir().join(format!("{user}-{LOCK}"));
        let alone = fs::File::create(&lock).with_context(|| format!("cannot make {}", lock.display()))?;
        alone.lock().context("cannot lock the bases")?;
        let names = vec![base("DEBIAN_IMAGE")?, base("RUST_IMAGE")?];
        let script = sample::source_tree().join("tests/container/stand-ins");
        engine::succeed(process::program(script).args(&names), engine::BUILD_PATIENCE)?;
        Ok(Self { names, _alone: alone })
    }
}

impl Drop for Bases {
    fn drop(&mut self) {
        for name in &self.names {
            let stands_in = engine::inspect(name, STAND_IN).is_ok_and(|label| !label.is_empty());
            if stands_in {
                // it is kept under a name of its own; a failure leaves a name that the next run finds
                engine::try_docker(&["rmi", "--no-prune", name]).ok();
            }
        }
    }
}

/// What a build argument of the core's Dockerfile names by default.
fn base(argument: &str) -> Result<String> {
    let text = fs::read_to_string(sample::source_tree().join("deploy/core.Dockerfile"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("ARG {argument}=")));
    Ok(line.with_context(|| format!("the Dockerfile has no ARG {argument}="))?.trim().to_owned())
}

/// The sample on top of the core's image.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn build_sample(tree: &Path) -> Result<()> {
    let core = format!("CORE_IMAGE={}", core());
    let file = "tests/container/sample.Dockerfile";
    engine::build(
        &tree.join("sample"),
        &["--file", &tree.join(file).to_string_lossy(), "--build-arg", &core, "--tag", &with_sample(), "."],
    )
}

/// Builder's layers of ours that no run of late has used: each change of the sources leaves a gigabyte.
///
/// # Errors
/// When the engine refuses.
pub(crate) fn drop_old_layers() -> Result<()> {
    let filters = ["--filter", "label=orch.stage=build", "--filter", "until=12h"];
    engine::docker(&[&["image", "prune", "--force"][..], &filters].concat()).map(drop)
}
