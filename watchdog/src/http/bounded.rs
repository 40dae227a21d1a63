//! A listener whose connections cannot use up the program's descriptors.
//!
//! Responsible for how many connections there are at once and how long one may be silent. Whoever comes when all places
//! are taken gets the place of the one that has been there longest: a scrape lasts milliseconds, and who sits on
//! connections does not keep it out.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Connections at once.
pub const CONNECTIONS_MAX: usize = 32;

/// How long a connection may be silent: longer than the usual distance of two scrapes is not worth a place.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Accepts within the bounds.
#[derive(Debug)]
pub struct Bounded {
    listener: TcpListener,
    /// Ends each connection, the oldest first. Those that ended by themselves are forgotten in their turn.
    places: VecDeque<CancellationToken>,
    silence_max: Duration,
}

impl Bounded {
    /// Over a listener.
    #[must_use]
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, places: VecDeque::new(), silence_max: SILENCE_MAX }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // waits a moment after a failure of its own, so that no descriptors are no busy loop
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // a connection holds its token; one that ended has left the deque's alone
        self.places.retain(|place| !place.is_cancelled());
        while self.places.len() >= CONNECTIONS_MAX {
            if let Some(oldest) = self.places.pop_front() {
                oldest.cancel();
            }
        }
        let place = CancellationToken::new();
        self.places.push_back(place.clone());
        (Connection::new(stream, place, self.silence_max), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when it is silent for too long, or when its place is wanted.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    place: CancellationToken,
    wanted: Pin<Box<WaitForCancellationFutureOwned>>,
    silence: Pin<Box<Sleep>>,
    silence_max: Duration,
}

impl Connection {
    fn new(stream: TcpStream, place: CancellationToken, silence_max: Duration) -> Self {
        let wanted = Box::pin(place.clone().cancelled_owned());
        let silence = Box::pin(tokio::time::sleep(silence_max));
        Self { stream, place, wanted, silence, silence_max }
    }

    /// What an operation that has to wait comes to.
    fn waits<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let over =
            self.wanted.as_mut().poll(context).is_ready() || self.silence.as_mut().poll(context).is_ready();
        if over { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }

    fn moved(&mut self) {
        let until = Instant::now() + self.silence_max;
        self.silence.as_mut().reset(until);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // its place is free
        self.place.cancel();
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(read) => {
                self.moved();
                Poll::Ready(read)
            }
            Poll::Pending => self.waits(context),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(written) => {
                self.moved();
                Poll::Ready(written)
            }
            Poll::Pending => self.waits(context),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn serve() -> SocketAddr {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here"));
        tokio::spawn(async move { axum::serve(Bounded::new(listener), router).await });
        address
    }

    async fn ask(stream: &mut TcpStream) -> io::Result<String> {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        let mut answer = [0; 1024];
        let read = stream.read(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
    }

    #[tokio::test]
    async fn whoever_sits_on_connections_loses_them_and_keeps_nobody_out() {
        let address = serve().await;
        let mut crowd = Vec::new();
        for _ in 0..5 * CONNECTIONS_MAX {
            let mut idle = TcpStream::connect(address).await.unwrap();
            idle.write_all(b"GET /met").await.unwrap();
            crowd.push(idle);
        }
        let mut scrape = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut scrape).await.unwrap().ends_with("here"));
        // the oldest are closed, and no more than have places are held
        let mut closed = 0;
        for idle in &mut crowd {
            let mut byte = [0; 1];
            let read = tokio::time::timeout(Duration::from_millis(20), idle.read(&mut byte)).await;
            closed += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
        }
        assert!(closed > 4 * CONNECTIONS_MAX, "{closed} closed");
        assert!(crowd.len() - closed < CONNECTIONS_MAX, "{closed} closed");
    }

    #[tokio::test]
    async fn a_place_that_was_left_is_free() {
        let address = serve().await;
        let mut patient = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut patient).await.unwrap().ends_with("here"));
        for _ in 0..3 * CONNECTIONS_MAX {
            let mut passing = TcpStream::connect(address).await.unwrap();
            assert!(ask(&mut passing).await.unwrap().ends_with("here"));
            drop(passing);
            // its end has to arrive there
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(ask(&mut patient).await.unwrap().ends_with("here"), "it was not the oldest of too many");
    }

    #[tokio::test]
    async fn a_silent_connection_is_closed() {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut bounded = Bounded { silence_max: Duration::from_millis(50), ..Bounded::new(listener) };
        let (_client, (mut connection, _)) = tokio::join!(TcpStream::connect(address), bounded.accept());
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
