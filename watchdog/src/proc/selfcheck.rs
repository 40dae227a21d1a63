//! What this watchdog is able to see, found out once at start and said aloud.
//!
//! Responsible for: whether inodes identify processes here, whether the proc mount shows the host, whether `hidepid`
//! blinds it, whether the kernel would show it the inside of other processes. The last is read off `stat`, so that no
//! environment is ever opened, not even in vain. It repairs nothing and needs no capability.

use std::path::Path;

use proc_identity::{Inside, PROC_ROOT};

use super::hiding::{Caller, Hiding};
use super::reader::Reader;

/// Bytes of mountinfo that are looked at.
const MOUNTINFO_BYTES: u64 = 1024 * 1024;
/// Processes whose inside is asked for: the first one and the youngest.
const INSIDES_ASKED: usize = 64;
/// The inode of the host's first pid namespace (linux/proc_ns.h, PROC_PID_INIT_INO).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Whether an unchanged (pid, inode) pair means an unchanged process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InodeScheme {
    /// It does: only new pairs are read.
    Trusted,
    /// It may not, for this reason: every pid is read in every pass.
    ReadEveryPid(String),
}

/// Yes, no, or why it cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Yes,
    /// No.
    No,
    /// In words.
    Unknown(String),
}

/// What can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfCheck {
    /// Mode of the directory pass.
    pub scheme: InodeScheme,
    /// Whether the mount shows the host's pid namespace; in a container without `pid: host` it shows the container's.
    pub host_namespace: Answer,
    /// Whether the kernel denies the environments of the processes that were asked about, as it should.
    pub environ_denied: Answer,
    /// The mount's `hidepid` option, if it has one that hides.
    pub hidepid: Option<Hiding>,
    /// Whether that option hides from this process.
    pub blinded: bool,
    /// Whether the first process of the namespace, which always exists, was listed in the last pass.
    pub first_listed: bool,
    /// Processes listed in the last pass.
    pub listed: u64,
    /// Of those, how many could be read.
    pub readable: u64,
    /// Threads of the processes of the first pass.
    pub threads_seen: u64,
    /// Threads of the whole machine at that time, in every namespace, as far as the kernel says so.
    pub threads: Option<u64>,
}

impl SelfCheck {
    /// Looks. What the passes count is filled by them, and the scheme is settled by the first of them, which brings the
    /// second listing that it takes (`compare`); the first one is left in `listing`, empty where there is nothing to
    /// compare.
    #[must_use]
    pub fn run(reader: &mut Reader, listing: &mut Vec<(i32, u64)>) -> Self {
        let root = reader.path().to_owned();
        let listed = reader.list(listing).map_err(|error| error.to_string());
        let untrusted = match &listed {
            _ if !reader.is_kernels() => "no proc file system",
            Ok(()) => "not compared yet",
            Err(error) => error,
        };
        let mut check = Self {
            scheme: InodeScheme::ReadEveryPid(untrusted.to_owned()),
            host_namespace: host_namespace(reader, &root),
            environ_denied: environ_denied(reader, listed.map(|()| listing.as_slice())),
            hidepid: None,
            blinded: false,
            first_listed: true,
            listed: 0,
            readable: 0,
            threads_seen: 0,
            threads: None,
        };
        check.look_at_mount(&root);
        if !reader.is_kernels() {
            listing.clear();
        }
        check
    }

    /// Settles the scheme: two listings in a row must agree on the inode of every pid that is in both.
    pub(super) fn compare(&mut self, first: &mut [(i32, u64)], second: &mut [(i32, u64)]) {
        self.scheme = agreement(first, second);
    }

    /// What a later check found, with what the passes have counted.
    pub(super) fn renewed(&self, later: Self) -> Self {
        let Self { first_listed, listed, readable, threads_seen, threads, .. } = *self;
        Self { first_listed, listed, readable, threads_seen, threads, ..later }
    }

    /// Looks at the mount's options, which can be changed while it is in use.
    pub(super) fn look_at_mount(&mut self, root: &Path) {
        self.hidepid =
            device(root).zip(mountinfo(root)).and_then(|(device, text)| Hiding::find(&text, &device));
        self.blinded = self.hidepid.as_ref().is_some_and(|hiding| hiding.blinds(&Caller::current()));
    }

    /// Takes over the number of threads of the machine, for the first pass to be compared with.
    pub(super) fn count_threads(&mut self) {
        // the kernel counts in 16 bits here (sysinfo(2)): of the numbers that it can mean, the nearest to what was seen
        let counted = rustix::system::sysinfo().procs;
        let seen = i64::try_from(self.threads_seen).unwrap_or(i64::MAX);
        let beyond = i64::from(counted) - seen.rem_euclid(1 << 16);
        let nearest = (beyond + (1 << 15)).rem_euclid(1 << 16) - (1 << 15);
        self.threads = u64::try_from(seen.saturating_add(nearest)).ok();
    }

