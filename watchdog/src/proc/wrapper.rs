//! Programs that start another program and wait for it: what stands behind them on their command line.
//!
//! Responsible for one step, `timeout 60 uv run pytest` → `uv run pytest`. Does not judge what it finds and never
//! looks at a file. A wrapper that takes its command from elsewhere (`xargs`, `make`, `docker exec`) is not seen
//! through: the command is not on its line, or does not run below it.
//!
//! Invariant: an option that is not known is taken for a flag without a value. The worst that follows is a command
//! that is not recognised here, and its own process is still matched by itself.

mod known;

use std::collections::VecDeque;

use self::known::{
    Command, DEBUGGERS, INTERPRETERS, LOADER_VALUED, MODULE_WRAPPERS, PACKAGES, RUNUSER_VALUED, SHELL_VALUED,
    SHELLS, SYSTEMD_RUN_VALUED, WRAPPERS, Wrapper,
};
use super::shape::{Words, basename};

/// What a step through a command line found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inner {
    /// Another command line.
    Command(Words),
    /// A Python module, from `-m`.
    Module(Vec<u8>, Words),
    /// A script and its arguments.
    Script(Words),
    /// Source text, from `-c`.
    Code(Vec<u8>),
}

/// One step inwards; `None` when the first word is no wrapper, or nothing stands behind it.
pub(super) fn step(words: &Words) -> Option<Inner> {
    let program = basename(words.first()?);
    let name = std::str::from_utf8(program).ok()?;
    let rest = words.get(1..)?;
    if is_python(name) {
        return python(rest);
    }
    if SHELLS.contains(&name) {
        return shell(rest);
    }
    if let Some((_, valued, code)) = INTERPRETERS.iter().find(|(interpreter, ..)| *interpreter == name) {
        let script = skip_options(rest, valued);
        let options = rest.get(..rest.len() - script.len())?;
        let given = |option: &Vec<u8>| code.iter().any(|code| is_given(option, code));
        return if options.iter().any(given) { None } else { nonempty(script).map(Inner::Script) };
    }
    if name == "ld.so" || name.starts_with("ld-linux") || name.starts_with("ld-musl") {
        return nonempty(skip_options(rest, LOADER_VALUED)).map(Inner::Command);
    }
    if let Some((_, markers)) = DEBUGGERS.iter().find(|(debugger, _)| *debugger == name) {
        let is_marker = |word: &Vec<u8>| markers.iter().any(|marker| marker.as_bytes() == word);
        let at = rest.iter().position(is_marker)?;
        return nonempty(rest.get(at + 1..)?).map(Inner::Command);
    }
    // without a scope the command runs below the service manager, not below this one
    if name == "systemd-run" {
        let options = rest.len() - skip_options(rest, SYSTEMD_RUN_VALUED).len();
        rest.get(..options)?.iter().find(|word| *word == b"--scope")?;
    }
    // without `-u` it runs a shell, and its first plain word is a user
    if name == "runuser" {
        let options = rest.len() - skip_options(rest, RUNUSER_VALUED).len();
        let given = |word: &Vec<u8>| *word == b"-u" || *word == b"--user" || word.starts_with(b"--user=");
        rest.get(..options)?.iter().find(|word| given(word))?;
    }
    if name == "env" {
        return env(rest).map(Inner::Command);
    }
    by_name(name, rest)
}

fn by_name(name: &str, rest: &[Vec<u8>]) -> Option<Inner> {
    let mut named = WRAPPERS.iter().filter(|wrapper| wrapper.names.contains(&name));
    named.find_map(|wrapper| unwrap_one(wrapper, rest))
}

/// What a module that runs another one was told to run.
pub(super) fn through_module(module: &[u8], arguments: &Words) -> Option<Inner> {
    let module = std::str::from_utf8(module).ok()?;
    if PACKAGES.contains(&module) {
        return by_name(module, arguments);
    }
    let (_, subcommand, valued) = MODULE_WRAPPERS.iter().find(|(name, ..)| *name == module)?;
    let rest = behind_subcommand(arguments, subcommand, valued)?;
    script_or_module(rest, valued)
}

