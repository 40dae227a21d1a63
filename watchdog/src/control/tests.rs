//! The socket: who may, how much, and under which name.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::client::ask;
use super::path::{Address, SOCKET_FILE};
use super::server::{Control, may_command};
use super::*;
use crate::commands::SharedCommandCounts;
use crate::commands::desk::Desk;
use crate::keeper::Keeper;
use crate::notify::Channel;
use crate::notify::retry::Wakes;
use crate::store::{Store, peek};

struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    telegram: Arc<Notify>,
}

fn serve(dir: &Path) -> Running {
    let opened = Store::open(dir, 0).unwrap();
    let (keeper, _writer) = Keeper::start(Arc::new(opened.store), opened.state).unwrap();
    let desk = Desk::new(keeper, SharedCommandCounts::default());
    let stop = CancellationToken::new();
    let mut wakes = Wakes::default();
    let telegram = wakes.of(Channel::Telegram);
    let task = tokio::spawn(Control::bind(dir).unwrap().serve(desk, wakes, stop.clone()));
    Running { stop, task, telegram }
}

fn request(line: &str) -> Request {
    Request::Command(line.split_whitespace().map(str::to_owned).collect())
}

async fn raw(dir: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(Address::of(dir, SOCKET_FILE).unwrap().name()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_command_is_done_and_on_disk_before_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let running = serve(dir.path());
    let done = ask(dir.path(), &request("mute core_down 1h")).await.unwrap().unwrap();
    assert_eq!(done.ending, Ending::Done, "{}", done.text);
    let saved = peek(dir.path()).unwrap().unwrap();
    assert_eq!(saved.alerts.mutes().count(), 1);
    assert_eq!(saved.commands.len(), 1);
    let refused = ask(dir.path(), &request("ack c1")).await.unwrap().unwrap();
    assert_eq!(refused.ending, Ending::Refused);
    let malformed = ask(dir.path(), &request("mute everything 1h")).await.unwrap().unwrap();
    assert_eq!(malformed.ending, Ending::Malformed);
    running.stop.cancel();
    running.task.await.unwrap();
    assert!(!dir.path().join(SOCKET_FILE).exists(), "its name goes with it");
    assert_eq!(ask(dir.path(), &request("status")).await.unwrap(), None);
}

#[tokio::test]
async fn only_its_owner_opens_the_socket_and_what_a_killed_life_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    for leftover in [SOCKET_FILE, "control.sock.new"] {
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(leftover)).unwrap());
    }
    assert_eq!(ask(dir.path(), &request("status")).await.unwrap(), None, "nobody listens at it");
    let _running = serve(dir.path());
    let found = std::fs::metadata(dir.path().join(SOCKET_FILE)).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert_eq!(found.uid(), rustix::process::geteuid().as_raw());
    assert_eq!(ask(dir.path(), &request("status")).await.unwrap().unwrap().text, "nothing fires");
}

#[test]
fn the_same_user_and_root_may_and_nobody_else() {
    assert!(may_command(1000, 1000) && may_command(0, 1000) && may_command(0, 0));
    assert!(!may_command(1001, 1000) && !may_command(1000, 0) && !may_command(65_534, 1000));
}

#[tokio::test]
async fn a_path_longer_than_an_address_works_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("a".repeat(120)).join("b".repeat(120));
    std::fs::create_dir_all(&long).unwrap();
    let _running = serve(&long);
    let done = ask(&long, &request("mute core_down 1h")).await.unwrap().unwrap();
    assert_eq!(done.ending, Ending::Done, "{}", done.text);
    assert!(long.join(SOCKET_FILE).exists());
}

#[tokio::test]
async fn what_is_no_request_is_answered_in_words_and_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let _running = serve(dir.path());
    // sound but for its length
    let endless = [&b"{\"command\":[\"status\"]"[..], &b" ".repeat(REQUEST_MAX_BYTES), b"}\n"].concat();
    for bytes in
        [&b"\n"[..], b"GET / HTTP/1.1\r\n\r\n", b"{\"run\":[\"sh\"]}\n", b"\0\xff\n", b"{}", &endless]
    {
        let answer: Response = serde_json::from_str(&raw(dir.path(), bytes).await).unwrap();
        assert_eq!(answer.ending, Ending::Malformed, "{}", answer.text);
    }
    assert_eq!(ask(dir.path(), &request("status")).await.unwrap().unwrap().ending, Ending::Done);
}

#[tokio::test]
async fn word_of_a_test_alert_that_was_taken_wakes_its_channel_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let running = serve(dir.path());
    let woken = || Box::pin(running.telegram.notified()).as_mut().enable();
    let at = dir.path();
    let tell = async |channel| ask(at, &Request::TookTestAlert(channel)).await.unwrap().unwrap().ending;
    assert_eq!(tell(Channel::Alertmanager).await, Ending::Refused, "this watchdog has none");
    assert!(!woken());
    assert_eq!(tell(Channel::Telegram).await, Ending::Done);
    assert!(woken());
    assert!(!woken(), "once");
}

#[tokio::test]
async fn silent_peers_hold_the_socket_for_a_bounded_time_only() {
    let dir = tempfile::tempdir().unwrap();
    let _running = serve(dir.path());
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(UnixStream::connect(dir.path().join(SOCKET_FILE)).await.unwrap());
    }
    let done = ask(dir.path(), &request("status")).await.unwrap().unwrap();
    assert_eq!(done.ending, Ending::Done);
}
