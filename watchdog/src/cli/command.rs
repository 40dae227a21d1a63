//! `mute`, `unmute`, `ack`, `status`: commands typed on this host.
//!
//! Responsible for finding whom to tell: a running watchdog through its socket; when none runs, the
//! state file under the directory's lock, so that the next life knows. What a command means stands in
//! `commands`.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::{EXIT_FAILURE, EXIT_USAGE};
use crate::clock::{self, Stopwatch};
use crate::commands::{Command, Person, Reply, Way, apply, in_english};
use crate::config::WatchdogConfig;
use crate::control::client::{self, AskError};
use crate::control::{Ending, Request, Response};
use crate::store::{self, Store, StoreError};

/// A watchdog that starts or stops holds the directory without listening: longest wait for it.
const BETWEEN_PATIENCE: Duration = Duration::from_secs(5);

/// Distance of two looks meanwhile.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Does a command; `words` as the chat would take them.
pub(super) async fn run(
    config: &WatchdogConfig,
    words: &[String],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let split: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = match Command::parse(&split) {
        Ok(command) => command,
        Err(malformed) => {
            writeln!(err, "{malformed}")?;
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let dir = &config.state_dir;
    if let Err(why) = look_at(dir) {
        writeln!(err, "{why}")?;
        return Ok(ExitCode::from(EXIT_FAILURE));
    }
    let waited = Stopwatch::start();
    loop {
        match client::ask(dir, &Request::Command(words.to_vec())).await {
            Ok(Some(response)) => return tell(&response, out, err),
            Ok(None) => {}
            Err(error) => return refuse(&error, dir, err),
        }
        match without_watchdog(dir, &command) {
            Ok(reply) => {
                let note =
                    if reply.changed() { "the next one will know" } else { "this is the last one's state" };
                writeln!(err, "no watchdog runs on {}; {note}", dir.display())?;
                let refused = matches!(reply, Reply::Refused(_));
                let ending = if refused { Ending::Refused } else { Ending::Done };
                return tell(&Response { ending, text: in_english(&reply) }, out, err);
            }
            Err(StoreError::Held { holder, .. }) => {
                if waited.elapsed() > BETWEEN_PATIENCE {
                    writeln!(
                        err,
                        "{}: its lock is held, and nobody listens there; {holder}; the log of a watchdog says why",
                        dir.display()
                    )?;
                    return Ok(ExitCode::from(EXIT_FAILURE));
                }
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            Err(error) => return refuse(&error, dir, err),
        }
    }
}

/// Whether there is a directory to speak of.
fn look_at(dir: &Path) -> Result<(), String> {
    let shown = dir.display();
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(format!("{shown} is no directory; see WATCHDOG_STATE_DIR")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
            "there is no state directory {shown}: no watchdog has run with these settings; see WATCHDOG_STATE_DIR"
        )),
        Err(error) => Err(format!("{shown} cannot be looked at: {error}")),
    }
}

/// The state of a directory that nobody holds, changed and saved.
fn without_watchdog(dir: &Path, command: &Command) -> Result<Reply, StoreError> {
    let now_ms = clock::wall_ms();
    let (store, mut state) = Store::open_existing(dir)?;
    let uid = rustix::process::getuid().as_raw();
    let person = Person::new(Way::CommandLine, &format!("uid {uid}"));
    let reply = apply(&mut state, command, now_ms, &person);
    if reply.changed() {
        store.save(&state, now_ms)?;
    }
    Ok(reply)
}

fn tell(response: &Response, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let code = match response.ending {
        Ending::Done => {
            writeln!(out, "{}", response.text)?;
            return Ok(ExitCode::SUCCESS);
        }
        Ending::Malformed => EXIT_USAGE,
        Ending::Refused | Ending::Forbidden | Ending::Unsaved => EXIT_FAILURE,
    };
    writeln!(err, "{}", response.text)?;
    Ok(ExitCode::from(code))
}

fn refuse(
    error: &(dyn std::error::Error + 'static),
    dir: &Path,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    writeln!(err, "failed to {error}{cause}")?;
    let denied = match (error.downcast_ref::<AskError>(), error.downcast_ref::<StoreError>()) {
        (Some(AskError::Denied { .. }), _) => true,
        (_, Some(StoreError::Io { source, .. })) => source.kind() == io::ErrorKind::PermissionDenied,
        (_, Some(StoreError::Unreadable { .. })) => store::peek(dir).is_err(),
        _ => false,
    };
    if denied && let Ok(found) = fs::metadata(dir) {
        writeln!(err, "the directory belongs to uid {}: only that user and root may", found.uid())?;
    }
    Ok(ExitCode::from(EXIT_FAILURE))
}
