//! The world outside of the project, as its network sees it: a Telegram under a name, behind TLS.
//!
//! Responsible for a stateful Bot API in this process, its certificate by an authority of this test, and the way to it:
//! a container with the name passes connections on to us (`tests/container/relay.py`). We connect to it and not the
//! other way round, so that no firewall of the host takes part. TLS is spoken from the sidecar to this process.

use super::engine;
use anyhow::{Context as _, Result, ensure};
use orch_tests::authority::Authority;
use orch_tests::fake_telegram::FakeTelegram;
use orch_tests::tls_front::{Caller, Door};
use orch_tests::wait;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// What Telegram is called here; an address that only the network's own name server knows.
pub(crate) const NAME: &str = "telegram.test";
/// Its address as a setting.
pub(crate) const URL: &str = "https://telegram.test:8443";
/// The bot's token.
pub(crate) const TOKEN: &str = "1000000:stand-in-token-that-opens-nothing";
/// The chat that is told.
pub(crate) const CHAT: i64 = 4242;

/// Where the test connects to the relay.
const TEST_PORT: &str = "9000/tcp";
/// Callers that can arrive in the time that it takes to connect anew.
const CONNECTIONS: usize = 4;
/// Longest time until the relay listens.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries to connect: the engine publishes a port before anybody listens behind it.
const AGAIN: Duration = Duration::from_millis(200);

/// Telegram, its authority and the way to it.
#[derive(Debug)]
pub(crate) struct Outside {
    telegram: FakeTelegram,
    authority: Authority,
    door: Door,
    ways: Vec<JoinHandle<()>>,
}

impl Outside {
    /// Makes a Telegram to which no way leads yet.
    ///
    /// # Errors
    /// When there is no free port or no openssl.
    pub(crate) async fn new() -> Result<Self> {
        let telegram = FakeTelegram::strict(TOKEN).await?;
        telegram.add_chat(CHAT);
        // other tests of this host are told about, too; limits are tested elsewhere
        telegram.set_rate(None);
        let authority = Authority::new()?;
        let door = Door::before(telegram.address(), authority.server(&format!("DNS:{NAME}"))?);
        Ok(Self { telegram, authority, door, ways: Vec::new() })
    }

    /// The certificate of its authority.
    #[must_use]
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Takes what arrives at a relay.
    ///
    /// # Errors
    /// When the relay does not listen in time.
    pub(crate) async fn be_behind(&mut self, relay: &str) -> Result<()> {
        let log =
            || engine::try_docker(&["logs", relay]).map(|said| said.out + &said.err).unwrap_or_default();
        wait::until("the relay to listen", PATIENCE, || async {
            let log = log();
            if log.contains("listening") { Ok(()) } else { Err(log) }
        })
        .await?;
        let published = engine::docker(&["port", relay, TEST_PORT])?;
        let address = published.lines().next().context("the relay's port is not published")?.to_owned();
        self.ways =
            (0..CONNECTIONS).map(|_| tokio::spawn(receive(address.clone(), self.door.clone()))).collect();
        Ok(())
    }

    /// What the chat shows, oldest first.
    #[must_use]
    pub(crate) fn messages(&self) -> Vec<String> {
        self.telegram.chat(CHAT).into_iter().map(|shown| shown.text).collect()
    }

    /// Who came by TLS.
    #[must_use]
    pub(crate) fn callers(&self) -> Vec<Caller> {
        self.door.callers()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.ways.iter().for_each(JoinHandle::abort);
    }
}

/// One connection after another waits at the relay until a caller is given to it.
async fn receive(relay: String, door: Door) {
    loop {
        match caller(&relay).await {
            Ok(stream) => {
                let door = door.clone();
                tokio::spawn(async move { door.receive(stream).await });
            }
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

async fn caller(relay: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(relay).await?;
    stream.read_u8().await?;
    Ok(stream)
}

/// The certificate of an authority where a container can be given it: readable by everybody.
///
/// # Errors
/// When it cannot be copied.
pub(crate) fn hand_out(authority: &Authority, to: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::copy(authority.file(), to).context("cannot copy the authority's certificate")?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o444))?;
    Ok(())
}

/// From the sidecar's image: the name is looked up, and the certificate of an authority that nobody vouched for is
/// refused for exactly that reason.
///
/// # Errors
/// When it comes less far, or further.
pub(crate) async fn a_stranger_is_refused(outside: &Outside, network: &str, image: &str) -> Result<()> {
    let (callers, messages) = (outside.callers().len(), outside.messages().len());
    let settings = [
        format!("WATCHDOG_TELEGRAM_API_URL={URL}"),
        format!("WATCHDOG_TELEGRAM_BOT_TOKEN={TOKEN}"),
        format!("WATCHDOG_TELEGRAM_CHAT_ID={CHAT}"),
    ];
    let mut words = vec!["run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", network];
    words.extend(settings.iter().flat_map(|setting| ["--env", setting.as_str()]));
    let said = engine::try_docker(&[&words[..], &[image, "test-alert"]].concat())?;
    ensure!(!said.status.success(), "a stranger's certificate was accepted: {}", said.all());
    ensure!(said.err.contains("its certificate is not trusted"), "{}", said.all());
    let refused = |caller: &Caller| {
        caller.asked_for.as_deref() == Some(NAME)
            && caller.refusal.as_deref().is_some_and(|refusal| refusal.contains("UnknownCA"))
    };
    wait::until("somebody to be refused", PATIENCE, || async {
        let came = outside.callers();
        if came.iter().skip(callers).any(refused) { Ok(()) } else { Err(format!("{came:?}\n{}", said.all())) }
    })
    .await?;
    let told = outside.messages();
    ensure!(
        !told.iter().skip(messages).any(|text| text.contains("test alert")),
        "it was told all the same: {told:?}"
    );
    Ok(())
}
