//! Reading the state file without trusting what lies at its path.
//!
//! Responsible for telling three things apart: no file, a file that could not be looked at, and a
//! file that holds no state. Only the last may be set aside: what could not be looked at may be a
//! good state. Invariant: no open here waits for anybody, whatever stands at the path.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Durable, FileIn, VERSION};

/// Largest state file read (64 MiB): a larger one is not ours.
const FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Largest whole number in a state, either way (2^53): times in milliseconds, counts and numbers of
/// chats are far below, and a sum of some of them cannot overflow.
const NUMBER_MAX: u64 = 1 << 53;

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
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
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
    serde_json::from_slice::<Sane>(text).map_err(no_state)?;
    let form: FileIn = serde_json::from_slice(text).map_err(no_state)?;
    match form.version {
        VERSION => Ok(form.state),
        other => Err(format!("it has version {other}, this program writes {VERSION}")),
    }
}

/// Any document whose whole numbers are such as we write; keeps nothing of it.
struct Sane;

impl<'de> Deserialize<'de> for Sane {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SaneVisitor)
    }
}

struct SaneVisitor;

impl<'de> Visitor<'de> for SaneVisitor {
    type Value = Sane;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a document without absurd numbers")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Sane, E> {
        match number <= NUMBER_MAX {
            true => Ok(Sane),
            false => Err(E::custom(format_args!("absurd number {number}"))),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Sane, E> {
        match number.unsigned_abs() <= NUMBER_MAX {
            true => Ok(Sane),
            false => Err(E::custom(format_args!("absurd number {number}"))),
        }
    }

    fn visit_f64<E>(self, _: f64) -> Result<Sane, E> {
        Ok(Sane)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Sane, E> {
        Ok(Sane)
    }

    fn visit_str<E>(self, _: &str) -> Result<Sane, E> {
        Ok(Sane)
    }

    fn visit_unit<E>(self) -> Result<Sane, E> {
        Ok(Sane)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sane, A::Error> {
        while items.next_element::<Sane>()?.is_some() {}
        Ok(Sane)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Sane, A::Error> {
        while pairs.next_key::<IgnoredAny>()?.is_some() {
            pairs.next_value::<Sane>()?;
        }
        Ok(Sane)
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
