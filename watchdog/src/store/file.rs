//! Reading the state file without trusting what lies at its path.
//!
//! Responsible for telling three things apart: no file, a file that could not be looked at, and a
//! file that holds no state. Only the last may be set aside: what could not be looked at may be a
//! good state. Invariant: no open here waits for anybody, whatever stands at the path.

use std::borrow::Cow;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Durable, FileIn, VERSION};

/// Largest state file read (64 MiB): a larger one is not ours.
const FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Largest time in a state, in milliseconds either way (2^53), and largest number that is counted on
/// from: real ones are far below, and a sum of some of them cannot overflow. Other numbers are only
/// shown or compared and come from outside: a run's cookie is any number up to 2^64.
const NUMBER_MAX: u64 = 1 << 53;

/// What is counted on from, beside times.
const COUNTED: [&str; 7] = ["dropped", "id", "last_case_id", "last_seq", "next_update", "samples", "seq"];

/// Whether numbers below this key are bounded.
fn is_bounded(key: &str) -> bool {
    key.contains("_ms") || COUNTED.contains(&key)
}

/// Why there is no state from a file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// It could not be looked at: it may hold a good state.
    NotLooked(String),
    /// It was read whole and holds no state of ours.
    NoState(String),
}

impl Unread {
    pub(super) fn reason(self) -> String {
        match self {
            Self::NotLooked(reason) | Self::NoState(reason) => reason,
        }
    }
}

/// Opens a regular file for reading. A pipe, a device or a link in its place is refused: opening a
/// pipe would wait for a writer, and a save would replace the link and not what it points to.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    refuse_strange(OpenOptions::new().read(true).custom_flags(careful()).open(path)?)
}

/// Makes a file or empties the one that is there, under the same rule.
pub(super) fn create_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).custom_flags(careful()).open(path)?;
    let file = refuse_strange(file)?;
    file.set_len(0)?;
    Ok(file)
}

pub(super) fn careful() -> i32 {
    // the bits are the kernel's own
    (OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC).bits().cast_signed()
}

pub(super) fn refuse_strange(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

pub(super) fn read_state(path: &Path) -> Result<Option<Durable>, Unread> {
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unread::NotLooked(format!("cannot open it: {error}"))),
    };
    let mut text = Vec::new();
    file.take(FILE_MAX_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|error| Unread::NotLooked(format!("cannot read it: {error}")))?;
    parse(&text).map(Some).map_err(Unread::NoState)
}

fn parse(text: &[u8]) -> Result<Durable, String> {
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(format!("it is larger than {FILE_MAX_BYTES} bytes"));
    }
    let no_state = |error: serde_json::Error| format!("it is no state: {error}");
    let mut document = serde_json::Deserializer::from_slice(text);
    Sane { bounded: false }.deserialize(&mut document).map_err(no_state)?;
    let form: FileIn = serde_json::from_slice(text).map_err(no_state)?;
    match form.version {
        VERSION => Ok(form.state),
        other => Err(format!("it has version {other}, this program writes {VERSION}")),
    }
}

/// Any document whose times are such as we write; keeps nothing of it.
#[derive(Clone, Copy)]
struct Sane {
    bounded: bool,
}

impl<'de> DeserializeSeed<'de> for Sane {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sane {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a document without absurd numbers")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        match !self.bounded || number <= NUMBER_MAX {
            true => Ok(()),
            false => Err(E::custom(format_args!("absurd number {number}"))),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        match !self.bounded || number.unsigned_abs() <= NUMBER_MAX {
            true => Ok(()),
            false => Err(E::custom(format_args!("absurd number {number}"))),
        }
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<(), A::Error> {
        while let Some(key) = pairs.next_key::<Cow<'de, str>>()? {
            pairs.next_value_seed(Self { bounded: self.bounded || is_bounded(&key) })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(at_ms: &str) -> String {
        let state = serde_json::to_value(Durable::default()).unwrap();
        let row = format!(r#"{{"at_ms":{at_ms},"way":"command_line","by":"me","what":"it"}}"#);
        let row: serde_json::Value = serde_json::from_str(&row).unwrap();
        let mut form = serde_json::json!({ "version": VERSION, "saved_at_ms": 1, "state": state });
        form["state"]["commands"] = serde_json::json!([row]);
        form.to_string()
    }

    #[test]
    fn absurd_numbers_are_no_state_and_usual_ones_are() {
        assert_eq!(parse(form("1700000000000").as_bytes()).unwrap().commands.len(), 1);
        for absurd in ["-9223372036854775808", "9223372036854775807", "9007199254740993"] {
            let refused = parse(form(absurd).as_bytes()).unwrap_err();
            assert!(refused.contains("absurd number"), "{absurd}: {refused}");
        }
    }

    /// One seen run was enough to have the whole state set aside at the next start: a core draws cookies up to 2^63.
    #[test]
    fn a_number_from_outside_may_be_any_and_costs_no_state() {
        for cookie in [7_422_847_562_621_305_060, u64::MAX] {
            let mut document =
                serde_json::json!({ "version": VERSION, "saved_at_ms": 1, "state": Durable::default() });
            let run = serde_json::json!([cookie, { "samples": [[1, 2]], "credited_cpu_ms": 1, "last_cpu_ms": 1,
                "last_seen_ms": 1, "gone_since_ms": null }]);
            document["state"]["memory"]["runs"] = serde_json::json!([run]);
            let state = parse(document.to_string().as_bytes()).unwrap();
            // and what is written of it is read again
            let form = super::super::FileOut { version: VERSION, saved_at_ms: 1, state: &state };
            let again = parse(&serde_json::to_vec(&form).unwrap()).unwrap();
            assert_eq!(again, state);
            assert!(serde_json::to_string(&again).unwrap().contains(&cookie.to_string()));
            document["state"]["memory"]["runs"][0][1]["samples"][0][0] = serde_json::json!(cookie);
            assert!(parse(document.to_string().as_bytes()).unwrap_err().contains("absurd number"));
        }
    }

    #[test]
    fn what_is_no_regular_file_was_not_looked_at_and_opening_it_waits_for_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        std::os::unix::fs::symlink(at("elsewhere"), at("link")).unwrap();
        for name in ["pipe", "directory", "link"] {
            let read = read_state(&at(name));
            assert!(matches!(&read, Err(Unread::NotLooked(_))), "{name}: {read:?}");
        }
        assert!(create_regular(&at("pipe")).is_err());
        assert!(create_regular(&at("link")).is_err());
        assert_eq!(read_state(&at("nothing")), Ok(None));
    }
}
