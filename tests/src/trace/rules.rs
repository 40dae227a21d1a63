//! What the watchdog may do, call by call.
//!
//! A closed list: a call that no rule names is a violation, so that a new one is looked at by a person before it
//! passes. An attempt counts like a success. The rules are about the calling program only and know nothing of its code.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::line::{Call, absolute, described, quoted};

/// Files of any process that may be read.
const OF_A_PROCESS: [&str; 8] =
    ["stat", "status", "cmdline", "comm", "statm", "cgroup", "schedstat", "limits"];

/// Files of the whole host that may be read.
const OF_THE_HOST: [&str; 8] = [
    // only the counts of processes made, and the last pid
    "/proc/stat",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/uptime",
    "/proc/pressure/cpu",
    "/proc/pressure/memory",
    "/proc/pressure/io",
    "/proc/sys/kernel/random/boot_id",
];

/// Folders and files that the loader, the resolver and the clock read: what any program reads that knows names.
const OF_THE_SYSTEM: [&str; 16] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/etc/resolv.conf",
    "/run/systemd/resolve",
    "/etc/nsswitch.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl/certs",
];

/// Where the standard library reads how many processors its own control group may use, before it counts them.
const QUOTA: [&str; 3] = ["cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"];

/// The resolver's cache, which answers names where it runs.
const NAME_CACHE: &str = r#"sun_path="/var/run/nscd/socket""#;

/// Such a file, or the folder of the hierarchy that it is looked for in.
fn is_processor_quota(path: &Path) -> bool {
    let Ok(below) = path.strip_prefix("/sys/fs/cgroup") else { return false };
    let named =
        |names: &[&str]| path.file_name().is_some_and(|name| names.iter().any(|known| name == *known));
    named(&QUOTA)
        || (below.components().count() <= 1 && (below == Path::new("") || named(&["cpu", "cpu,cpuacct"])))
}

/// Calls that reach nothing outside of the process, or only through a descriptor whose making was judged.
const WITHIN: [&str; 62] = [
    "accept",
    "accept4",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd2",
    "exit",
    "exit_group",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpeername",
    "getpid",
    "getrandom",
    "getresgid",
    "getresuid",
    "getsockname",
    "getsockopt",
    "gettid",
    "getuid",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "listen",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "pidfd_open",
    "poll",
    "ppoll",
    "pread64",
    "read",
    "readv",
    "recvfrom",
    "recvmsg",
    "restart_syscall",
    "rseq",
    "sched_getaffinity",
    "sched_yield",
    "setsockopt",
    "shutdown",
];

/// More of them, about signals that arrive and the process's own set-up.
const WITHIN_TOO: [&str; 11] = [
    "pipe2",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "socketpair",
    "sysinfo",
    "uname",
    "wait4",
];

/// Whether processes may be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processes {
    /// The listed files of each.
    Listed,
    /// Not one.
    Untouched,
}

/// What one run may do.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Its pid as strace shows it.
    pub own_pid: i32,
    /// The program.
    pub program: PathBuf,
    /// The only folder below which anything may change.
    pub state_dir: PathBuf,
    /// Files that its settings name: they may be read.
    pub named_files: Vec<PathBuf>,
    /// Whether processes may be looked at.
    pub processes: Processes,
    /// The core: only `GET /queue` goes there.
    pub core: SocketAddr,
    /// Who else may be spoken to.
    pub peers: Vec<SocketAddr>,
    /// Where it answers.
    pub listens: SocketAddr,
}

/// What must not have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A file of another process that is not on the list.
    Inside(String),
    /// A process was looked at, and none may be.
    Looked(String),
    /// Another file that is not on the list.
    Read(String),
    /// A change outside of the state directory.
    Change(String),
    /// A signal to somebody else.
    Signal(String),
    /// Another program, or a process of its own.
    Spawn(String),
    /// Something else than the one question to the core.
    Request(String),
    /// Somebody who is not on the list was spoken to.
    Peer(String),
    /// No rule knows the call.
    Unlisted(String),
    /// A thread was started before the program had confined itself, or it never did.
    Unconfined(String),
    /// A line that could not be taken apart.
    Strange(String),
}

