//! TLS in front of a stand-in that speaks plain HTTP.
//!
//! Responsible for the handshake, for passing on what comes after it, and for remembering who asked for which name and
//! whether they believed the certificate. What is said inside is the stand-in's business.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::Acceptor;

/// Somebody who began to speak TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name that was asked for.
    pub asked_for: Option<String>,
    /// Why the handshake ended early, in the TLS library's words; absent when both sides agreed.
    pub refusal: Option<String>,
}

/// Where callers are received, however they arrive.
#[derive(Debug, Clone)]
pub struct Door {
    behind: SocketAddr,
    config: Arc<ServerConfig>,
    callers: Arc<Mutex<Vec<Caller>>>,
}

impl Door {
    /// A door before the stand-in at `behind`.
    #[must_use]
    pub fn before(behind: SocketAddr, config: ServerConfig) -> Self {
        Self { behind, config: Arc::new(config), callers: Arc::default() }
    }

    /// Receives one caller, to the end.
    pub async fn receive(&self, stream: TcpStream) {
        let Ok(begun) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else { return };
        let asked_for = begun.client_hello().server_name().map(str::to_owned);
        let agreed = begun.into_stream(Arc::clone(&self.config)).await;
        let refusal = agreed.as_ref().err().map(ToString::to_string);
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).push(Caller { asked_for, refusal });
        if let (Ok(mut secured), Ok(mut plain)) = (agreed, TcpStream::connect(self.behind).await) {
            // ends when either side does
            tokio::io::copy_bidirectional(&mut secured, &mut plain).await.ok();
        }
    }

    /// Who came, oldest first.
    #[must_use]
    pub fn callers(&self) -> Vec<Caller> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A door on loopback; closes when dropped.
#[derive(Debug)]
pub struct TlsFront {
    /// Who came.
    pub door: Door,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl TlsFront {
    /// Opens one at a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn open(door: Door) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        let receiver = door.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let door = receiver.clone();
                tokio::spawn(async move { door.receive(stream).await });
            }
        });
        Ok(Self { door, address, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a setting, by a name, so that the name is looked up and checked.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.server.abort();
    }
}
