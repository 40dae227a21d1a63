//! The one way in which the core calls git.
//!
//! Responsible for environment, configuration, identity, time-outs and output limits of each call.
//! Deliberately not here: what any command means.
//!
//! Invariant: nothing of the user or the host leaks in: no system or global configuration, no hooks, no editor, no
//! prompt, no locale, no signing, no background maintenance. Configuration is passed in the environment, so a
//! token in it never stands on a command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::git::error::GitError;
use crate::process::short::{self, EndStatus, ShortCommand, ShortOutput};

/// Time-outs and sizes of git calls.
#[derive(Debug, Clone, Copy)]
pub struct GitLimits {
    /// Calls that read or write refs and objects here.
    pub local: Duration,
    /// Calls that write whole trees: checkout, rebase.
    pub tree: Duration,
    /// Calls that speak to the forge.
    pub network: Duration,
    /// Largest answer, in bytes.
    pub output_bytes: usize,
}

impl Default for GitLimits {
    fn default() -> Self {
        Self {
            local: Duration::from_secs(60),
            tree: Duration::from_secs(300),
            network: Duration::from_secs(300),
            output_bytes: 16 * 1024 * 1024,
        }
    }
}

/// Name and mail address of an author or committer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name.
    pub name: String,
    /// Mail address.
    pub email: String,
}

/// How git is called: program, identity, limits, access. Cheap to clone.
#[derive(Clone)]
pub struct Git {
    program: OsString,
    search_path: OsString,
    identity: Identity,
    limits: GitLimits,
    secret_config: Vec<(String, SecretString)>,
}

impl fmt::Debug for Git {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.secret_config.iter().map(|(key, _secret)| key).collect();
        f.debug_struct("Git")
            .field("program", &self.program)
            .field("identity", &self.identity)
            .field("limits", &self.limits)
            .field("secret_config", &keys)
            .finish_non_exhaustive()
    }
}

/// Configuration of every call. Repository configuration is writable by agents (they share it through their
/// worktrees), so all that could start a program of theirs, or change what a command means, is set here.
const CONFIG: &[(&str, &str)] = &[
    ("advice.detachedHead", "false"),
    ("commit.gpgSign", "false"),
    ("core.askPass", ""),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.filesRefLockTimeout", "3000"),
    ("core.fsmonitor", "false"),
    // an effect follows a ref: the objects below it must be on the disk first
    ("core.fsync", "committed"),
    ("core.hooksPath", "/dev/null"),
    ("core.packedRefsTimeout", "5000"),
    ("core.pager", "cat"),
    ("core.quotePath", "false"),
    ("core.sshCommand", "ssh"),
    ("credential.helper", ""),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("init.defaultBranch", "main"),
    ("log.showSignature", "false"),
    ("maintenance.auto", "false"),
    ("merge.renames", "true"),
    ("protocol.ext.allow", "never"),
    ("push.recurseSubmodules", "no"),
    ("push.gpgSign", "false"),
    ("rebase.autoSquash", "false"),
    ("rebase.autoStash", "false"),
    ("rebase.backend", "merge"),
    ("rebase.updateRefs", "false"),
    ("rerere.enabled", "false"),
    ("submodule.recurse", "false"),
];

