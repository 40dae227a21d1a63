//! Looks at small trees that stand for kernels.

use std::fs;

use super::*;

const MEMINFO: &str = "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nBuffers: 1 kB\nCached: 1 kB\n\
    SwapCached: 0 kB\nActive: 1 kB\nInactive: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 0 kB\n\
    Writeback: 0 kB\nMapped: 1 kB\nSlab: 1 kB\nCommitted_AS: 1 kB\nVmallocTotal: 1 kB\nVmallocUsed: 0 kB\n\
    VmallocChunk: 0 kB\n";

fn pressure(avg60: &str) -> String {
    format!(
        "some avg10=1.00 avg60={avg60} avg300=3.25 total=4\nfull avg10=0.00 avg60=0.50 avg300=0.00 total=0\n"
    )
}

/// A process file system with these files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("pressure")).unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn whole(cpu: &str) -> tempfile::TempDir {
    let other = pressure("0.00");
    tree(&[("meminfo", MEMINFO), ("pressure/cpu", cpu), ("pressure/memory", &other), ("pressure/io", &other)])
}

#[test]
fn pressure_and_memory_are_read_as_the_kernel_gives_them() {
    let root = whole(&pressure("61.25"));
    let Collected::Fresh(seen) = look(root.path()) else { panic!("{:?}", look(root.path())) };
    let expected = PressureShares {
        some_avg10_percent: 1.0,
        some_avg60_percent: 61.25,
        some_avg300_percent: 3.25,
        full_avg60_percent: 0.5,
    };
    assert_eq!(seen.cpu, PressureSight::Measured(expected));
    assert_eq!(seen.memory, Some(HostMemory { total_bytes: 1_024_000, available_bytes: 409_600 }));
    assert_eq!(remark(root.path()), None);
}

#[test]
fn a_kernel_without_pressure_figures_is_no_failure() {
    let root = tree(&[("meminfo", MEMINFO)]);
    let Collected::Fresh(seen) = look(root.path()) else { panic!("{:?}", look(root.path())) };
    let PressureSight::NotOffered(reason) = &seen.cpu else { panic!("{seen:?}") };
    assert!(reason.contains("CONFIG_PSI"), "{reason}");
    assert!(seen.memory.is_some());
    assert!(remark(root.path()).unwrap().contains("cpu_starved cannot be told"));
}

#[test]
fn what_cannot_be_read_is_a_failure_and_names_the_file() {
    let nothing = tempfile::tempdir().unwrap();
    for (root, file) in [
        (nothing, "meminfo"),
        (tree(&[("meminfo", "no such thing")]), "meminfo"),
        (whole("some avg10=x"), "pressure/cpu"),
        (whole("\u{1}\u{fffd}"), "pressure/cpu"),
        (whole("full avg10=0.00 avg60=0.00 avg300=0.00 total=0"), "pressure/cpu"),
    ] {
        let Collected::Unavailable(reason) = look(root.path()) else { panic!("{file} was read") };
        assert!(reason.contains(file), "{reason}");
        assert!(remark(root.path()).unwrap().contains(file));
    }
}

#[test]
fn this_host_can_be_looked_at() {
    let Collected::Fresh(seen) = look(Path::new("/proc")) else { panic!("{:?}", look(Path::new("/proc"))) };
    assert!(seen.memory.is_some_and(|memory| memory.total_bytes > memory.available_bytes));
}
