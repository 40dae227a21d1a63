//! Where the texts come from: variables, and the files that some of them name.
//!
//! Responsible for reaching them; does not interpret any. The process environment is read in one
//! function, once; everything else works from the copy, and tests from a map.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest file a secret is read from, in bytes.
pub(crate) const SECRET_FILE_MAX_BYTES: u64 = 65_536;

/// Variables by name, and how to read files.
pub struct Strings {
    variables: BTreeMap<String, OsString>,
    files: Files,
}

enum Files {
    Disk,
    Held(BTreeMap<PathBuf, String>),
}

impl Strings {
    /// The environment of this process, copied now. For `main` alone.
    #[must_use]
    pub fn from_process() -> Self {
        let variables =
            std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value)).collect();
        Self { variables, files: Files::Disk }
    }

    /// These variables; files are those of [`Strings::with_file`] only.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let variables =
            pairs.into_iter().map(|(name, value)| (name.into(), OsString::from(value.into()))).collect();
        Self { variables, files: Files::Held(BTreeMap::new()) }
    }

    /// These variables as the system might hold them, text or not.
    #[cfg(test)]
    pub(crate) fn from_raw<const N: usize>(pairs: [(&str, OsString); N]) -> Self {
        let variables = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { variables, files: Files::Held(BTreeMap::new()) }
    }

    /// The same with a file that exists nowhere else.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let mut held = match self.files {
            Files::Disk => BTreeMap::new(),
            Files::Held(held) => held,
        };
        held.insert(path.into(), text.into());
        self.files = Files::Held(held);
        self
    }

    /// The same with files read from disk.
    #[must_use]
    pub fn with_disk(mut self) -> Self {
        self.files = Files::Disk;
        self
    }

    /// Whether a variable is there and not empty (`NO_COLOR` asks for no more).
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.variables.get(name).is_some_and(|value| !value.is_empty())
    }

    /// Whether a variable has this value (`TERM=dumb`).
    #[must_use]
    pub fn says(&self, name: &str, value: &str) -> bool {
        self.variables.get(name).is_some_and(|given| given == value)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// The value, or that it is no text.
    pub(crate) fn get(&self, name: &str) -> Option<Result<&str, NotText>> {
        self.variables.get(name).map(|value| value.to_str().ok_or(NotText))
    }

    /// What is in a file of at most `max_bytes`, or in words why not.
    pub(crate) fn file(&self, path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
        match &self.files {
            Files::Held(held) => {
                held.get(path).map(|text| text.as_bytes().to_vec()).ok_or_else(|| "no such file".to_owned())
            }
            Files::Disk => read_bounded(path, max_bytes),
        }
    }

    /// The text of a secret's file, or in words why not.
    pub(crate) fn secret_file(&self, path: &Path) -> Result<String, String> {
        let bytes = self.file(path, SECRET_FILE_MAX_BYTES)?;
        String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
    }
}

/// How long a pipe is given to bring a secret.
const PIPE_PATIENCE: Duration = Duration::from_secs(5);

fn read_bounded(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    // a pipe's opening waits for its writer, who may never come
    if std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
        let (done, read) = std::sync::mpsc::sync_channel(1);
        let path = path.to_owned();
        let reader = std::thread::spawn(move || done.send(read_whole(&path, max_bytes)));
        let Ok(whole) = read.recv_timeout(PIPE_PATIENCE) else {
            return Err(format!(
                "it is a pipe, and nobody wrote it to its end within {} s",
                PIPE_PATIENCE.as_secs()
            ));
        };
        // whoever reads settings may rely on being alone again
        drop(reader.join());
        return whole;
    }
    read_whole(path, max_bytes)
}

fn read_whole(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if u64::try_from(read).is_ok_and(|bytes| bytes <= max_bytes) {
        Ok(bytes)
    } else {
        Err(format!("larger than {max_bytes} bytes"))
    }
}

/// A variable's value is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotText;

impl fmt::Debug for Strings {
    /// Names only: among the values are secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Strings").field("names", &self.variables.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;

    fn pipe() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        (folder, path)
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let (_folder, path) = pipe();
        let written = path.clone();
        let writer = std::thread::spawn(move || std::fs::write(written, "swordfish"));
        assert_eq!(read_bounded(&path, 64), Ok(b"swordfish".to_vec()));
        writer.join().unwrap().unwrap();
    }

    #[test]
    fn a_pipe_that_nobody_writes_into_is_not_waited_for_for_ever() {
        let (_folder, path) = pipe();
        let why = read_bounded(&path, 64).unwrap_err();
        assert!(why.contains("it is a pipe"), "{why}");
    }
}
