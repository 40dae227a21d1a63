//! The metrics of both running programs, judged by Prometheus' own checker and scraped by a real
//! Prometheus with the shipped settings and rules.

use anyhow::{Context as _, Result};
use orch_tests::api::Api;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_tests::fake_telegram::FakeTelegram;
use orch_tests::orphans::Shell;
use orch_tests::prometheus::Server;
use orch_tests::stack::{Stack, StackBuilder};
use orch_tests::{documents, sample, shipped, tools, wait};
use std::fs;
use std::time::Duration;

/// Longest time until something that must show in a scrape shows.
const PATIENCE: Duration = Duration::from_secs(60);
const CHAT: i64 = 4242;
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The exposition, as soon as it holds all of these lines.
async fn metrics_with(program: &Api, lines: &[&str]) -> Result<String> {
    wait::until(&format!("{lines:?} in the metrics"), PATIENCE, || async {
        let text = program.get("/metrics").await.map_err(|error| format!("{error:#}"))?.text;
        let there = lines.iter().all(|wanted| text.lines().any(|line| line == *wanted));
        if there { Ok(text) } else { Err(text) }
    })
    .await
}

fn assert_clean(state: &str, exposition: &str) -> Result<()> {
    let said = tools::check_metrics(exposition)?;
    assert!(said.status.success() && said.err.is_empty(), "{state}: {}", said.all());
    let mut told: Vec<&str> =
        exposition.lines().filter(|line| line.starts_with('#')).filter_map(|line| line.get(..60)).collect();
    told.sort_unstable();
    assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "{state}: HELP or TYPE twice");
    for line in exposition.lines() {
        for private in ["pid=", "task=", "command=", "pytest", "/proc/"] {
            let help = line.starts_with("# HELP");
            assert!(
                help || !line.contains(private),
                "{state}: a label holds more than a closed list: {line}"
            );
        }
    }
    Ok(())
}

fn chatting(telegram: &FakeTelegram, stack: StackBuilder) -> StackBuilder {
    stack
        .watchdog("WATCHDOG_TELEGRAM_API_URL", &telegram.url())
        .watchdog("WATCHDOG_TELEGRAM_BOT_TOKEN", "1000000:stand-in-token-that-opens-nothing")
        .watchdog("WATCHDOG_TELEGRAM_CHAT_ID", &CHAT.to_string())
}

