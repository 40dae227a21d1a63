//! The client's side of the API: where the core is, what lets us in, one call.
//!
//! The token is never printed and never follows a redirect; one that was read from the data
//! directory goes to a core on this machine only. No proxy of the environment takes part.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use orch_settings::{ExposeSecret, Key, Reader, SecretString, Section, Strings, Table, Unknown};
use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, HeaderValue},
};
use serde_json::Value;

use super::{Cli, Failure};
use crate::{
    chain::chain,
    http::{BOUND_ADDRESS_FILE, read_token_file},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest silence while an answer is read; the core answers within 30 s or says why not.
const READ_TIMEOUT: Duration = Duration::from_secs(40);
/// An address file is not read beyond this.
const ADDRESS_FILE_MAX_BYTES: usize = 256;

/// What the client reads of the environment. Settings of the core that it has no use for may be
/// wrong and do not keep it from working.
static KEYS: Table = Table {
    program: "orch-core",
    prefix: "ORCH_",
    unknown: Unknown::Warn,
    foreign: &[],
    sections: &[Section {
        title: "Client",
        keys: &[
            Key::path("ORCH_DATA_DIR", "./data", "Directory of everything that the core keeps."),
            Key::secret("ORCH_API_TOKEN", "Token for actions."),
            Key::secret("ORCH_API_READ_TOKEN", "Token for reading."),
            Key::text("USER", "", "a name", "Who acts, unless --who says so.").optional(),
        ],
    }],
};

/// One use of the client.
#[derive(Debug)]
pub(super) struct Session {
    base: String,
    token: Option<SecretString>,
    user: Option<String>,
    http: reqwest::Client,
}

impl Session {
    /// Finds the core and the token.
    pub(super) fn open(cli: &Cli, strings: &Strings, base: &Path) -> Result<Self, Failure> {
        let mut reader = Reader::new(&KEYS, strings);
        let data_dir: PathBuf = reader.path("ORCH_DATA_DIR");
        let given = (reader.secret("ORCH_API_TOKEN"), reader.secret("ORCH_API_READ_TOKEN"));
        let user = reader.optional_text("USER");
        let loaded = reader
            .finish((data_dir, given, user))
            .map_err(|problems| Failure::Usage(problems.to_string()))?;
        let (data_dir, (operator, read), user) = loaded.value;
        let data_dir = base.join(cli.data_dir.as_ref().unwrap_or(&data_dir));
        let (address, is_local) = match &cli.url {
            Some(url) => given_address(url)?,
            None => bound_address(&data_dir)?,
        };
        let token = match operator {
            Some(token) => Some(token),
            None if is_local => read_token_file(&data_dir).map_err(|error| Failure::Usage(chain(&error)))?,
            None => None,
        };
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(|error| Failure::Refused(chain(&error)))?;
        Ok(Self { base: address, token: token.or(read), user, http })
    }

    #[cfg(test)]
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Who acts: as said, else the user of this session.
    pub(super) fn who(&self, said: Option<&String>) -> Result<String, Failure> {
        said.or(self.user.as_ref())
            .cloned()
            .ok_or_else(|| Failure::Usage("say who acts with --who NAME (USER is not set)".to_owned()))
    }

    /// Reads a document.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        document(self.send(Method::GET, path, None).await?).await
    }

    /// Asks for an action.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        document(self.send(Method::POST, path, Some(body)).await?).await
    }

    /// An answer whose body the caller reads.
    pub(super) async fn open_stream(&self, path: &str) -> Result<reqwest::Response, Failure> {
        let response = self.send(Method::GET, path, None).await?;
        if response.status().is_success() { Ok(response) } else { Err(problem(response).await) }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<reqwest::Response, Failure> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
                .map_err(|_| Failure::Usage("the token has characters that no header can hold".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.map_err(|error| self.unreachable(error))
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let base = &self.base;
        if error.is_connect() {
            return Failure::Unreachable(no_core(base));
        }
        let why = if error.is_timeout() {
            "it did not answer in time".to_owned()
        } else {
            chain(&error.without_url())
        };
        Failure::Unreachable(format!("the core at {base} could not be asked: {why}"))
    }
}

fn no_core(place: &str) -> String {
    format!("no core answers at {place}: start it with `orch-core serve`")
}

/// Reads an answer, or says what the core says.
async fn document(response: reqwest::Response) -> Result<Value, Failure> {
    if !response.status().is_success() {
        return Err(problem(response).await);
    }
    response.json().await.map_err(|error| {
        Failure::Unreachable(format!("the answer is not a core's: {}", chain(&error.without_url())))
    })
}

/// A problem document as text.
async fn problem(response: reqwest::Response) -> Failure {
    let status = response.status();
    let document: Value = response.json().await.unwrap_or_default();
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    if text("type").is_empty() {
        return Failure::Unreachable(format!("what answers is not a core (HTTP {})", status.as_u16()));
    }
    let told =
        super::table::clean(&format!("{}: {}\n  {}", text("title"), text("detail"), text("what_to_do")));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        Failure::Unreachable(told)
    } else {
        Failure::Refused(told)
    }
}

/// An address from `--url`, and whether it is on this machine.
fn given_address(url: &str) -> Result<(String, bool), Failure> {
    let wrong = |why: &str| Failure::Usage(format!("--url {url}: {why}"));
    let parsed = reqwest::Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(wrong("must be http://HOST:PORT or https://HOST:PORT"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(Failure::Usage(
            "--url holds credentials; the token comes from ORCH_API_TOKEN".to_owned(),
        ));
    }
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    Ok((url.trim_end_matches('/').to_owned(), is_local))
}

/// The address that the core of this data directory has bound.
fn bound_address(data_dir: &Path) -> Result<(String, bool), Failure> {
    let path = data_dir.join(BOUND_ADDRESS_FILE);
    let text = match std::fs::read(&path) {
        Ok(bytes) => {
            String::from_utf8_lossy(bytes.get(..ADDRESS_FILE_MAX_BYTES).unwrap_or(&bytes)).into_owned()
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Failure::Unreachable(no_core(&format!("{} (no address file)", data_dir.display()))));
        }
        Err(error) => return Err(Failure::Usage(format!("read {}: {error}", path.display()))),
    };
    let address: SocketAddr = text
        .trim()
        .parse()
        .map_err(|_| Failure::Usage(format!("{} holds no address; use --url", path.display())))?;
    // a listener on every address is reached over the loopback
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Ok((format!("http://{}", SocketAddr::new(ip, address.port())), true))
}