/// `python`, `python3`, `python3.13t`, `pypy3`.
pub(super) fn is_python(name: &str) -> bool {
    let version = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"));
    version.is_some_and(|version| {
        version.trim_end_matches('t').bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

fn unwrap_one(wrapper: &Wrapper, rest: &[Vec<u8>]) -> Option<Inner> {
    let rest = behind_subcommand(rest, wrapper.subcommand, wrapper.valued)?;
    match wrapper.command {
        Command::ScriptOrModule => return script_or_module(rest, wrapper.valued),
        Command::ProgramOrModule => {
            if let Some(Inner::Module(module, arguments)) = script_or_module(rest, wrapper.valued) {
                return Some(Inner::Module(module, arguments));
            }
        }
        Command::Program | Command::AfterAssignments | Command::Qualified | Command::ProgramOrText => {}
    }
    let mut rest = skip_options(rest, wrapper.valued).get(wrapper.operands..)?;
    rest = rest.strip_prefix(&[b"--".to_vec()]).unwrap_or(rest);
    if wrapper.command == Command::ProgramOrText
        && let [flag, text, ..] = rest
        && (flag == b"-c" || flag == b"--command")
    {
        return simple_command(text).map(Inner::Command);
    }
    if wrapper.command == Command::AfterAssignments {
        rest = behind_assignments(rest);
    }
    let mut command = nonempty(rest)?;
    if wrapper.command == Command::Qualified
        && let Some(first) = command.first_mut()
        && let Some(colon) = first.iter().position(|byte| *byte == b':')
    {
        first.drain(..=colon);
    }
    Some(Inner::Command(command))
}

fn behind_subcommand<'words>(
    words: &'words [Vec<u8>],
    subcommand: &[&str],
    valued: &[&str],
) -> Option<&'words [Vec<u8>]> {
    let mut rest = words;
    for wanted in subcommand {
        let (first, behind) = skip_options(rest, valued).split_first()?;
        if first != wanted.as_bytes() {
            return None;
        }
        rest = behind;
    }
    Some(rest)
}

/// `[options] script …` or `[options] -m module …`.
fn script_or_module(words: &[Vec<u8>], valued: &[&str]) -> Option<Inner> {
    let mut rest = words;
    while let Some((first, behind)) = rest.split_first() {
        if first == b"-m" || first == b"--module" {
            let (module, arguments) = behind.split_first()?;
            return Some(Inner::Module(module.clone(), arguments.to_vec()));
        }
        if !is_option(first) {
            return Some(Inner::Script(rest.to_vec()));
        }
        rest = if takes_next(first, valued) { behind.get(1..)? } else { behind };
    }
    None
}

/// The interpreter's own options: `python -X dev -W error -uB -m pytest`.
fn python(words: &[Vec<u8>]) -> Option<Inner> {
    let mut rest = words;
    while let Some((first, behind)) = rest.split_first() {
        if !is_option(first) {
            // a lone `-` reads the program from standard input
            return if first == b"-" { None } else { Some(Inner::Script(rest.to_vec())) };
        }
        if first.starts_with(b"--") {
            rest = if first == b"--check-hash-based-pycs" { behind.get(1..)? } else { behind };
            continue;
        }
        // a cluster: letters up to the first that takes a value, which is the rest of the word or the next word
        let valued = first.iter().skip(1).position(|letter| b"cmWX".contains(letter));
        let Some(at) = valued.map(|position| position + 1) else {
            rest = behind;
            continue;
        };
        let attached = first.get(at + 1..).filter(|value| !value.is_empty());
        let (value, arguments) = match attached {
            Some(value) => (value.to_vec(), behind),
            None => behind.split_first().map(|(value, arguments)| (value.clone(), arguments))?,
        };
        match first.get(at) {
            Some(b'c') => return Some(Inner::Code(value)),
            Some(b'm') => return Some(Inner::Module(value, arguments.to_vec())),
            Some(_) | None => rest = arguments,
        }
    }
    None
}

/// `sh -lc "simple command"`, or a script.
fn shell(words: &[Vec<u8>]) -> Option<Inner> {
    let mut rest = words;
    let mut text_follows = false;
    while let Some((first, behind)) = rest.split_first() {
        if !is_option(first) && !first.starts_with(b"+") {
            break;
        }
        if !first.starts_with(b"--") && first.starts_with(b"-") && first.contains(&b'c') {
            text_follows = true;
        }
        // its commands come by its standard input, and words are what these are given
        if !first.starts_with(b"--") && first.starts_with(b"-") && first.contains(&b's') {
            return None;
        }
        let cluster_takes_next = !first.starts_with(b"--") && first.last() == Some(&b'o');
        rest = if cluster_takes_next || takes_next(first, SHELL_VALUED) { behind.get(1..)? } else { behind };
        if first == b"--" {
            break;
        }
    }
    if text_follows {
        return simple_command(rest.first()?).map(Inner::Command);
    }
    nonempty(rest).map(Inner::Script)
}

/// `env [options] [-] [A=B …] command …` (env(1)): short options in clusters, and `-S`, whose text stands for words
/// that may be options again.
fn env(words: &[Vec<u8>]) -> Option<Words> {
    let mut rest: VecDeque<Vec<u8>> = words.iter().cloned().collect();
    while rest.front().is_some_and(|word| word.first() == Some(&b'-')) {
        let word = rest.pop_front()?;
        if word == b"--" {
            break;
        }
        if let Some(long) = word.strip_prefix(b"--") {
            if let Some(text) = long.strip_prefix(b"split-string=") {
                insert(&mut rest, text)?;
            } else if long == b"split-string" {
                let text = rest.pop_front()?;
                insert(&mut rest, &text)?;
            } else if [&b"unset"[..], b"chdir", b"argv0"].contains(&long) {
                rest.pop_front();
            }
            continue;
        }
        // a lone `-` is `-i`, and has no letters
        let Some(at) = word.iter().skip(1).position(|letter| b"uCaS".contains(letter)).map(|at| at + 1)
        else {
            continue;
        };
        let value = match word.get(at + 1..) {
            Some(attached) if !attached.is_empty() => attached.to_vec(),
            Some(_) | None => rest.pop_front()?,
        };
        if word.get(at) == Some(&b'S') {
            insert(&mut rest, &value)?;
        }
    }
    nonempty(behind_assignments(rest.make_contiguous()))
}

/// Puts the words of a text before the others.
fn insert(rest: &mut VecDeque<Vec<u8>>, text: &[u8]) -> Option<()> {
    split(text)?.into_iter().rev().for_each(|word| rest.push_front(word));
    Some(())
}

fn behind_assignments(words: &[Vec<u8>]) -> &[Vec<u8>] {
    let assignments = words.iter().take_while(|word| is_assignment(word)).count();
    words.get(assignments..).unwrap_or_default()
}

/// The words of a command line that holds one plain command; `None` when the shell would do more than start it.
fn simple_command(text: &[u8]) -> Option<Words> {
    nonempty(behind_assignments(&split(text)?))
}

/// Words as a shell splits a plain command; `None` when there is more to it.
fn split(text: &[u8]) -> Option<Words> {
    let mut words: Words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = text.trim_ascii().iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match bytes.next()? {
                        b'\'' => break,
                        other => word.push(other),
                    }
                }
            }
            b'"' => {
                let word = word.get_or_insert_default();
                loop {
                    match bytes.next()? {
                        b'"' => break,
                        b'\\' => word.push(bytes.next()?),
                        b'`' => return None,
                        other => word.push(other),
                    }
                }
            }
            b'\\' => word.get_or_insert_default().push(bytes.next()?),
            b' ' | b'\t' => words.extend(word.take()),
            // lists, pipes, subshells: more than one command, and the shell stays their parent
            b';' | b'|' | b'&' | b'(' | b')' | b'`' | b'\n' => return None,
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

