//! The wrappers that are known, and which of their options take a value.
//!
//! Tables only. An option that is missing here is taken for a flag, and its value for the program.

/// How a wrapper's own words are told from its command.
pub(super) struct Wrapper {
    pub(super) names: &'static [&'static str],
    /// Words that must stand before the command (`uv` **run**); options may stand before each.
    pub(super) subcommand: &'static [&'static str],
    /// Options whose value is a word of its own.
    pub(super) valued: &'static [&'static str],
    /// Plain words before the command (`timeout` **60**).
    pub(super) operands: usize,
    /// What the command's first words may be.
    pub(super) command: Command,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// A program.
    Program,
    /// `A=B` words, then a program.
    AfterAssignments,
    /// A Python script, or a module behind `-m` or `--module`.
    ScriptOrModule,
    /// A program, or a Python module behind `-m` or `--module`.
    ProgramOrModule,
    /// A program named `environment:program`.
    Qualified,
    /// A program, or the text of a command behind `-c` or `--command`.
    ProgramOrText,
}

const fn plain(names: &'static [&'static str], valued: &'static [&'static str], operands: usize) -> Wrapper {
    Wrapper { names, subcommand: &[], valued, operands, command: Command::Program }
}

const fn runner(
    names: &'static [&'static str],
    subcommand: &'static [&'static str],
    valued: &'static [&'static str],
    command: Command,
) -> Wrapper {
    Wrapper { names, subcommand, valued, operands: 0, command }
}

pub(super) const UV_VALUED: &[&str] = &[
    "-p",
    "--python",
    "--with",
    "--with-editable",
    "--with-requirements",
    "--from",
    "--extra",
    "--group",
    "--only-group",
    "--no-group",
    "--env-file",
    "--package",
    "--project",
    "--directory",
    "--index",
    "--index-url",
    "-i",
    "--extra-index-url",
    "--find-links",
    "-f",
    "--cache-dir",
    "--config-file",
    "--color",
    "-w",
    "-P",
    "--upgrade-package",
    "--reinstall-package",
    "--refresh-package",
    "--no-binary-package",
    "--no-build-package",
    "--no-build-isolation-package",
    "--no-extra",
    "--constraints",
    "--overrides",
    "--resolution",
    "--prerelease",
    "--index-strategy",
    "--keyring-provider",
    "--python-preference",
    "--python-platform",
    "--link-mode",
    "--exclude-newer",
    "-C",
    "--config-setting",
];

/// Every wrapper, by name. The first row that fits a line wins, so longer subcommands come first.
pub(super) const WRAPPERS: &[Wrapper] = &[
    runner(&["uv"], &["tool", "run"], UV_VALUED, Command::Program),
    runner(&["uv"], &["run"], UV_VALUED, Command::ProgramOrModule),
    runner(&["uvx"], &[], UV_VALUED, Command::Program),
    runner(
        &["pipx"],
        &["run"],
        &["--spec", "--python", "--pip-args", "-i", "--index-url", "--backend"],
        Command::Program,
    ),
    runner(&["poetry"], &["run"], &["-C", "--directory", "-P", "--project"], Command::Program),
    runner(&["pipenv"], &["run"], &["--python"], Command::Program),
    runner(&["pdm"], &["run"], &["-p", "--project", "-c", "--config", "--venv"], Command::Program),
    runner(
        &["tox"],
        &["exec"],
        &["-e", "-c", "--conf", "--workdir", "--root", "-x", "--override", "--result-json", "--colored"],
        Command::Program,
    ),
    runner(&["rye"], &["run"], &["--pyproject"], Command::Program),
    runner(&["pixi"], &["run"], &["-e", "--environment", "--manifest-path"], Command::Program),
    runner(
        &["hatch"],
        &["run"],
        &["-e", "--env", "-p", "--project", "--data-dir", "--config"],
        Command::Qualified,
    ),
    runner(
        &["conda", "mamba", "micromamba"],
        &["run"],
        &["-n", "--name", "-p", "--prefix", "--cwd", "-r", "--root-prefix", "-a", "--attach"],
        Command::Program,
    ),
    runner(
        &["coverage", "coverage3"],
        &["run"],
        &[
            "--source",
            "--source-pkgs",
            "--rcfile",
            "--omit",
            "--include",
            "--concurrency",
            "--context",
            "--data-file",
            "--debug",
        ],
        Command::ScriptOrModule,
    ),
    runner(
        &["slipcover"],
        &[],
        &["--source", "--omit", "--out", "--threshold", "--merge"],
        Command::ScriptOrModule,
    ),
    runner(
        &["viztracer"],
        &[],
        &["-o", "--output_file", "--output_dir", "--tracer_entries", "--max_stack_depth", "--plugins"],
        Command::ScriptOrModule,
    ),
    runner(
        &["kernprof"],
        &[],
        &["-o", "--outfile", "-s", "--setup", "-p", "--prof-mod"],
        Command::ScriptOrModule,
    ),
    plain(&["timeout", "gtimeout"], &["-k", "--kill-after", "-s", "--signal"], 1),
    plain(&["nice"], &["-n", "--adjustment"], 0),
    plain(&["ionice"], &["-c", "--class", "-n", "--classdata"], 0),
    plain(&["chrt"], &["-T", "-P", "-D"], 1),
    plain(&["taskset"], &[], 1),
    plain(&["stdbuf"], &["-i", "-o", "-e", "--input", "--output", "--error"], 0),
    plain(
        &["xvfb-run"],
        &["-e", "--error-file", "-f", "--auth-file", "-n", "--server-num", "-s", "--server-args", "-p", "-w"],
        0,
    ),
    plain(&["dbus-run-session"], &["--config-file", "--dbus-daemon"], 0),
    plain(&["tini", "tini-static", "docker-init"], &["-p", "-e"], 0),
    plain(&["dumb-init"], &["-r", "--rewrite"], 0),
    plain(&["catatonit"], &[], 0),
    runner(
        &["sudo"],
        &[],
        &["-u", "--user", "-g", "--group", "-h", "-p", "-C", "-T", "-D", "--chdir", "-r", "-t", "-U"],
        Command::AfterAssignments,
    ),
    plain(&["doas"], &["-u", "-C"], 0),
    plain(&["runuser"], RUNUSER_VALUED, 0),
    plain(&["gosu", "su-exec"], &[], 1),
    plain(
        &["setpriv"],
        &[
            "--reuid",
            "--regid",
            "--ruid",
            "--rgid",
            "--euid",
            "--egid",
            "--groups",
            "--bounding-set",
            "--inh-caps",
            "--ambient-caps",
            "--securebits",
            "--pdeathsig",
            "--ptracer",
            "--selinux-label",
            "--apparmor-profile",
            "--landlock-access",
            "--landlock-rule",
            "--seccomp-filter",
        ],
        0,
    ),
    plain(&["prlimit"], &[], 0),
    plain(
        &["unshare"],
        &[
            "-w",
            "--wd",
            "-R",
            "--root",
            "-S",
            "-G",
            "--setuid",
            "--setgid",
            "--map-user",
            "--map-group",
            "--map-users",
            "--map-groups",
            "--owner",
            "--propagation",
            "--setgroups",
            "--monotonic",
            "--boottime",
        ],
        0,
    ),
    plain(&["time", "gtime"], &["-f", "--format", "-o", "--output"], 0),
    plain(&["setsid", "nohup", "unbuffer", "busybox", "command", "exec"], &["-a"], 0),
    plain(&["npx", "bunx"], &["-p", "--package", "-w", "--workspace", "--prefix"], 0),
    Wrapper { command: Command::ProgramOrText, ..plain(&["flock"], FLOCK_VALUED, 1) },
    plain(
        &["strace", "ltrace"],
        &["-a", "-b", "-e", "-E", "-I", "-l", "-n", "-o", "-O", "-p", "-P", "-s", "-S", "-u", "-U", "-X"],
        0,
    ),
    plain(&["valgrind"], &[], 0),
    plain(&["systemd-run"], SYSTEMD_RUN_VALUED, 0),
];

