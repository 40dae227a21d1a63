//! Settings that are well formed and cannot work on this host.
//!
//! Responsible for what `check-config` can see without writing anything: whether the state directory is one or could be
//! made, and whether processes can be looked at where they are to be looked for. Each problem names its cure. What
//! cannot be looked at from here is no problem: the watchdog may run as somebody else.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statfs, statvfs};

use crate::config::WatchdogConfig;
use crate::proc::{Collector, CollectorSettings};

/// File systems that keep no files of ours (`linux/magic.h`).
const KERNEL_FILES: [(i64, &str); 4] = [
    (0x9fa0, "the process file system"),
    (0x6265_6572, "sysfs"),
    (0x0027_e0eb, "the cgroup file system"),
    (0x6367_7270, "the cgroup file system"),
];

/// Everything that cannot work, one line each.
pub(super) fn problems(config: &WatchdogConfig) -> Vec<String> {
    let state = state_dir(&config.state_dir).map(|why| {
        format!(
            "WATCHDOG_STATE_DIR={}: {why}; name a directory on a disk that can be written (a missing one is made)",
            config.state_dir.display()
        )
    });
    let tree = tree(config).map(|why| {
        format!(
            "WATCHDOG_PROC_ROOT={}: {why}; name the place where the process file system is mounted \
             (/proc), or set WATCHDOG_PROC_ENABLED=false",
            config.proc.root.display()
        )
    });
    state.into_iter().chain(tree).collect()
}

/// Why no state can be kept there. The nearest directory that exists decides for one that does not.
fn state_dir(dir: &Path) -> Option<String> {
    let (there, found) = dir.ancestors().find_map(|place| match fs::metadata(place) {
        Ok(found) => Some((place, Some(found))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
        // hidden from us
        Err(_) => Some((place, None)),
    })?;
    if !found?.is_dir() {
        return Some(format!("{} is no directory", there.display()));
    }
    let kind = kind(there);
    if let Some((_, name)) = KERNEL_FILES.iter().find(|(magic, _)| Some(*magic) == kind) {
        return Some(format!("{} is part of {name}, where nothing can be kept", there.display()));
    }
    let read_only = statvfs(there).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY));
    read_only.then(|| format!("{} is mounted read-only", there.display()))
}

#[expect(clippy::useless_conversion, reason = "the width of f_type differs by architecture")]
fn kind(place: &Path) -> Option<i64> {
    statfs(place).ok().map(|found| i64::from(found.f_type))
}

/// Why no process can be looked for; nothing while nobody looks.
fn tree(config: &WatchdogConfig) -> Option<String> {
    if !config.proc.enabled {
        return None;
    }
    let settings = CollectorSettings {
        proc_root: config.proc.root.clone(),
        patterns: Vec::new(),
        refresh_ms: i64::MAX,
        age_marks_ms: Vec::new(),
    };
    Collector::new(settings, None).err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_or_what_could_become_one_is_possible_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let in_file = file.join("below/it");
        for (place, expected) in [
            (dir.path(), None),
            (dir.path().join("a/b/c").as_path(), None),
            (file.as_path(), Some("file is no directory")),
            (in_file.as_path(), Some("file is no directory")),
            (Path::new("/proc/nope"), Some("/proc is part of the process file system")),
            (Path::new("/proc"), Some("/proc is part of the process file system")),
            (Path::new("/sys/x"), Some("/sys is ")),
        ] {
            let told = state_dir(place);
            match expected {
                None => assert_eq!(told, None, "{}", place.display()),
                Some(words) => assert!(told.as_ref().unwrap().contains(words), "{told:?}"),
            }
        }
    }
}