impl Git {
    /// Git as found on this search path, committing as this identity.
    #[must_use]
    pub fn new(search_path: impl Into<OsString>, identity: Identity) -> Self {
        Self {
            program: "git".into(),
            search_path: search_path.into(),
            identity,
            limits: GitLimits::default(),
            secret_config: Vec::new(),
        }
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: GitLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The same with a header (`Authorization: token …`) on each request to URLs that start with `url_prefix`.
    #[must_use]
    pub fn with_secret_header(mut self, url_prefix: &str, header: SecretString) -> Self {
        self.secret_config.push((format!("http.{url_prefix}.extraHeader"), header));
        self
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> GitLimits {
        self.limits
    }

    /// A call with `dir` as working directory; git does not look for a repository above it.
    pub(crate) fn call<'a>(&'a self, dir: &'a Path, args: &[&str]) -> GitCall<'a> {
        GitCall {
            git: self,
            dir,
            args: args.iter().map(OsString::from).collect(),
            env: BTreeMap::new(),
            stdin: None,
            timeout: self.limits.local,
        }
    }

    fn environment(&self, dir: &Path) -> BTreeMap<OsString, OsString> {
        let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
        let mut set = |key: &str, value: &str| env.insert(key.into(), value.into());
        for (key, value) in [
            ("GIT_ADVICE", "0"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_EDITOR", "true"),
            ("GIT_LITERAL_PATHSPECS", "1"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_SEQUENCE_EDITOR", "true"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("LC_ALL", "C"),
            ("TZ", "UTC"),
        ] {
            set(key, value);
        }
        for role in ["AUTHOR", "COMMITTER"] {
            set(&format!("GIT_{role}_NAME"), &self.identity.name);
            set(&format!("GIT_{role}_EMAIL"), &self.identity.email);
        }
        let secrets = self.secret_config.iter().map(|(key, value)| (key.as_str(), value.expose_secret()));
        let mut count = 0;
        for (key, value) in CONFIG.iter().copied().chain(secrets) {
            set(&format!("GIT_CONFIG_KEY_{count}"), key);
            set(&format!("GIT_CONFIG_VALUE_{count}"), value);
            count += 1;
        }
        set("GIT_CONFIG_COUNT", &count.to_string());
        env.insert("PATH".into(), self.search_path.clone());
        if let Some(parent) = dir.parent() {
            env.insert("GIT_CEILING_DIRECTORIES".into(), parent.into());
        }
        env
    }
}

/// One prepared call.
#[must_use]
pub(crate) struct GitCall<'a> {
    git: &'a Git,
    dir: &'a Path,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    stdin: Option<Vec<u8>>,
    timeout: Duration,
}

impl GitCall<'_> {
    pub(crate) fn path_arg(mut self, path: &Path) -> Self {
        self.args.push(path.into());
        self
    }

    pub(crate) fn args<'t>(mut self, args: impl IntoIterator<Item = &'t str>) -> Self {
        self.args.extend(args.into_iter().map(OsString::from));
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    pub(crate) fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = Some(bytes);
        self
    }

    /// Allows the time of a call that writes trees.
    pub(crate) fn tree(mut self) -> Self {
        self.timeout = self.git.limits.tree;
        self
    }

    /// Allows the time of a call that speaks to the forge.
    pub(crate) fn network(mut self) -> Self {
        self.timeout = self.git.limits.network;
        self
    }

    /// The subcommand, for messages: never an argument, which may be long.
    fn what(&self) -> String {
        self.args.first().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Runs it and gives whatever came out; only a call that came to no end is an error.
    pub(crate) async fn output(self) -> Result<GitOutput, GitError> {
        let what = self.what();
        let mut env = self.git.environment(self.dir);
        env.extend(self.env);
        let limit_bytes = self.git.limits.output_bytes;
        let output = short::run(ShortCommand {
            program: self.git.program.clone(),
            args: self.args,
            cwd: self.dir.to_owned(),
            env,
            stdin: self.stdin,
            timeout: self.timeout,
            max_output_bytes: limit_bytes,
        })
        .await
        .map_err(|error| GitError::from_run(&what, error))?;
        if output.truncated {
            return Err(GitError::TooLarge { what, limit_bytes });
        }
        Ok(GitOutput { what, output })
    }

    /// Runs it; anything but code 0 is an error. Gives standard output.
    pub(crate) async fn bytes(self) -> Result<Vec<u8>, GitError> {
        let done = self.output().await?;
        match done.code() {
            Some(0) => Ok(done.output.stdout),
            Some(_) | None => Err(done.error()),
        }
    }

    /// [`Self::bytes`] as text, without space around it. Bytes that are no UTF-8 are replaced.
    pub(crate) async fn text(self) -> Result<String, GitError> {
        let bytes = self.bytes().await?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// [`Self::bytes`] where nothing is to be read.
    pub(crate) async fn done(self) -> Result<(), GitError> {
        self.bytes().await.map(drop)
    }

    /// Runs a question: 0 is yes, 1 is no, the rest is an error.
    pub(crate) async fn yes(self) -> Result<bool, GitError> {
        let done = self.output().await?;
        match done.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            Some(_) | None => Err(done.error()),
        }
    }
}

/// A finished call.
pub(crate) struct GitOutput {
    what: String,
    output: ShortOutput,
}

impl GitOutput {
    /// The exit code; `None` when a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        match self.output.status {
            EndStatus::Code(code) => Some(code),
            EndStatus::Signal(_) => None,
        }
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub(crate) fn error(&self) -> GitError {
        GitError::from_output(&self.what, &self.output)
    }
}

/// The items of a `-z` answer.
pub(crate) fn zero_separated(bytes: &[u8]) -> Vec<String> {
    bytes
        .split(|byte| *byte == 0)
        .filter(|item| !item.is_empty())
        .map(|item| String::from_utf8_lossy(item).into_owned())
        .collect()
}