/// What this host is short of while the tests run is not their subject.
fn quiet_host(stack: StackBuilder) -> StackBuilder {
    stack.watchdog("WATCHDOG_CPU_STARVED_ENABLED", "false").watchdog("WATCHDOG_DISK_LOW_ENABLED", "false")
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_while_the_watchdog_idles_fires_and_cannot_deliver() -> Result<()> {
    let telegram = FakeTelegram::start().await?;
    let alive = CoreBehaviour::Document(Box::new(documents::idle(1_790_000_000_000)));
    let core = FakeCore::start(alive.clone(), None).await?;
    let mut stack = chatting(&telegram, quiet_host(Stack::describe()))
        .watchdog("WATCHDOG_CORE_URL", &core.url())
        // the document stays as it is, and grows old
        .watchdog("WATCHDOG_CORE_DEGRADED_ENABLED", "false")
        .build()?;
    let watchdog = Api::new(&stack.start_watchdog().await?, "")?;

    let firing = r#"orch_watchdog_signals_active{severity="critical",signal="core_down"} "#;
    let idle = metrics_with(&watchdog, &["orch_watchdog_core_up 1", &format!("{firing}0")]).await?;
    assert_clean("idle", &idle)?;
    assert!(idle.contains("\nprocess_resident_memory_bytes "), "{idle}");

    core.behave(CoreBehaviour::Refuses(500, "broken".to_owned()));
    let delivered = r#"orch_watchdog_outbox_notices{channel="telegram"} 0"#;
    let attempted = r#"orch_watchdog_delivery_attempts_total{channel="telegram"} 1"#;
    let fires =
        metrics_with(&watchdog, &["orch_watchdog_core_up 0", &format!("{firing}1"), delivered, attempted])
            .await?;
    assert_clean("firing", &fires)?;

    telegram.set_blocked(CHAT, true);
    core.behave(alive);
    let waits = [
        r#"orch_watchdog_outbox_notices{channel="telegram"} 1"#,
        r#"orch_watchdog_channel_parked{channel="telegram"} 1"#,
        r#"orch_watchdog_delivery_failures_total{channel="telegram",reason="refused"} 1"#,
        r#"orch_watchdog_delivery_failures_total{channel="telegram",reason="network"} 0"#,
    ];
    assert_clean("delivery failed", &metrics_with(&watchdog, &waits).await?)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_gets_the_text_format_whatever_it_asks_for_and_a_head_without_a_body() -> Result<()> {
    let mut stack = Stack::describe().build()?;
    let core = stack.start_core().await?;
    let watchdog = stack.start_watchdog().await?;
    let page = core.get("/metrics").await?;
    assert_eq!(page.status, 200);
    assert_clean("the core", &page.text)?;

    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
    for base in [core.base(), watchdog.as_str()] {
        let url = format!("{base}/metrics");
        let openmetrics = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        let answer = client.get(&url).header("accept", openmetrics).send().await?;
        assert_eq!(answer.status(), 200, "{url}");
        assert_eq!(answer.headers()["content-type"], TEXT_FORMAT, "{url}");
        let text = answer.text().await?;
        assert!(!text.contains("# EOF") && text.ends_with('\n'), "one format or the other: {url}");
        let head = client.head(&url).send().await?;
        assert_eq!((head.status().as_u16(), &head.headers()["content-type"]), (200, &TEXT_FORMAT.parse()?));
        assert_eq!(head.bytes().await?.len(), 0, "{url}");
    }
    Ok(())
}

/// A real Prometheus that gives at least one series for a query.
async fn gives(prometheus: &Server, query: &str) -> Result<Vec<orch_tests::prometheus::Sample>> {
    wait::until(&format!("an answer to {query}"), PATIENCE, || async {
        let found = prometheus.query(query).await.map_err(|error| format!("{error:#}"))?;
        if found.is_empty() { Err("no series".to_owned()) } else { Ok(found) }
    })
    .await
}

async fn gives_none(prometheus: &Server, query: &str) -> Result<()> {
    wait::until(&format!("no answer to {query}"), PATIENCE, || async {
        let found = prometheus.query(query).await.map_err(|error| format!("{error:#}"))?;
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
}

/// Metrics of the reference that do not say that they may be absent.
fn always_there() -> Result<Vec<String>> {
    let page = fs::read_to_string(sample::source_tree().join("docs/metrics.md"))?;
    let rows = page.lines().filter(|line| line.starts_with("| `") && !line.contains("bsent"));
    let names: Vec<String> = rows.filter_map(|line| Some(line.split('`').nth(1)?.to_owned())).collect();
    assert!(names.len() > 50, "{} metrics were read", names.len());
    Ok(names)
}

async fn told_by_alertmanager(alertmanager: &Server) -> Result<Vec<String>, String> {
    let alerts = alertmanager.get("/api/v2/alerts", &[]).await.map_err(|error| format!("{error:#}"))?;
    let names = alerts.as_array().into_iter().flatten();
    Ok(names.filter_map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned())).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_scrapes_both_fires_the_shipped_rule_and_forgets_what_is_over() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("orch-prometheus-").tempdir()?;
    let mut stack = quiet_host(Stack::describe()).build()?;
    // only what this very checkout starts: another pytest on this host is not ours to wait for
    let python = stack.sample().python().display().to_string();
    stack.set_watchdog("WATCHDOG_PROC_PATTERNS", &format!("re:^{python} -m pytest"));
    let core = stack.start_core().await?;
    let watchdog = stack.start_watchdog().await?;
    let address = |base: &str| base.trim_start_matches("http://").to_owned();
    let token = fs::read_to_string(stack.data().join("api-token"))?;
    let alertmanager = Server::alertmanager(folder.path()).await?;
    let prometheus = Server::prometheus(
        folder.path(),
        &address(core.base()),
        &address(&watchdog),
        token.trim(),
        alertmanager.address(),
    )
    .await?;
    for job in ["orch-core", "orch-watchdog"] {
        let up = gives(&prometheus, &format!("up{{job=\"{job}\"}} == 1")).await?;
        assert_eq!(up.len(), 1, "{up:?}");
    }
    let started = gives(&prometheus, "process_start_time_seconds").await?;
    assert!(started.iter().all(|sample| sample.value > 1.7e9), "{started:?}");
    // before the first scrape no watchdog is known: that waits for its time, and goes
    wait::until("no alert at all", PATIENCE, || async {
        let alerts = prometheus.alerts().await.map_err(|error| format!("{error:#}"))?;
        if alerts.is_empty() { Ok(()) } else { Err(format!("{alerts:?}")) }
    })
    .await?;

    let orphan = Shell::with_pytest(stack.sample(), stack.data(), "left-behind").await?.abandon()?;
    let since = r#"orch_watchdog_signal_oldest_start_timestamp_seconds{signal="proc_orphaned"}"#;
    gives(&prometheus, since).await?;
    let is_ours = |name: &str| name.starts_with("OrchOrphan");
    wait::until("the alert of an orphan", PATIENCE, || async {
        let alerts = prometheus.alerts().await.map_err(|error| format!("{error:#}"))?;
        let fires = alerts.iter().any(|(name, state)| is_ours(name) && state == "firing");
        let told = told_by_alertmanager(&alertmanager).await?;
        if fires && told.iter().any(|name| is_ours(name)) {
            Ok(())
        } else {
            Err(format!("Prometheus {alerts:?}, Alertmanager {told:?}"))
        }
    })
    .await?;
    for name in always_there()? {
        let found = prometheus.query(&name).await?;
        assert!(!found.is_empty(), "{name} has no value, and its help does not say that it may have none");
    }
    let queries = shipped::dashboard_queries()?.into_iter().flat_map(|(_, queries)| queries);
    for query in queries.chain(shipped::rules()?.into_iter().map(|rule| rule.expr)) {
        let query = query.replace("$__rate_interval", "1m").replace("$host", ".*");
        prometheus.query(&query).await.with_context(|| format!("a shipped query: {query}"))?;
    }

    orphan.end()?;
    // the range of a lookup is five minutes: only staleness can end it sooner
    gives_none(&prometheus, since).await?;
    wait::until("the end of the alert", PATIENCE, || async {
        let alerts = prometheus.alerts().await.map_err(|error| format!("{error:#}"))?;
        let told = told_by_alertmanager(&alertmanager).await?;
        if alerts.iter().any(|(name, _)| is_ours(name)) || told.iter().any(|name| is_ours(name)) {
            Err(format!("Prometheus {alerts:?}, Alertmanager {told:?}"))
        } else {
            Ok(())
        }
    })
    .await
}