pub(super) const FLOCK_VALUED: &[&str] = &["-w", "--timeout", "-E", "--conflict-exit-code"];

/// Options of `runuser` that take a value.
pub(super) const RUNUSER_VALUED: &[&str] = &["-u", "--user", "-g", "-G"];

pub(super) const SYSTEMD_RUN_VALUED: &[&str] = &[
    "-p",
    "--property",
    "-u",
    "--unit",
    "-E",
    "--setenv",
    "--slice",
    "--description",
    "--uid",
    "--gid",
    "--nice",
    "--working-directory",
];

/// Debuggers, and the word behind which a command stands. Without it their words are files to look at.
pub(super) const DEBUGGERS: &[(&str, &[&str])] = &[("gdb", &["--args", "-args"]), ("lldb", &["--"])];

/// Python modules that run a module or a script given to them.
pub(super) const MODULE_WRAPPERS: &[(&str, &[&str], &[&str])] = &[
    ("cProfile", &[], &["-o", "-s"]),
    ("profile", &[], &["-o", "-s"]),
    ("pdb", &[], &["-c"]),
    ("trace", &[], &["-f", "-C", "--file", "--coverdir"]),
    ("debugpy", &[], &["--listen", "--connect", "--log-to"]),
    ("memray", &["run"], &["-o", "--output"]),
    ("scalene", &[], &["--outfile"]),
];

/// Wrappers that are Python packages: `python -m poetry run …` is `poetry run …`.
pub(super) const PACKAGES: &[&str] = &[
    "coverage",
    "slipcover",
    "viztracer",
    "kernprof",
    "uv",
    "pipx",
    "poetry",
    "pipenv",
    "pdm",
    "tox",
    "hatch",
];

pub(super) const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ash", "ksh", "mksh", "fish"];
pub(super) const SHELL_VALUED: &[&str] = &["-o", "+o", "-O", "+O", "--rcfile", "--init-file"];
/// Interpreters whose first plain word is a script, unless one of the last options gives the program itself.
pub(super) const INTERPRETERS: &[(&str, &[&str], &[&str])] = &[
    ("node", &["-r", "--require", "--import", "--loader"], &["-e", "--eval", "-p", "--print"]),
    ("nodejs", &["-r", "--require", "--import", "--loader"], &["-e", "--eval", "-p", "--print"]),
    ("ruby", &["-I", "-r", "-C"], &["-e"]),
    ("perl", &["-I"], &["-e", "-E"]),
    ("php", &["-d", "-c"], &["-r"]),
    ("bun", &[], &["-e", "--eval"]),
];

/// The dynamic loader, called by hand.
pub(super) const LOADER_VALUED: &[&str] =
    &["--library-path", "--preload", "--argv0", "--audit", "--inhibit-rpath", "--glibc-hwcaps-prepend"];
