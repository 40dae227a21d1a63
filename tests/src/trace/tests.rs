//! The rules find each kind of violation, and leave alone what the watchdog needs.

use super::*;

fn rules(processes: Processes) -> Rules {
    Rules {
        own_pid: 700,
        program: PathBuf::from("/opt/orch-watchdog"),
        state_dir: PathBuf::from("/var/lib/watchdog"),
        named_files: vec![PathBuf::from("/etc/authorities.pem")],
        processes,
        core: "127.0.0.1:8080".parse().unwrap(),
        peers: vec!["127.0.0.1:8443".parse().unwrap()],
        listens: "127.0.0.1:9109".parse().unwrap(),
    }
}

fn found(processes: Processes, line: &str) -> Vec<Violation> {
    let mut trace = Trace::default();
    trace.take(["landlock_restrict_self(3, 0) = 0", line].into_iter());
    trace.violations(&rules(processes))
}

/// The kind of the only violation of a line.
fn kind(line: &str) -> &'static str {
    match found(Processes::Listed, line).as_slice() {
        [Violation::Inside(_)] => "inside",
        [Violation::Looked(_)] => "looked",
        [Violation::Read(_)] => "read",
        [Violation::Change(_)] => "change",
        [Violation::Signal(_)] => "signal",
        [Violation::Spawn(_)] => "spawn",
        [Violation::Request(_)] => "request",
        [Violation::Peer(_)] => "peer",
        [Violation::Unlisted(_)] => "unlisted",
        [Violation::Unconfined(_)] => "unconfined",
        [Violation::Strange(_)] => "strange",
        [] => "nothing",
        more => panic!("{line}: {more:?}"),
    }
}

