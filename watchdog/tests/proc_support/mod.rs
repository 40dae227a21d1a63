//! A proc tree on disk, process by process, and guards for real processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

/// Ticks a second on every Linux that runs these tests.
pub(crate) const TICKS: u64 = 100;

/// A process to write down.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) pid: i32,
    pub(crate) comm: Vec<u8>,
    pub(crate) state: char,
    pub(crate) ppid: i32,
    pub(crate) pgid: i32,
    pub(crate) sid: i32,
    pub(crate) threads: u64,
    pub(crate) start: u64,
    pub(crate) cpu: u64,
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) ns_pids: Option<Vec<i32>>,
    pub(crate) cookie: Option<u64>,
    pub(crate) hard: Option<u64>,
    pub(crate) cgroup: String,
}

impl Fake {
    /// A process in the outer namespace that leads nothing: its group and session are its parent's pid.
    pub(crate) fn new(pid: i32, ppid: i32, argv: &[&str]) -> Self {
        let comm = argv.first().map_or("worker", |first| first.rsplit('/').next().unwrap_or(first));
        Self {
            pid,
            comm: comm.as_bytes().to_vec(),
            state: 'S',
            ppid,
            pgid: ppid,
            sid: ppid,
            threads: 1,
            start: u64::try_from(pid).unwrap_or(0) * 1000,
            cpu: 0,
            argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
            ns_pids: Some(vec![pid]),
            cookie: None,
            hard: None,
            cgroup: "0::/user.slice\n".to_owned(),
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Its own session and group.
    pub(crate) fn leader(self) -> Self {
        self.with(|it| (it.pgid, it.sid) = (it.pid, it.pid))
    }
}

/// The tree.
pub(crate) struct Tree {
    folder: TempDir,
    /// Programs that became others.
    execs: AtomicU64,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self::within(TempDir::new().expect("a folder"))
    }

    /// In a folder that is empty.
    pub(crate) fn within(folder: TempDir) -> Self {
        let tree = Self { folder, execs: AtomicU64::default() };
        let kernel = tree.path().join("sys/kernel/random");
        fs::create_dir_all(&kernel).expect("a folder");
        fs::write(kernel.join("boot_id"), "11111111-2222-3333-4444-555555555555\n").expect("boot id");
        tree.put(&Fake::new(1, 0, &["/sbin/init"]).leader().with(|it| it.start = 1));
        // what makes it a host's tree
        tree.put(&Fake::new(2, 0, &[]).with(|it| {
            it.comm = b"kthreadd".to_vec();
            it.start = 1;
        }));
        tree
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn entry(&self, pid: i32) -> PathBuf {
        self.path().join(pid.to_string())
    }

    pub(crate) fn put(&self, fake: &Fake) {
        let entry = self.entry(fake.pid);
        fs::create_dir_all(&entry).expect("a folder");
        let faults = 1_000 + self.execs.load(Ordering::Relaxed);
        let mut stat = format!("{} (", fake.pid).into_bytes();
        stat.extend_from_slice(&fake.comm);
        stat.extend_from_slice(
            format!(
                ") {} {} {} {} 0 -1 4194304 {} 0 0 0 {} 0 0 0 20 0 {} 0 {} 1000000 25 0 0 0\n",
                fake.state, fake.ppid, fake.pgid, fake.sid, faults, fake.cpu, fake.threads, fake.start
            )
            .as_bytes(),
        );
        fs::write(entry.join("stat"), stat).expect("stat");
        let mut line = Vec::new();
        for word in &fake.argv {
            line.extend_from_slice(word);
            line.push(0);
        }
        let before = fs::read(entry.join("cmdline"));
        fs::write(entry.join("cmdline"), &line).expect("cmdline");
        if before.is_ok_and(|before| before != line) {
            self.fault(fake.pid);
        }
        let ns_pids = fake.ns_pids.as_ref().map(|pids| {
            let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
            format!("NSpid:\t{}\n", pids.join("\t"))
        });
        match ns_pids {
            Some(ns_pids) => {
                let status = format!(
                    "Name:\tx\nPid:\t{}\nPPid:\t{}\nUid:\t0\t0\t0\t0\nThreads:\t{}\n{ns_pids}",
                    fake.pid, fake.ppid, fake.threads
                );
                fs::write(entry.join("status"), status).expect("status");
            }
            None => drop(fs::remove_file(entry.join("status"))),
        }
        let limit = |value: Option<u64>| value.map_or("unlimited".to_owned(), |value| value.to_string());
        let limits = format!(
            "Limit                     Soft Limit           Hard Limit           Units     \nMax file locks            {:<20} {:<20} locks     \n",
            limit(fake.cookie),
            limit(fake.hard.or(fake.cookie))
        );
        fs::write(entry.join("limits"), limits).expect("limits");
        fs::write(entry.join("cgroup"), &fake.cgroup).expect("cgroup");
    }

    pub(crate) fn remove(&self, pid: i32) {
        fs::remove_dir_all(self.entry(pid)).expect("a process to remove");
    }

    /// Becomes another program: its pages are faulted in.
    pub(crate) fn exec(&self, pid: i32, line: &[u8]) {
        fs::write(self.entry(pid).join("cmdline"), line).expect("a file");
        self.fault(pid);
    }

    /// Counts a page fault more than anybody had.
    fn fault(&self, pid: i32) {
        self.execs.fetch_add(1, Ordering::Relaxed);
        let path = self.entry(pid).join("stat");
        let stat = fs::read(&path).expect("a stat");
        let close = stat.iter().rposition(|byte| *byte == b')').expect("a name");
        let (name, rest) = stat.split_at(close);
        let rest = std::str::from_utf8(rest).expect("text");
        let mut words: Vec<String> = rest.split(' ').map(str::to_owned).collect();
        // behind the name: state is word 1, minflt word 8
        words[8] = (1_000 + self.execs.load(Ordering::Relaxed)).to_string();
        fs::write(path, [name, words.join(" ").as_bytes()].concat()).expect("a stat");
    }

    /// Writes a process's file anew, whatever it holds.
    pub(crate) fn write(&self, pid: i32, file: &str, bytes: &[u8]) {
        fs::write(self.entry(pid).join(file), bytes).expect("a file");
    }
}
