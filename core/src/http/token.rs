//! The operator's token when no setting gives one: made at random, kept in a file that only its
//! owner can read.
//!
//! The file appears whole or not at all, and never replaces one that is there.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use orch_settings::SecretString;

use crate::config::HttpConfig;

/// Name of the token file in the data directory.
pub const API_TOKEN_FILE: &str = "api-token";

/// Random bytes of a token that is made here.
const TOKEN_BYTES: usize = 32;
/// A token file is not read beyond this.
const FILE_MAX_BYTES: u64 = 4_096;
/// A shorter one was not made by us.
const TOKEN_MIN_CHARS: usize = 16;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The system gives no random bytes.
    #[error("draw a token")]
    Random(#[source] getrandom::Error),
    /// The file cannot be made or read.
    #[error("{step} the token file {path}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others can read it.
    #[error(
        "use the token file {path}: its mode is {mode:o}, so others can read it; chmod 600 it, or remove it for a new one"
    )]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no token.
    #[error(
        "use the token file {path}: it holds no token of at least {TOKEN_MIN_CHARS} characters; remove it for a new one"
    )]
    Unusable {
        /// Which file.
        path: PathBuf,
    },
}

/// The operator's token: as configured, else of the file in the data directory, which is made when
/// it is missing.
///
/// # Errors
/// [`TokenError`] naming the file.
pub fn api_token(config: &HttpConfig, data_dir: &Path) -> Result<SecretString, TokenError> {
    if let Some(token) = &config.api_token {
        return Ok(token.clone());
    }
    if let Some(token) = read_token_file(data_dir)? {
        return Ok(token);
    }
    make(data_dir)?;
    let path = data_dir.join(API_TOKEN_FILE);
    read_token_file(data_dir)?.ok_or(TokenError::Unusable { path })
}

/// The token of the data directory's file; `None` when there is no such file.
///
/// # Errors
/// [`TokenError`] for a file that cannot be read, that others can read, or that holds no token.
pub fn read_token_file(data_dir: &Path) -> Result<Option<SecretString>, TokenError> {
    let path = data_dir.join(API_TOKEN_FILE);
    let io = |source| TokenError::Io { step: "read", path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mode = file.metadata().map_err(io)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TokenError::Open { path, mode });
    }
    let mut text = String::new();
    file.take(FILE_MAX_BYTES).read_to_string(&mut text).map_err(io)?;
    let token = text.trim();
    if token.len() < TOKEN_MIN_CHARS || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Unusable { path });
    }
    Ok(Some(SecretString::from(token.to_owned())))
}

fn make(data_dir: &Path) -> Result<(), TokenError> {
    let mut bytes = [0_u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(TokenError::Random)?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = data_dir.join(API_TOKEN_FILE);
    let io = |step| {
        let path = path.clone();
        move |source| TokenError::Io { step, path, source }
    };
    // one core a data directory: what lies under this name is left of one that died here
    let temp = data_dir.join(format!("{API_TOKEN_FILE}.tmp"));
    match std::fs::remove_file(&temp) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io("clear")(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp).map_err(io("make"))?;
    file.write_all(format!("{token}\n").as_bytes()).map_err(io("write"))?;
    file.sync_all().map_err(io("write"))?;
    // a link, unlike a rename, refuses to replace
    match std::fs::hard_link(&temp, &path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(io("make")(error)),
        Ok(()) | Err(_) => {}
    }
    std::fs::remove_file(&temp).map_err(io("clear"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use orch_settings::ExposeSecret;

    use super::*;

    fn config(token: Option<&str>) -> HttpConfig {
        HttpConfig {
            bind: ([127, 0, 0, 1], 0).into(),
            api_token: token.map(|token| SecretString::from(token.to_owned())),
            api_read_token: None,
        }
    }

    #[test]
    fn a_missing_token_is_made_once_and_kept_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let first = api_token(&config(None), dir.path()).unwrap();
        assert_eq!(first.expose_secret().len(), 64);
        let path = dir.path().join(API_TOKEN_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let again = api_token(&config(None), dir.path()).unwrap();
        assert_eq!(first.expose_secret(), again.expose_secret());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_configured_token_makes_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let token = api_token(&config(Some("given")), dir.path()).unwrap();
        assert_eq!(token.expose_secret(), "given");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_others_can_read_or_without_a_token_is_refused_and_left_alone() {
        for (text, mode, expected) in [
            ("0123456789abcdef0", 0o640, "mode is 640"),
            ("short", 0o600, "holds no token"),
            ("", 0o600, "holds no token"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(API_TOKEN_FILE);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = api_token(&config(None), dir.path()).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("0123456789abcdef0"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