fn skip_options<'words>(words: &'words [Vec<u8>], valued: &[&str]) -> &'words [Vec<u8>] {
    let mut rest = words;
    while let Some((first, behind)) = rest.split_first() {
        if first == b"--" {
            return behind;
        }
        if !is_option(first) {
            break;
        }
        rest = if takes_next(first, valued) { behind.get(1..).unwrap_or_default() } else { behind };
    }
    rest
}

/// Whether the value of an option is the next word. Of short options in one word the first that takes a value has the rest
/// of the word for it, or the next one where there is no rest.
fn takes_next(option: &[u8], valued: &[&str]) -> bool {
    if valued.iter().any(|known| known.as_bytes() == option) {
        return true;
    }
    let [b'-', letters @ ..] = option else { return false };
    let valued_letter = |letter: &u8| valued.iter().any(|known| known.as_bytes() == [b'-', *letter]);
    let flags_only = letters.len() > 1 && letters.iter().all(u8::is_ascii_alphabetic);
    flags_only && letters.iter().position(valued_letter) == Some(letters.len() - 1)
}

/// `-e`, `-eCODE`, `--eval`, `--eval=CODE`.
fn is_given(option: &[u8], code: &str) -> bool {
    let rest = option.strip_prefix(code.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || !code.starts_with("--") || rest.starts_with(b"="))
}

fn is_option(word: &[u8]) -> bool {
    word.len() > 1 && word.first() == Some(&b'-')
}

fn is_assignment(word: &[u8]) -> bool {
    word.iter().position(|byte| *byte == b'=').is_some_and(|at| {
        at > 0
            && word.iter().take(at).all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            && !word.first().is_some_and(u8::is_ascii_digit)
    })
}

fn nonempty(words: &[Vec<u8>]) -> Option<Words> {
    if words.first().is_some_and(|first| !first.is_empty()) { Some(words.to_vec()) } else { None }
}