#[test]
fn each_kind_of_violation_is_found() {
    for (line, wanted) in [
        (r#"openat(12</proc>, "7/environ", O_RDONLY|O_CLOEXEC) = -1 EACCES (Permission denied)"#, "inside"),
        (r#"openat(AT_FDCWD</>, "/proc/1/mem", O_RDONLY) = 3</proc/1/mem>"#, "inside"),
        (r#"openat(AT_FDCWD</proc/7>, "maps", O_RDONLY) = 3</proc/7/maps>"#, "inside"),
        (r#"openat(AT_FDCWD</>, "/proc/self/../7/io", O_RDONLY) = 3</proc/7/io>"#, "inside"),
        (r#"openat(12</proc>, "7/fd", O_RDONLY|O_DIRECTORY) = 3</proc/7/fd>"#, "inside"),
        (r#"openat(12</proc>, "7/task/7/environ", O_RDONLY) = 3</proc/7/task/7/environ>"#, "inside"),
        (r#"readlink("/proc/7/exe", "/bin/sh", 4095) = 7"#, "inside"),
        (r#"newfstatat(12</proc>, "7/root", {st_mode=S_IFDIR|0755}, 0) = 0"#, "inside"),
        (r#"openat(AT_FDCWD</>, "/proc/interrupts", O_RDONLY) = 3</proc/interrupts>"#, "read"),
        (
            r#"openat(AT_FDCWD</>, "/sys/fs/cgroup/a/memory.max", O_RDONLY) = 3</sys/fs/cgroup/a/memory.max>"#,
            "read",
        ),
        (r#"openat(AT_FDCWD</>, "/sys/fs/cgroup/a/cpu", O_RDONLY) = 3</sys/fs/cgroup/a/cpu>"#, "read"),
        (r#"openat(AT_FDCWD</>, "/etc/shadow", O_RDONLY) = -1 EACCES (Permission denied)"#, "read"),
        (
            r#"openat(AT_FDCWD</>, "/etc/authorities.pem.key", O_RDONLY) = 3</etc/authorities.pem.key>"#,
            "read",
        ),
        (r#"openat(AT_FDCWD</>, "/etc/authorities.pem", O_RDONLY) = 3</etc/shadow>"#, "read"),
        (r#"openat(AT_FDCWD</>, "/etc/authorities.pem", O_RDWR) = 3</etc/authorities.pem>"#, "change"),
        (r#"openat(AT_FDCWD</>, "/var/lib/watchdog/../core/db", O_RDONLY) = 3</var/lib/core/db>"#, "read"),
        (r#"openat(AT_FDCWD</>, "/var/lib/watchdog/a", O_RDONLY) = 3</etc/shadow>"#, "read"),
        (r#"openat(AT_FDCWD</>, "/tmp/x", O_WRONLY|O_CREAT, 0666) = 3</tmp/x>"#, "change"),
        (r#"openat(AT_FDCWD</>, "/dev/null", O_RDWR) = 3</dev/null<char 1:3>>"#, "change"),
        (r#"openat(AT_FDCWD</>, "/var/lib/watchdog/a", O_RDWR) = 3</etc/passwd>"#, "change"),
        (r#"rename("/var/lib/watchdog/a", "/var/lib/core/a") = 0"#, "change"),
        (r#"renameat2(AT_FDCWD</tmp>, "a", AT_FDCWD</tmp>, "b", 0) = 0"#, "change"),
        (r#"unlink("/tmp/x") = -1 ENOENT (No such file or directory)"#, "change"),
        (r#"unlinkat(4</tmp>, "x", 0) = 0"#, "change"),
        (r#"mkdir("/tmp/x", 0777) = -1 EACCES (Permission denied)"#, "change"),
        (r#"ftruncate(4</tmp/x>, 0) = 0"#, "change"),
        (r#"write(4</tmp/x>, "a", 1) = 1"#, "change"),
        (r#"bind(4<UNIX-STREAM:[9]>, {sa_family=AF_UNIX, sun_path="/tmp/s"}, 110) = 0"#, "change"),
        ("kill(7, SIGTERM) = -1 EPERM (Operation not permitted)", "signal"),
        ("kill(700, SIGTERM) = 0", "signal"),
        ("tgkill(7, 7, SIGKILL) = 0", "signal"),
        ("tkill(7, SIGKILL) = 0", "signal"),
        ("pidfd_send_signal(4<anon_inode:[pidfd]>, SIGTERM, NULL, 0) = 0", "signal"),
        ("rt_sigqueueinfo(7, SIGTERM, {}) = 0", "signal"),
        (r#"execve("/bin/sh", ["sh"], 0x7f /* 1 var */) = 0"#, "spawn"),
        ("clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD}, 88) = 7", "spawn"),
        ("vfork() = 7", "spawn"),
        (
            r#"writev(9<TCP:[127.0.0.1:5->127.0.0.1:8080]>, [{iov_base="POST /queue HTTP/1.1\r\n", iov_len=9}], 1) = 9"#,
            "request",
        ),
        (
            r#"sendto(9<TCP:[127.0.0.1:5->127.0.0.1:8080]>, "GET /jobs HTTP/1.1\r\n", 9, 0, NULL, 0) = 9"#,
            "request",
        ),
        (r#"write(9<TCP:[127.0.0.1:5->127.0.0.1:8080]>, "", 0) = 0"#, "request"),
        (r#"write(9<TCP:[127.0.0.1:5->10.0.0.1:443]>, "x", 1) = 1"#, "peer"),
        (r#"write(9<TCP:[77]>, "x", 1) = 1"#, "peer"),
        (
            r#"connect(9<TCP:[7]>, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
            "peer",
        ),
        (
            r#"connect(9<TCP:[7]>, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("10.0.0.1")}, 16) = 0"#,
            "peer",
        ),
        (r#"connect(9<UNIX-STREAM:[7]>, {sa_family=AF_UNIX, sun_path="/run/docker.sock"}, 110) = 0"#, "peer"),
        ("socket(AF_PACKET, SOCK_RAW, 768) = 3<PACKET:[7]>", "unlisted"),
        ("ptrace(PTRACE_SEIZE, 7) = 0", "unlisted"),
        ("process_vm_readv(7, [], 1, [], 1, 0) = 4", "unlisted"),
        ("pidfd_getfd(4<anon_inode:[pidfd]>, 1, 0) = 5", "unlisted"),
        ("io_uring_setup(8, {}) = 5<anon_inode:[io_uring]>", "unlisted"),
        (r#"chmod("/var/lib/core/a", 0777) = 0"#, "change"),
        (r#"symlink("/etc", "/var/lib/watchdog/a") = 0"#, "unlisted"),
        (r#"mount("x", "/mnt", "tmpfs", 0, NULL) = 0"#, "unlisted"),
        ("prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY) = 0", "unlisted"),
        ("prlimit64(7, RLIMIT_NOFILE, NULL, {}) = 0", "unlisted"),
        ("ioctl(2</dev/pts/1>, TIOCSTI, \"x\") = 0", "unlisted"),
        ("openat(AT_FDCWD</>, 0x7f3a, O_RDONLY) = -1 EFAULT (Bad address)", "strange"),
        (r#"openat(AT_FDCWD</>, "/proc/7/env"..., O_RDONLY) = 3"#, "strange"),
        ("<... read resumed>) = 1", "strange"),
    ] {
        assert_eq!(kind(line), wanted, "{line}");
    }
}

#[test]
fn what_the_watchdog_needs_is_no_violation() {
    for line in [
        r#"openat(12</proc>, "7/stat", O_RDONLY|O_CLOEXEC) = 13</proc/7/stat>"#,
        r#"openat(12</proc>, "7/limits", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)"#,
        r#"openat(AT_FDCWD</>, "/proc/self/mountinfo", O_RDONLY) = 3</proc/700/mountinfo>"#,
        r#"openat(AT_FDCWD</>, "/sys/fs/cgroup/a/cpu.max", O_RDONLY) = 3</sys/fs/cgroup/a/cpu.max>"#,
        r#"statx(AT_FDCWD</>, "/sys/fs/cgroup/cpu", AT_STATX_SYNC_AS_STAT, STATX_ALL, {}) = 0"#,
        r#"openat(AT_FDCWD</>, "/proc/pressure/cpu", O_RDONLY) = 3</proc/pressure/cpu>"#,
        r#"openat(AT_FDCWD</>, "/lib/x86_64-linux-gnu/libc.so.6", O_RDONLY) = 3</usr/lib/x86_64-linux-gnu/libc.so.6>"#,
        r#"openat(AT_FDCWD</>, "/var/lib/watchdog/a", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</var/lib/watchdog/a>"#,
        r#"rename("/var/lib/watchdog/a", "/var/lib/watchdog/b") = 0"#,
        r#"write(2</tmp/log>, "2026", 4) = 4"#,
        r#"writev(9<TCP:[127.0.0.1:5->127.0.0.1:8080]>, [{iov_base="GET /queue HTTP/1.1\r\n", iov_len=9}], 1) = 9"#,
        r#"write(9<TCP:[127.0.0.1:5->127.0.0.1:8443]>, "POST /bot", 9) = 9"#,
        r#"write(9<TCP:[127.0.0.1:9109->127.0.0.1:5]>, "HTTP/1.1 200 OK\r\n", 9) = 9"#,
        r#"write(9<TCP:[[::1]:5->[::1]:8443]>, "POST /bot", 9) = 9"#,
        r#"connect(9<TCP:[7]>, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 EINPROGRESS (Operation now in progress)"#,
        "clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0}, 88) = 701",
        "tgkill(700, 700, SIGABRT) = 0",
        "pidfd_open(7, PIDFD_NONBLOCK) = 4<anon_inode:[pidfd]>",
        "prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0",
        "--- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=1, si_uid=0} ---",
    ] {
        assert_eq!(found(Processes::Listed, line), [], "{line}");
    }
}

#[test]
fn switched_off_means_not_one_process_is_looked_at() {
    for line in [
        r#"openat(AT_FDCWD</>, "/proc", O_RDONLY|O_DIRECTORY) = 3</proc>"#,
        r#"openat(12</proc>, "7/stat", O_RDONLY|O_CLOEXEC) = 13</proc/7/stat>"#,
        r#"newfstatat(12</proc>, "7/cmdline", {}, 0) = 0"#,
    ] {
        assert!(matches!(found(Processes::Untouched, line).as_slice(), [Violation::Looked(_)]), "{line}");
    }
    let own = r#"openat(AT_FDCWD</>, "/proc/self/maps", O_RDONLY) = 3</proc/700/maps>"#;
    assert_eq!(found(Processes::Untouched, own), []);
}

#[test]
fn confinement_comes_before_the_first_thread() {
    let violations = |lines: &[&str]| {
        let mut trace = Trace::default();
        trace.take(lines.iter().copied());
        trace.violations(&rules(Processes::Listed))
    };
    let thread = "clone3({flags=CLONE_THREAD}, 88) = 701";
    let granted = "landlock_restrict_self(3, 0) = 0";
    assert_eq!(violations(&[granted, thread]), []);
    for wrong in [
        &[thread, granted][..],
        &[thread],
        &[],
        &["landlock_restrict_self(3, 0) = -1 EPERM (Operation not permitted)", thread],
    ] {
        assert!(matches!(violations(wrong).as_slice(), [Violation::Unconfined(_)]), "{wrong:?}");
    }
}

#[test]
fn only_what_the_program_itself_did_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    let wrapper = "execve(\"/usr/bin/setpriv\", [\"setpriv\"], 0x7f) = 0\nopenat(AT_FDCWD</>, \"/etc/passwd\", O_RDONLY) = 3</etc/passwd>\n";
    let program = "execve(\"/opt/orch-watchdog\", [\"orch-watchdog\"], 0x7f) = 0\nlandlock_restrict_self(3, 0) = 0\n+++ exited with 0 +++\n";
    std::fs::write(folder.path().join("thread.700"), format!("{wrapper}{program}")).unwrap();
    std::fs::write(
        folder.path().join("thread.701"),
        "kill(1, SIGTERM) = 0\n--- SIGTERM {} ---\n+++ exited with 9 +++\n",
    )
    .unwrap();
    let trace = Trace::read(folder.path(), Path::new("/opt/orch-watchdog")).unwrap();
    assert_eq!((trace.pid, trace.end.as_deref()), (700, Some("exited with 0")));
    assert_eq!(trace.signals, ["SIGTERM"]);
    let violations = trace.violations(&rules(Processes::Listed));
    assert!(matches!(violations.as_slice(), [Violation::Signal(_)]), "{violations:?}");
    assert!(Trace::read(folder.path(), Path::new("/opt/other")).is_err());
}
