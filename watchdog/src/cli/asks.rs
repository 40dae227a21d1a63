//! Verbs that ask somebody else: the running watchdog, the channels.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use reqwest::StatusCode;

use super::EXIT_FAILURE;
use crate::clock;
use crate::config::{AlertmanagerConfig, TelegramConfig, WatchdogConfig};
use crate::control::client;
use crate::control::{Ending, Request};
use crate::notify::alertmanager::{AlertmanagerClient, wire};
use crate::notify::compose::Message;
use crate::notify::delivery::{Outcome, Sender};
use crate::notify::telegram::TelegramSender;
use crate::notify::{Channel, text};
use crate::service;
use crate::store;

/// Longest wait of a health check.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the running watchdog for its health.
pub(super) async fn healthcheck(
    config: &WatchdogConfig,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let Some(address) = reachable(config) else {
        writeln!(err, "port 0 is configured and no watchdog has written its address yet")?;
        return Ok(ExitCode::from(EXIT_FAILURE));
    };
    let ask = async {
        let client = reqwest::Client::builder().timeout(HEALTH_TIMEOUT).no_proxy().build()?;
        let answer = client.get(format!("http://{address}/healthz")).send().await?;
        let status = answer.status();
        Ok::<_, reqwest::Error>((status, answer.text().await?))
    };
    match ask.await {
        Ok((StatusCode::OK, _)) => {
            writeln!(out, "ok")?;
            Ok(ExitCode::SUCCESS)
        }
        Ok((status, text)) => {
            writeln!(err, "{address} answers {}: {}", status.as_u16(), text.trim())?;
            Ok(ExitCode::from(EXIT_FAILURE))
        }
        Err(error) => {
            writeln!(err, "no watchdog answers at {address}: {}", error.without_url())?;
            Ok(ExitCode::from(EXIT_FAILURE))
        }
    }
}

/// Where the watchdog of these settings can be asked: port 0 was written down by the running one,
/// and "every address" is reached by loopback.
fn reachable(config: &WatchdogConfig) -> Option<SocketAddr> {
    let mut address = config.bind;
    if address.port() == 0 {
        let written = fs::read_to_string(config.state_dir.join(store::ADDRESS_FILE)).ok()?;
        address = written.trim().parse().ok()?;
    }
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}

/// Sends a test message to every configured channel but the log.
pub(super) async fn test_alert(
    config: &WatchdogConfig,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let mut answers = Vec::new();
    if let Some(settings) = &config.telegram {
        answers.push((Channel::Telegram, test_telegram(config, settings).await));
    }
    if let Some(settings) = &config.alertmanager {
        answers.push((Channel::Alertmanager, test_alertmanager(config, settings).await));
    }
    if answers.is_empty() {
        writeln!(out, "only the log is configured; nothing was sent")?;
    }
    let mut code = ExitCode::SUCCESS;
    for (channel, answer) in answers {
        let name = channel.name();
        match answer {
            Ok(()) => {
                writeln!(out, "{name}: taken")?;
                if let Err(why) = tell_of_it(config, channel).await {
                    writeln!(err, "{name}: a running watchdog tries again by itself: {why}")?;
                }
            }
            Err(why) => {
                writeln!(err, "{name}: {why}")?;
                code = ExitCode::from(EXIT_FAILURE);
            }
        }
    }
    Ok(code)
}

/// Tells a running watchdog, if there is one, that a channel took a message: one that was refused waits for that.
async fn tell_of_it(config: &WatchdogConfig, channel: Channel) -> Result<(), String> {
    match client::ask(&config.state_dir, &Request::TookTestAlert(channel)).await {
        Ok(None) => Ok(()),
        Ok(Some(response)) => match response.ending {
            Ending::Done => Ok(()),
            Ending::Refused | Ending::Malformed | Ending::Forbidden | Ending::Unsaved => Err(response.text),
        },
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            Err(format!("{error}{cause}"))
        }
    }
}

fn test_words(config: &WatchdogConfig) -> text::Said {
    text::test_alert(&service::voice(config), clock::wall_ms())
}

async fn test_telegram(config: &WatchdogConfig, settings: &TelegramConfig) -> Result<(), String> {
    let moved = store::peek(&config.state_dir).ok().flatten().and_then(|state| state.moved_chat);
    let mut sender =
        TelegramSender::new(settings, moved, &config.trust).map_err(|error| error.to_string())?;
    let message = Message::of(&test_words(config));
    let mut outcome = sender.send(&message).await;
    if let Outcome::Moved(_) = outcome {
        outcome = sender.send(&message).await;
    }
    taken(outcome)
}

async fn test_alertmanager(config: &WatchdogConfig, settings: &AlertmanagerConfig) -> Result<(), String> {
    let client = AlertmanagerClient::new(settings, &config.trust).map_err(|error| error.to_string())?;
    let alert = wire::test_alert(&config.host_label, test_words(config).plain(), clock::wall_ms());
    taken(client.post(&[alert]).await)
}

fn taken(outcome: Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Taken(_) => Ok(()),
        Outcome::Wait(wait) => Err(format!("asks to wait for {} s", wait.as_secs())),
        Outcome::Failed(_, why) | Outcome::Refused(_, why) | Outcome::Unsendable(_, why) => Err(why),
        Outcome::Moved(moved) => Err(format!("the chat moved again, to {}", moved.now)),
    }
}