impl Rules {
    /// What is wrong with one call; an open can be wrong twice.
    #[must_use]
    pub fn judge(&self, call: &Call) -> Vec<Violation> {
        let all = || show(call);
        match call.name.as_str() {
            "open" | "creat" => self.open(call, None, 0),
            "openat" | "openat2" => self.open(call, described(call.argument(0)), 1),
            "stat" | "lstat" | "access" | "readlink" | "statfs" | "chdir" => self.look(call, None, 0),
            "newfstatat" | "statx" | "faccessat" | "faccessat2" | "readlinkat" => {
                self.look(call, described(call.argument(0)), 1)
            }
            "unlink" | "rmdir" | "mkdir" | "chmod" => self.change(call, &[(None, 0)]),
            "unlinkat" | "mkdirat" => self.change(call, &[(described(call.argument(0)), 1)]),
            "rename" => self.change(call, &[(None, 0), (None, 1)]),
            "renameat" | "renameat2" => {
                self.change(call, &[(described(call.argument(0)), 1), (described(call.argument(2)), 3)])
            }
            "ftruncate" | "fsync" | "fdatasync" | "flock" | "fallocate" => {
                let below = described(call.argument(0)).is_some_and(|path| self.is_state(Path::new(path)));
                if below { Vec::new() } else { vec![Violation::Change(all())] }
            }
            "write" | "writev" | "pwrite64" | "send" | "sendto" | "sendmsg" => self.send(call),
            "connect" => self.connect(call),
            "socket" => self.socket(call),
            "bind" => self.bind(call),
            "clone" | "clone3" if call.arguments.iter().any(|text| text.contains("CLONE_THREAD")) => {
                Vec::new()
            }
            "clone" | "clone3" | "fork" | "vfork" | "execve" | "execveat" => vec![Violation::Spawn(all())],
            "tgkill" if call.argument(0) == self.own_pid.to_string() => Vec::new(),
            "kill" | "tkill" | "tgkill" | "rt_sigqueueinfo" | "rt_tgsigqueueinfo" | "pidfd_send_signal" => {
                vec![Violation::Signal(all())]
            }
            "ioctl" if matches!(call.argument(1), "FIONBIO" | "FIONREAD" | "TCGETS") => Vec::new(),
            "prlimit64" if call.argument(0) == "0" && call.argument(2) == "NULL" => Vec::new(),
            "prctl" if own_business(call.argument(0)) => Vec::new(),
            name if WITHIN.contains(&name) || WITHIN_TOO.contains(&name) => Vec::new(),
            _ => vec![Violation::Unlisted(all())],
        }
    }

    fn open(&self, call: &Call, base: Option<&str>, at: usize) -> Vec<Violation> {
        let Some(path) = quoted(call.argument(at)).and_then(|path| absolute(base, path)) else {
            return vec![Violation::Strange(show(call))];
        };
        let flags = call.arguments.get(at + 1..).unwrap_or_default().join(" ");
        let changes = call.name == "creat"
            || ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"]
                .iter()
                .any(|flag| flags.contains(flag));
        // the kernel says where a symbolic link led
        let led_to = described(&call.result).map(PathBuf::from);
        let judged = std::iter::once(path).chain(led_to);
        let mut found: Vec<Violation> = judged
            .filter_map(|path| match changes {
                true if self.is_state(&path) => None,
                true => Some(Violation::Change(show(call))),
                false => self.read(&path),
            })
            .collect();
        found.dedup();
        found
    }

    fn look(&self, call: &Call, base: Option<&str>, at: usize) -> Vec<Violation> {
        match quoted(call.argument(at)) {
            // the descriptor itself, whose opening was judged
            Some("") => Vec::new(),
            Some(path) => match absolute(base.or(Some("/")), path) {
                Some(path) => self.read(&path).into_iter().collect(),
                None => vec![Violation::Strange(show(call))],
            },
            None => vec![Violation::Strange(show(call))],
        }
    }

    fn change(&self, call: &Call, paths: &[(Option<&str>, usize)]) -> Vec<Violation> {
        let below = paths.iter().all(|(base, at)| {
            let path = quoted(call.argument(*at)).and_then(|path| absolute(*base, path));
            path.is_some_and(|path| self.is_state(&path))
        });
        if below { Vec::new() } else { vec![Violation::Change(show(call))] }
    }

    fn is_state(&self, path: &Path) -> bool {
        path.starts_with(&self.state_dir)
    }

    fn read(&self, path: &Path) -> Option<Violation> {
        let text = path.display().to_string();
        if let Ok(below) = path.strip_prefix("/proc") {
            return self.read_proc(below, text);
        }
        let allowed = OF_THE_SYSTEM.iter().any(|folder| path.starts_with(folder))
            || path == Path::new("/")
            || path == self.program
            || is_processor_quota(path)
            || self.named_files.iter().any(|named| named == path)
            || self.is_state(path);
        (!allowed).then_some(Violation::Read(text))
    }