    /// Why nothing can be concluded from what is *not* seen: processes are hidden. `None` where they are not.
    #[must_use]
    pub fn hidden(&self) -> Option<String> {
        self.hidden_by_kernel().or_else(|| {
            (self.readable * 2 < self.listed)
                .then(|| format!("can read {} of {} processes", self.readable, self.listed))
        })
    }

    /// Of these reasons those that hold whatever a pass could read.
    pub(super) fn hidden_by_kernel(&self) -> Option<String> {
        if let Some(hiding) = self.hidepid.as_ref().filter(|_| self.blinded) {
            return Some(hiding.words());
        }
        (!self.first_listed).then(|| "process 1 is not listed: other users' processes are hidden".to_owned())
    }

    /// That only its own pid namespace is seen: all of it, and nothing of the host beyond it.
    #[must_use]
    pub fn confined(&self) -> Option<&'static str> {
        (self.host_namespace == Answer::No)
            .then_some("sees only its own pid namespace; for the host run it with pid: host")
    }

    /// One line for the log.
    #[must_use]
    pub fn words(&self) -> String {
        let answer = |answer: &Answer| match answer {
            Answer::Yes => "yes".to_owned(),
            Answer::No => "no".to_owned(),
            Answer::Unknown(why) => format!("unknown ({why})"),
        };
        let scheme = match &self.scheme {
            InodeScheme::Trusted => "new processes only".to_owned(),
            InodeScheme::ReadEveryPid(why) => format!("every process each tick ({why})"),
        };
        let processes = match self.blinded || !self.first_listed {
            true => format!("{} of an unknown number of processes", self.readable),
            false => format!("{} of {} processes", self.readable, self.listed),
        };
        let threads = self.threads.map_or_else(String::new, |threads| {
            format!(", {} of the machine's {threads} threads", self.threads_seen)
        });
        let mut words = format!(
            "I see {processes}{threads}; environ denied: {}; host namespace: {}; reading {scheme}",
            answer(&self.environ_denied),
            answer(&self.host_namespace),
        );
        if let Some(hiding) = &self.hidepid {
            words.push_str("; proc is mounted with ");
            words.push_str(&hiding.option);
        }
        words
    }
}

fn agreement(first: &mut [(i32, u64)], second: &mut [(i32, u64)]) -> InodeScheme {
    first.sort_unstable();
    second.sort_unstable();
    let inode = |pid: i32| first.binary_search_by_key(&pid, |pair| pair.0).ok().and_then(|at| first.get(at));
    let both: Vec<(u64, u64)> =
        second.iter().filter_map(|(pid, after)| inode(*pid).map(|(_, before)| (*before, *after))).collect();
    let changed = both.iter().filter(|(before, after)| before != after).count();
    let without = both.iter().filter(|(before, _)| *before <= 1).count();
    // a pid may be reused between two listings; where the scheme does not hold, it fails for most
    if both.is_empty() || changed * 10 > both.len() {
        return InodeScheme::ReadEveryPid(format!(
            "{changed} of {} inodes changed between two listings",
            both.len()
        ));
    }
    if without * 2 > both.len() {
        return InodeScheme::ReadEveryPid(format!("{without} of {} processes have no inode", both.len()));
    }
    let mut inodes: Vec<u64> = second.iter().map(|pair| pair.1).filter(|inode| *inode > 1).collect();
    inodes.sort_unstable();
    let distinct = inodes.windows(2).filter(|pair| pair.first() != pair.last()).count() + 1;
    if distinct * 10 < inodes.len() * 9 {
        return InodeScheme::ReadEveryPid("processes share inodes".to_owned());
    }
    InodeScheme::Trusted
}

/// The kernel's thread daemon exists in the first namespace only.
fn host_namespace(reader: &mut Reader, root: &Path) -> Answer {
    if let Ok(stat) = reader.stat(2)
        && stat.ppid == 0
        && stat.comm == b"kthreadd"
    {
        return Answer::Yes;
    }
    match std::fs::read_link(root.join("self/ns/pid")) {
        Ok(link) if link.as_os_str() == FIRST_PID_NAMESPACE => Answer::Yes,
        Ok(_) => Answer::No,
        Err(error) => Answer::Unknown(error.kind().to_string()),
    }
}

fn environ_denied(reader: &mut Reader, listed: Result<&[(i32, u64)], String>) -> Answer {
    if !reader.is_kernels() {
        return Answer::Unknown("no proc file system".to_owned());
    }
    let pairs = match listed {
        Ok(pairs) => pairs,
        Err(error) => return Answer::Unknown(error),
    };
    let own = super::scan::own_pid(reader.path()).unwrap_or(0);
    let first = pairs.iter().map(|pair| pair.0).filter(|pid| *pid == 1);
    let youngest = pairs.iter().rev().map(|pair| pair.0).filter(|pid| *pid != 1);
    let mut answer = Answer::Unknown("there is no other process to ask about".to_owned());
    for pid in first.chain(youngest).filter(|pid| *pid != own).take(INSIDES_ASKED) {
        match reader.inside(pid) {
            Ok(Inside::Granted) => return Answer::No,
            Ok(Inside::Denied) => answer = Answer::Yes,
            // it ended meanwhile, or may not be looked at from outside either
            Ok(Inside::Empty) | Err(_) => {}
        }
    }
    answer
}

