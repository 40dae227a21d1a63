//! One line of strace's output, taken apart.
//!
//! Knows the form that `-ff -yy` writes: a call on one line, descriptors with what they are in angle brackets. It does
//! not know what a call means. What it cannot take apart is an error, never skipped.

use std::path::{Path, PathBuf};

/// A system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its arguments as strace shows them.
    pub arguments: Vec<String>,
    /// What it returned, as strace shows it.
    pub result: String,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A call.
    Call(Call),
    /// A signal that arrived, by its name.
    Signal(String),
    /// How the thread ended.
    End(String),
}

/// Takes a line apart.
///
/// # Errors
/// The line, when it has another form.
pub fn parse(line: &str) -> Result<Line, String> {
    let strange = || format!("strange line: {line}");
    if let Some(rest) = line.strip_prefix("--- ") {
        let name = rest.split(' ').next().unwrap_or_default();
        return if name.starts_with("SIG") { Ok(Line::Signal(name.to_owned())) } else { Err(strange()) };
    }
    if let Some(rest) = line.strip_prefix("+++ ") {
        return Ok(Line::End(rest.trim_end_matches(" +++").to_owned()));
    }
    let (name, rest) = line.split_once('(').ok_or_else(strange)?;
    if name.is_empty() || !name.bytes().all(|sign| sign.is_ascii_alphanumeric() || sign == b'_') {
        return Err(strange());
    }
    // a call in which its thread ended, with its program: what it was given is known, and what it came to is not
    if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
        let begun = format!("{begun})");
        let (arguments, _) = split(&begun).filter(|(_, rest)| rest.is_empty()).ok_or_else(strange)?;
        return Ok(Line::Call(Call { name: name.to_owned(), arguments, result: "?".to_owned() }));
    }
    let (arguments, rest) = split(rest).ok_or_else(strange)?;
    let result = rest.trim_start().strip_prefix("= ").ok_or_else(strange)?;
    Ok(Line::Call(Call { name: name.to_owned(), arguments, result: result.to_owned() }))
}