    fn read_proc(&self, below: &Path, text: String) -> Option<Violation> {
        let parts: Vec<&str> = below.iter().filter_map(|part| part.to_str()).collect();
        let looked = |text| (self.processes == Processes::Untouched).then_some(Violation::Looked(text));
        match parts.as_slice() {
            [] => looked(text),
            ["self" | "thread-self", ..] => None,
            [first, rest @ ..] if first.bytes().all(|sign| sign.is_ascii_digit()) => match rest {
                _ if first.parse() == Ok(self.own_pid) => None,
                [file] if OF_A_PROCESS.contains(file) => looked(text),
                _ => Some(Violation::Inside(text)),
            },
            _ => (!OF_THE_HOST.contains(&text.as_str())).then_some(Violation::Read(text)),
        }
    }

    fn send(&self, call: &Call) -> Vec<Violation> {
        let to = call.argument(0);
        let what = described(to).unwrap_or_default();
        if to.starts_with("1<") || to.starts_with("2<") {
            return Vec::new();
        }
        if let Some(connection) = what.strip_prefix("TCP:[").and_then(|rest| rest.strip_suffix(']')) {
            let ends = connection.split_once("->").and_then(|(ours, theirs)| {
                Some((ours.parse::<SocketAddr>().ok()?, theirs.parse::<SocketAddr>().ok()?))
            });
            return match ends {
                Some((_, theirs)) if same(theirs, self.core) => self.request(call),
                Some((ours, _)) if ours == self.listens => Vec::new(),
                Some((_, theirs)) if self.peers.iter().any(|peer| same(theirs, *peer)) => Vec::new(),
                _ => vec![Violation::Peer(show(call))],
            };
        }
        let within = ["anon_inode:[eventfd]", "UNIX-STREAM:[", "NETLINK:[", "pipe:["];
        if within.iter().any(|begin| what.starts_with(begin)) {
            return Vec::new();
        }
        if self.is_state(Path::new(what)) { Vec::new() } else { vec![Violation::Change(show(call))] }
    }

    /// One request is one call: it has no body, and its head is small.
    fn request(&self, call: &Call) -> Vec<Violation> {
        let text = call.argument(1);
        let text = text.strip_prefix("[{iov_base=").unwrap_or(text);
        let asks = text.starts_with("\"GET /queue HTTP/1.1\\r\\n");
        if asks { Vec::new() } else { vec![Violation::Request(show(call))] }
    }

    fn connect(&self, call: &Call) -> Vec<Violation> {
        let to = call.argument(1);
        let known = |port: &str| {
            let ports = self.peers.iter().chain([&self.core]).map(SocketAddr::port);
            ports.into_iter().any(|known| port == format!("htons({known})"))
        };
        let port = to.split("_port=").nth(1).and_then(|rest| rest.split(',').next());
        let loopback = to.contains("\"127.0.0.1\"") || to.contains("\"::1\"");
        let fine = to.contains(NAME_CACHE) || (loopback && port.is_some_and(known));
        if fine { Vec::new() } else { vec![Violation::Peer(show(call))] }
    }

    fn socket(&self, call: &Call) -> Vec<Violation> {
        let kinds = ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"];
        let raw = call.argument(1).starts_with("SOCK_RAW") && call.argument(0) != "AF_NETLINK";
        let fine = kinds.contains(&call.argument(0)) && !raw;
        if fine { Vec::new() } else { vec![Violation::Unlisted(show(call))] }
    }

    /// A path-named socket is a file.
    fn bind(&self, call: &Call) -> Vec<Violation> {
        let Some(path) = call.argument(1).split("sun_path=").nth(1) else { return Vec::new() };
        let path = path.trim_end_matches('}').trim().trim_matches('"');
        if self.is_state(Path::new(path)) { Vec::new() } else { vec![Violation::Change(show(call))] }
    }
}

/// Whether a `prctl` is about the caller and takes something away, reads its own set-up, or names a thread.
fn own_business(option: &str) -> bool {
    /// `PR_GET_AUXV`, which strace 6.1 knows by its number only: the tick length comes from there.
    const GET_AUXV: &str = "0x41555856";
    let known = [
        "PR_SET_DUMPABLE",
        "PR_SET_NO_NEW_PRIVS",
        "PR_SET_NAME",
        "PR_SET_VMA",
        "PR_CAPBSET_READ",
        "PR_GET_",
        GET_AUXV,
    ];
    known.iter().any(|known| option.starts_with(known))
}

/// Whether both are the same place on loopback, which has two addresses.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    let loopback = |address: IpAddr| address.to_canonical().is_loopback();
    one == other || (one.port() == other.port() && loopback(one.ip()) && loopback(other.ip()))
}

fn show(call: &Call) -> String {
    format!("{}({}) = {}", call.name, call.arguments.join(", "), call.result)
}
