//! A core that only answers `GET /queue`, with whatever a test wants to be the case.
//!
//! Counts the requests by method, so that a test can prove that nobody asks for more than to read.
//! It writes its answers itself: a server that means well cannot break one off or let it drip.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orch_contract::ObservationDocument;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::clock;

/// Bytes of a request's head at most.
const HEAD_MAX_BYTES: u64 = 64 * 1024;

/// What the core does when it is asked.
#[derive(Debug, Clone)]
pub enum CoreBehaviour {
    /// Answers with this document.
    Document(Box<ObservationDocument>),
    /// Answers with this document, built at the time of each poll.
    Live(Box<ObservationDocument>),
    /// Says that it is starting.
    Starting,
    /// Answers with a status and a text.
    Refuses(u16, String),
    /// Answers with a status and nothing else.
    Status(u16),
    /// Sends the caller elsewhere.
    Redirect(String),
    /// Answers 200 with something that is no document.
    Garbage(String),
    /// Announces this document and ends the connection in the middle of it.
    Half(Box<ObservationDocument>),
    /// Answers with a document of this major version.
    Newer(u32),
    /// Answers with this document, a byte at a time, each after this pause.
    Slow(Box<ObservationDocument>, Duration),
    /// Takes the request and stays silent for this long.
    Hangs(Duration),
}

/// A running stand-in; ends when dropped.
#[derive(Debug)]
pub struct FakeCore {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    behaviour: CoreBehaviour,
    token: Option<String>,
    polls: u64,
    hanging: u64,
    other_requests: Vec<String>,
}

impl FakeCore {
    /// Starts one on loopback, at a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(behaviour: CoreBehaviour, token: Option<&str>) -> std::io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), behaviour, token).await
    }

    /// Starts one at an address, say where an earlier one was.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn start_at(
        address: SocketAddr,
        behaviour: CoreBehaviour,
        token: Option<&str>,
    ) -> std::io::Result<Self> {
        let token = token.map(str::to_owned);
        let shared = Shared { behaviour, token, polls: 0, hanging: 0, other_requests: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a setting.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it behaves like this.
    pub fn behave(&self, behaviour: CoreBehaviour) {
        lock(&self.shared).behaviour = behaviour;
    }

    /// Polls so far.
    #[must_use]
    pub fn polls(&self) -> u64 {
        lock(&self.shared).polls
    }

    /// Callers that wait now for an answer which does not come.
    #[must_use]
    pub fn hanging(&self) -> u64 {
        lock(&self.shared).hanging
    }

    /// Requests that were no `GET /queue`.
    #[must_use]
    pub fn other_requests(&self) -> Vec<String> {
        lock(&self.shared).other_requests.clone()
    }
}

impl Drop for FakeCore {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes connections until it is aborted, and ends them with itself.
async fn accept(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // a caller that goes away in the middle is none of ours
            serve(stream, &shared).await.ok();
        });
        while connections.try_join_next().is_some() {}
    }
}

/// The head of a request, as far as it matters here.
#[derive(Debug, Default)]
struct Request {
    method: String,
    path: String,
    authorization: Option<String>,
}

/// Serves one connection, which stays open for as long as both sides are well.
async fn serve(stream: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = head(&mut stream).await? {
        let behaviour = {
            let mut shared = lock(shared);
            if request.method != "GET" || request.path != "/queue" {
                shared.other_requests.push(format!("{} {}", request.method, request.path));
                None
            } else {
                shared.polls += 1;
                let wanted = shared.token.as_ref().map(|token| format!("Bearer {token}"));
                match wanted.is_some() && request.authorization != wanted {
                    true => Some(CoreBehaviour::Status(401)),
                    false => Some(shared.behaviour.clone()),
                }
            }
        };
        let Some(behaviour) = behaviour else {
            // its body, if it has one, is not read
            return send(&mut stream, &reply(405, "connection: close\r\n", b"")).await;
        };
        if answer(&mut stream, behaviour, shared).await? == After::Close {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads one head; `None` when the caller has no more to ask.
async fn head(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut head = stream.take(HEAD_MAX_BYTES);
    let mut request = Request::default();
    let mut line = String::new();
    loop {
        line.clear();
        if head.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let text = line.trim_end();
        if request.method.is_empty() {
            let mut words = text.split(' ').map(str::to_owned);
            request.method = words.next().unwrap_or_default();
            request.path = words.next().unwrap_or_default();
        } else if text.is_empty() {
            return Ok(Some(request));
        } else if let Some((name, value)) = text.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            request.authorization = Some(value.trim().to_owned());
        }
    }
}

/// What becomes of the connection.
#[derive(Debug, PartialEq, Eq)]
enum After {
    Stay,
    Close,
}

async fn answer(
    stream: &mut BufReader<TcpStream>,
    behaviour: CoreBehaviour,
    shared: &Mutex<Shared>,
) -> std::io::Result<After> {
    let bytes = match behaviour {
        CoreBehaviour::Document(document) => reply(200, JSON, &body(&document)),
        CoreBehaviour::Live(document) => {
            let document = ObservationDocument { generated_at_ms: clock::now_ms(), ..*document };
            reply(200, JSON, &body(&document))
        }
        CoreBehaviour::Starting => reply(503, JSON, br#"{"title":"starting"}"#),
        CoreBehaviour::Refuses(status, text) => reply(status, TEXT, text.as_bytes()),
        CoreBehaviour::Status(status) => reply(status, "", b""),
        CoreBehaviour::Redirect(to) => reply(302, &format!("location: {to}\r\n"), b""),
        CoreBehaviour::Garbage(text) => reply(200, TEXT, text.as_bytes()),
        CoreBehaviour::Newer(version) => {
            let text = format!(r#"{{"schema_version":{version},"all":"is new"}}"#);
            reply(200, JSON, text.as_bytes())
        }
        CoreBehaviour::Half(document) => {
            let whole = reply(200, JSON, &body(&document));
            send(stream, &whole[..whole.len() - body(&document).len() / 2]).await?;
            return Ok(After::Close);
        }
        CoreBehaviour::Slow(document, pause) => {
            for byte in reply(200, JSON, &body(&document)) {
                send(stream, &[byte]).await?;
                tokio::time::sleep(pause).await;
            }
            return Ok(After::Stay);
        }
        CoreBehaviour::Hangs(time) => {
            lock(shared).hanging += 1;
            let gave_up = tokio::select! {
                () = tokio::time::sleep(time) => false,
                // whoever waits says nothing more: this is the end of the connection
                _ = stream.fill_buf() => true,
            };
            lock(shared).hanging -= 1;
            if gave_up {
                return Ok(After::Close);
            }
            reply(504, "", b"")
        }
    };
    send(stream, &bytes).await?;
    Ok(After::Stay)
}

const JSON: &str = "content-type: application/json\r\n";
const TEXT: &str = "content-type: text/plain\r\n";

fn body(document: &ObservationDocument) -> Vec<u8> {
    serde_json::to_vec(document).unwrap_or_default()
}

/// An answer as bytes; a caller needs no words for a status.
fn reply(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} \r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

async fn send(stream: &mut BufReader<TcpStream>, bytes: &[u8]) -> std::io::Result<()> {
    stream.get_mut().write_all(bytes).await?;
    stream.get_mut().flush().await
}