/// The device number of the tree, as mountinfo writes it.
fn device(root: &Path) -> Option<String> {
    let device = rustix::fs::stat(root).ok()?.st_dev;
    Some(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
}

fn mountinfo(root: &Path) -> Option<String> {
    use std::io::Read;
    // a tree of a namespace that we are not in has no `self` for us
    let open = |root: &Path| std::fs::File::open(root.join("self/mountinfo")).ok();
    let file = open(root).or_else(|| open(Path::new(PROC_ROOT)))?;
    let mut text = Vec::new();
    file.take(MOUNTINFO_BYTES).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_that_change_between_two_listings_are_not_trusted() {
        let stable = agreement(&mut [(1, 10), (2, 20), (3, 30)], &mut [(1, 10), (2, 20), (3, 30), (4, 40)]);
        assert_eq!(stable, InodeScheme::Trusted);
        for (first, second) in [
            ([(1, 10), (2, 20)], [(1, 11), (2, 21)]),
            ([(1, 0), (2, 1)], [(1, 0), (2, 1)]),
            ([(1, 10), (2, 10)], [(1, 10), (2, 10)]),
            ([(1, 10), (2, 20)], [(3, 30), (4, 40)]),
        ] {
            let found = agreement(&mut first.clone(), &mut second.clone());
            assert!(matches!(found, InodeScheme::ReadEveryPid(_)), "{first:?} {second:?} {found:?}");
        }
    }

    fn check() -> SelfCheck {
        SelfCheck {
            scheme: InodeScheme::Trusted,
            host_namespace: Answer::Yes,
            environ_denied: Answer::Yes,
            hidepid: None,
            blinded: false,
            first_listed: true,
            listed: 200,
            readable: 200,
            threads_seen: 231,
            threads: Some(231),
        }
    }

    fn invisible() -> Option<Hiding> {
        Some(Hiding { option: "hidepid=invisible".to_owned(), exempt_gid: Some(7) })
    }

    #[test]
    fn hidden_processes_are_no_empty_host() {
        assert_eq!(check().hidden(), None);
        let exempt = SelfCheck { hidepid: invisible(), ..check() };
        assert_eq!(exempt.hidden(), None, "whoever is in the group sees all");
        // many processes of its own may be listed, and the others are hidden all the same
        let blinded = SelfCheck { hidepid: invisible(), blinded: true, ..check() };
        assert!(blinded.hidden().unwrap().contains("run this in group 7"));
        let without_first = SelfCheck { first_listed: false, ..check() };
        assert!(without_first.hidden().unwrap().contains("process 1 is not listed"));
        let unreadable = SelfCheck { readable: 3, ..check() };
        assert_eq!(unreadable.hidden().unwrap(), "can read 3 of 200 processes");
    }

    #[test]
    fn the_line_says_what_is_seen_and_never_all_of_an_unknown_number() {
        assert_eq!(
            check().words(),
            "I see 200 of 200 processes, 231 of the machine's 231 threads; environ denied: yes; \
             host namespace: yes; reading new processes only"
        );
        let blinded = SelfCheck {
            hidepid: invisible(),
            blinded: true,
            listed: 2,
            readable: 2,
            threads_seen: 4,
            ..check()
        };
        assert_eq!(
            blinded.words(),
            "I see 2 of an unknown number of processes, 4 of the machine's 231 threads; environ denied: yes; \
             host namespace: yes; reading new processes only; proc is mounted with hidepid=invisible"
        );
        let own = SelfCheck { host_namespace: Answer::No, listed: 4, readable: 4, ..check() };
        assert_eq!((own.hidden(), own.confined().is_some()), (None, true));
        assert!(own.words().contains("host namespace: no"), "{}", own.words());
    }

    #[test]
    fn a_tree_that_is_no_proc_file_system_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("1")).unwrap();
        let mut reader = Reader::open(folder.path()).unwrap();
        let mut listing = Vec::new();
        let check = SelfCheck::run(&mut reader, &mut listing);
        assert_eq!(check.scheme, InodeScheme::ReadEveryPid("no proc file system".to_owned()));
        assert_eq!(listing, [], "there is nothing to compare");
    }

    #[test]
    fn the_live_proc_file_system_holds_the_scheme() {
        let mut reader = Reader::open(Path::new("/proc")).unwrap();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let mut check = SelfCheck::run(&mut reader, &mut first);
        assert_eq!(check.scheme, InodeScheme::ReadEveryPid("not compared yet".to_owned()));
        reader.list(&mut second).unwrap();
        check.compare(&mut first, &mut second);
        assert_eq!(check.scheme, InodeScheme::Trusted);
    }
}
