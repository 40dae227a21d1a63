//! (b) A pytest that nobody owns any more: the alert, and after its end the recovery, on the log
//! channel and in chat.

use super::SHORT_PATIENCE;
use super::half_a::{agent_in_pytest, kill_agent};
use super::report::{Arrivals, Report};
use crate::alerts::{self, Signal};
use crate::chat::Chat;
use crate::orphans::{Orphan, Shell};
use crate::pipeline;
use crate::relay::Screen;
use crate::stack::Stack;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// Messages that came after a moment, on both channels.
struct Listener<'a> {
    stack: &'a Stack,
    chat: &'a Chat,
    log_from: usize,
    chat_from: usize,
}

impl<'a> Listener<'a> {
    fn new(stack: &'a Stack, chat: &'a Chat) -> Self {
        Self { stack, chat, log_from: stack.log("watchdog").len(), chat_from: chat.texts().len() }
    }

    /// When a message came on the log channel and in chat, counted from `since`.
    async fn both(
        &self,
        what: &str,
        since: Instant,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(Duration, Duration)> {
        let wanted = &wanted;
        let log = async {
            let read =
                || alerts::log_messages(self.stack.log("watchdog").get(self.log_from..).unwrap_or_default());
            alerts::await_message(&format!("{what} on the log channel"), SHORT_PATIENCE, read, wanted)
                .await?;
            anyhow::Ok(since.elapsed())
        };
        let chat = async {
            let read = || self.chat.texts().into_iter().skip(self.chat_from).collect();
            alerts::await_message(&format!("{what} in chat"), SHORT_PATIENCE, read, wanted).await?;
            anyhow::Ok(since.elapsed())
        };
        tokio::try_join!(log, chat)
    }

    /// Alert, end, recovery.
    async fn hear(&self, screen: &Screen, orphan: &Orphan, since: Instant) -> Result<Arrivals> {
        let pid = orphan.root.pid;
        let alert = self
            .both("the alert", since, |text| alerts::is_alert(text, Signal::ProcOrphaned, Some(pid)))
            .await?;
        screen.say(&format!(
            "demo: (b) alert about pid {pid} after {:.1} s; now the orphan is ended",
            alert.1.as_secs_f64()
        ));
        let killed = orphan.end()?;
        let ended = crate::clock::now();
        let recovery =
            self.both("the recovery", ended, |text| alerts::is_recovery(text, Signal::ProcOrphaned)).await?;
        screen.say(&format!(
            "demo: (b) recovery {:.1} s after the end of {killed} processes",
            recovery.1.as_secs_f64()
        ));
        Ok(Arrivals { alert, recovery })
    }
}

/// Once from a shell that was killed.
///
/// # Errors
/// When alert or recovery does not arrive on both channels.
pub(super) async fn shell_is_killed(
    screen: &Screen,
    stack: &mut Stack,
    chat: &Chat,
    report: &mut Report,
) -> Result<()> {
    let shell = Shell::with_pytest(stack.sample(), stack.data(), "left-behind").await?;
    let listener = Listener::new(stack, chat);
    let orphan = shell.abandon()?;
    let since = crate::clock::now();
    screen.say(&format!("demo: (b) a shell was killed; its pytest (pid {}) runs on", orphan.root.pid));
    report.shell = Some(listener.hear(screen, &orphan, since).await?);
    Ok(())
}

/// Once from an agent that was killed while the tree kill is switched off.
///
/// # Errors
/// When alert or recovery does not arrive on both channels.
pub(super) async fn agent_is_killed_without_tree_kill(
    screen: &Screen,
    stack: &mut Stack,
    chat: &Chat,
    report: &mut Report,
) -> Result<()> {
    const KEY: &str = "SOAK-2";
    stack.stop_core()?;
    stack.set_core("ORCH_SUBPROCESS_TREE_KILL_ENABLED", "false");
    // one attempt only: a second agent's pytest would be another story
    stack.set_core("ORCH_JOB_ATTEMPTS", "1");
    let api = stack.start_core().await?;
    screen.say("demo: (b) the core was restarted with ORCH_SUBPROCESS_TREE_KILL_ENABLED=false");
    pipeline::submit(&api, KEY, "soak", "Say a duration roughly, in words").await?;
    let (tree, orphan) = agent_in_pytest(&api, KEY).await?;
    let listener = Listener::new(stack, chat);
    kill_agent(&tree)?;
    let since = crate::clock::now();
    screen.say(&format!("demo: (b) the agent was killed; its pytest (pid {}) runs on", orphan.root.pid));
    ensure!(!orphan.processes()?.is_empty(), "the orphan ended with its agent although the tree kill is off");
    report.agent = Some(listener.hear(screen, &orphan, since).await?);
    pipeline::ask(&api, KEY, "cancel", "the demo has seen what it came for").await
}