/// Arguments up to the closing bracket, and what stands behind it.
fn split(text: &str) -> Option<(Vec<String>, &str)> {
    let mut arguments = Vec::new();
    let (mut depth, mut from, mut in_string, mut in_descriptor) = (0_usize, 0, false, false);
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (before, sign) = (at.checked_sub(1).map(|before| bytes[before]), bytes[at]);
        match sign {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            // "13</etc/hosts>", but not "1<<CAP_KILL"; "->" stands inside the description of a connection
            b'<' if before.is_some_and(|before| before.is_ascii_digit() || before == b'D')
                && bytes.get(at + 1) != Some(&b'<') =>
            {
                in_descriptor = true;
            }
            b'>' if in_descriptor && before != Some(b'-') => in_descriptor = false,
            _ if in_descriptor => {}
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => {
                let last = text.get(from..at)?.trim();
                if !last.is_empty() {
                    arguments.push(last.to_owned());
                }
                return Some((arguments, text.get(at + 1..)?));
            }
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                arguments.push(text.get(from..at)?.trim().to_owned());
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

impl Call {
    /// An argument, empty when there are not so many.
    #[must_use]
    pub fn argument(&self, at: usize) -> &str {
        self.arguments.get(at).map_or("", String::as_str)
    }

    /// Whether it failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.result.starts_with('-')
    }
}

/// What a descriptor is: `/etc/hosts` of `13</etc/hosts>`.
#[must_use]
pub fn described(descriptor: &str) -> Option<&str> {
    let (number, rest) = descriptor.split_once('<')?;
    let is_descriptor = number == "AT_FDCWD" || number.bytes().all(|sign| sign.is_ascii_digit());
    rest.strip_suffix('>').filter(|_| is_descriptor && !number.is_empty())
}

/// The text between quotation marks; `None` for an address or a null pointer, or when strace cut it.
#[must_use]
pub fn quoted(argument: &str) -> Option<&str> {
    argument.strip_prefix('"')?.strip_suffix('"')
}

/// An absolute path without `.` and `..`, from a path and the folder that it is relative to.
#[must_use]
pub fn absolute(base: Option<&str>, path: &str) -> Option<PathBuf> {
    let joined = if path.starts_with('/') { PathBuf::from(path) } else { Path::new(base?).join(path) };
    let mut plain = PathBuf::new();
    for part in joined.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            std::path::Component::CurDir => {}
            std::path::Component::RootDir
            | std::path::Component::Prefix(_)
            | std::path::Component::Normal(_) => plain.push(part),
        }
    }
    plain.is_absolute().then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Call {
        match parse(line).unwrap() {
            Line::Call(call) => call,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_is_taken_apart_at_its_own_commas() {
        for (line, name, arguments, result) in [
            (
                r#"openat(12</proc>, "1/stat", O_RDONLY|O_CLOEXEC) = 13</proc/1/stat>"#,
                "openat",
                &["12</proc>", r#""1/stat""#, "O_RDONLY|O_CLOEXEC"][..],
                "13</proc/1/stat>",
            ),
            (
                r#"writev(13<TCP:[127.0.0.1:1->127.0.0.1:2]>, [{iov_base="GET /, (\"\r\n", iov_len=9}], 1) = 9"#,
                "writev",
                &["13<TCP:[127.0.0.1:1->127.0.0.1:2]>", r#"[{iov_base="GET /, (\"\r\n", iov_len=9}]"#, "1"],
                "9",
            ),
            (
                "capset({version=3, pid=7}, {effective=1<<CAP_CHOWN|1<<CAP_KILL, permitted=0}) = 0",
                "capset",
                &["{version=3, pid=7}", "{effective=1<<CAP_CHOWN|1<<CAP_KILL, permitted=0}"],
                "0",
            ),
            ("getpid()                                = 7", "getpid", &[], "7"),
            ("exit_group(0)                           = ?", "exit_group", &["0"], "?"),
            ("exit_group(0 <unfinished ...>", "exit_group", &["0"], "?"),
            ("fcntl(8</a>, F_GETFD <unfinished ...>", "fcntl", &["8</a>", "F_GETFD"], "?"),
            (
                "futex(0x7f, FUTEX_WAIT, 1, NULL <unfinished ...>) = ?",
                "futex",
                &["0x7f", "FUTEX_WAIT", "1", "NULL <unfinished ...>"],
                "?",
            ),
        ] {
            let call = call(line);
            assert_eq!((call.name.as_str(), call.result.as_str()), (name, result));
            assert_eq!(call.arguments, arguments, "{line}");
        }
    }

    #[test]
    fn signals_and_ends_are_told_and_nothing_is_skipped() {
        let signal = "--- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=1, si_uid=0} ---";
        assert_eq!(parse(signal), Ok(Line::Signal("SIGTERM".to_owned())));
        assert_eq!(parse("+++ exited with 0 +++"), Ok(Line::End("exited with 0".to_owned())));
        for strange in [
            "",
            "strace: Process 7 attached",
            "openat(3",
            "openat(3, \"/etc/h <unfinished ...>",
            "<unfinished ...>",
            "open at() = 3",
            "getpid() 7",
            "--- x ---",
            r#"write(2</a>b, c (d>, "x"..., 80) = 80"#,
        ] {
            assert!(parse(strange).is_err(), "{strange:?}");
        }
    }

    #[test]
    fn paths_are_made_absolute_and_plain() {
        let path = |base, path| absolute(base, path).map(|path| path.display().to_string());
        assert_eq!(path(Some("/proc"), "7/stat").as_deref(), Some("/proc/7/stat"));
        assert_eq!(path(Some("/a/b"), "../../etc/./x").as_deref(), Some("/etc/x"));
        assert_eq!(path(Some("/a"), "/b/../c").as_deref(), Some("/c"));
        assert_eq!(path(None, "relative"), None);
        assert_eq!(described("13</etc/hosts>"), Some("/etc/hosts"));
        assert_eq!(described("AT_FDCWD</>"), Some("/"));
        assert_eq!(described("x</etc/hosts>"), None);
        assert_eq!(described("-1 ENOENT (No such file)"), None);
        assert_eq!(quoted("\"a\""), Some("a"));
        assert_eq!(quoted("\"a\"..."), None);
        assert_eq!(quoted("NULL"), None);
    }
}
