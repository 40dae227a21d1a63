//! Both programs in their real place: the shipped images under the shipped compose file.
//!
//! A container engine is needed and nothing is skipped without one. The images are built by the shipped
//! Dockerfiles, all stages of them; only the bases behind FROM may be stand-ins, see `images`.

mod engine;
mod images;
mod outside;
mod rooms;
mod stand;

use anyhow::{Context as _, Result, ensure};
use orch_tests::alerts::{self, Signal};
use orch_tests::demo::agent_in_pytest;
use orch_tests::tls_front::Caller;
use orch_tests::{pipeline, wait};
use stand::{CORE, Stand, WATCHDOG};
use std::time::Duration;

/// Longest time until something outside of the programs' control has happened.
const PATIENCE: Duration = Duration::from_secs(240);
/// The sidecar's image is not larger than this.
const WATCHDOG_IMAGE_BYTES: u64 = 20_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_sidecar_has_one_program_and_no_right_but_to_see() -> Result<()> {
    let stand = Stand::prepare("rights").await?;
    // without a core: it starts, is healthy, and says what is missing
    stand.up(WATCHDOG)?;
    stand.healthy(WATCHDOG).await?;
    stand.hears("core_down", |text| alerts::is_alert(text, Signal::CoreDown, None)).await?;

    let bytes = engine::inspect_number(&images::watchdog(), "{{.Size}}")?;
    ensure!(bytes <= WATCHDOG_IMAGE_BYTES, "the watchdog's image has {bytes} bytes");
    for image in [images::watchdog(), images::core()] {
        let revision = "{{ index .Config.Labels \"org.opencontainers.image.revision\" }}";
        assert_eq!(engine::inspect(&image, revision)?, "of-the-test", "{image}");
    }

    let sidecar = stand.container(WATCHDOG)?;
    rooms::holds_one_program(&sidecar)?;
    rooms::is_confined(&sidecar, 65_534)?;
    assert_eq!(engine::inspect(&sidecar, "{{.HostConfig.PidMode}}")?, "host");
    assert_eq!(engine::inspect(&sidecar, "{{.HostConfig.ReadonlyRootfs}}")?, "true");
    ensure!(engine::inspect_number(&sidecar, "{{.HostConfig.Memory}}")? >= 64 << 20, "too little memory");
    let mounts = "{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}}\n{{end}}";
    let mounts = engine::inspect(&sidecar, mounts)?;
    let mut mounts: Vec<&str> = mounts.lines().collect();
    mounts.sort_unstable();
    let authority = format!("bind {} false", stand::AUTHORITY);
    assert_eq!(
        mounts,
        [authority.as_str(), "volume /state true"],
        "its own state, and what this test gives it"
    );
    assert_eq!(stand.metric("orch_watchdog_core_up").await?, "0");

    stand.up(CORE)?;
    stand.core().await?;
    stand.healthy(CORE).await?;
    stand.hears("the recovery", |text| alerts::is_recovery(text, Signal::CoreDown)).await?;
    let core = stand.container(CORE)?;
    rooms::is_confined(&core, 10_001)?;
    assert_eq!(engine::inspect(&core, "{{.HostConfig.PidMode}}")?, "");
    assert_eq!(engine::inspect(&core, "{{.HostConfig.Init}}")?, "true");
    let mounts = engine::inspect(&core, "{{range .Mounts}}{{.Destination}} {{end}}")?;
    ensure!(!mounts.contains(".sock"), "the core is given {mounts}");
    let said = stand.exec_in_core(&["sh", "-c", "git --version && python3 --version && tini --version"])?;
    ensure!(said.status.success(), "{}", said.all());

    tls_is_spoken_by_name(&stand, &sidecar).await
}

/// The chat is told by a name that is looked up, over TLS, because of the authority in the file, and not without it.
async fn tls_is_spoken_by_name(stand: &Stand, sidecar: &str) -> Result<()> {
    let outside = stand.outside();
    let callers = outside.callers();
    let trusted =
        |caller: &Caller| caller.asked_for.as_deref() == Some(outside::NAME) && caller.refusal.is_none();
    ensure!(!callers.is_empty() && callers.iter().all(trusted), "{callers:?}");
    let heard = stand.messages().len();
    let said = engine::docker(&["exec", sidecar, "/orch-watchdog", "test-alert"])?;
    assert_eq!(said, "telegram: taken");
    stand.hears_after(heard, "the test alert", |text| text.contains("test alert")).await?;
    outside::a_stranger_is_refused(outside, &stand.network(), &images::watchdog()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_item_arrives_and_what_an_agent_leaves_behind_is_told_with_container_and_task() -> Result<()> {
    let mut stand = Stand::prepare("story").await?;
    stand.up(CORE)?;
    stand.up(WATCHDOG)?;
    let api = stand.core().await?;
    pipeline::submit(&api, "SAMPLE-1", "sample", "Show a duration as a clock").await?;
    pipeline::follow_to_done(&api, "SAMPLE-1", pipeline::ARRIVAL_PATIENCE, |_| {}).await?;
    let core = stand.container(CORE)?;
    let name = rooms::shown(&core);
    // `name` in a message is this container; other tests of this host may be told meanwhile
    let about_us: Vec<String> = stand
        .messages()
        .into_iter()
        .filter(|text| text.contains(&name) || text.contains("SAMPLE-1"))
        .collect();
    ensure!(about_us.is_empty(), "a healthy pipeline is told of: {about_us:?}");

    stand.set(CORE, "ORCH_SUBPROCESS_TREE_KILL_ENABLED", "false")?;
    stand.up(CORE)?;
    let api = stand.core().await?;
    let core = stand.container(CORE)?;
    let name = rooms::shown(&core);
    pipeline::submit(&api, "SOAK-1", "soak", "Split a duration").await?;
    let (tree, orphan) = agent_in_pytest(&api, "SOAK-1").await?;
    let agent = tree.child.context("the run has no child")?.pid.to_string();
    let killed = stand.exec_in_core(&["sh", "-c", &format!("kill -KILL {agent}")])?;
    ensure!(killed.status.success(), "{}", killed.all());
    let pid = orphan.root.pid;
    let told =
        stand.hears("the alert", |text| alerts::is_alert(text, Signal::ProcOrphaned, Some(pid))).await?;
    ensure!(told.contains(&name), "the container {name} is not named: {told}");
    ensure!(told.contains("SOAK-1"), "the task is not named: {told}");
    orphan.end()?;
    stand
        .hears("the recovery", |text| {
            alerts::is_recovery(text, Signal::ProcOrphaned) && text.contains("pytest")
        })
        .await?;

    execs_are_told_by_age(&mut stand, &core).await
}

/// A `docker exec` whose caller is gone looks as one that is attended: age alone tells, and the owner is called
/// unknown. One that went through the supervisor carries its mark, and its owner is named for as long as it lives.
async fn execs_are_told_by_age(stand: &mut Stand, core: &str) -> Result<()> {
    let before = rooms::life(core)?;
    stand.set(WATCHDOG, "WATCHDOG_PROC_AGE_MIN", "0.2")?;
    stand.up(WATCHDOG)?;
    assert_eq!(rooms::life(core)?, before, "a new sidecar touched the core");
    let name = rooms::shown(core);
    let mut left = Vec::new();
    for (through, owner_known) in [(rooms::Through::Nothing, false), (rooms::Through::Supervisor, true)] {
        let heard = stand.messages().len();
        let pytest = rooms::exec_left_behind(core, through).await?;
        let told = stand
            .hears_after(heard, "an alert by age", |text| {
                alerts::is_alert(text, Signal::ProcBlocking, Some(pytest.pid))
            })
            .await?;
        // several alerts of one tick have a headline each
        let headline = told.lines().find(|line| line.contains(" runs for ") && line.contains(&name));
        let headline = headline.with_context(|| format!("the container {name} is not named: {told}"))?;
        assert_eq!(headline.contains("owner unknown"), !owner_known, "{through:?}: {told}");
        left.push(pytest);
    }
    let [plain, marked] = left[..] else { unreachable!("two were left behind") };

    let sidecar = stand.container(WATCHDOG)?;
    let ask = |words: &[&str]| -> Result<String> {
        let said = engine::try_docker(&[&["exec", &sidecar, "/orch-watchdog"], words].concat())?;
        Ok(said.out + &said.err)
    };
    let cookie = format!("run cookie {}", rooms::COOKIE);
    for (pytest, has, has_not) in [
        (plain, ["exec into its container", "owner unknown", "no run cookie"], "supervisor"),
        (marked, ["verdict    owned: its run's supervisor ", "its supervisor ", &cookie], "owner unknown"),
    ] {
        let explained = ask(&["explain", &pytest.pid.to_string()])?;
        for words in has {
            ensure!(explained.contains(words), "no {words:?} in {explained}");
        }
        ensure!(!explained.contains(has_not), "{has_not:?} in {explained}");
    }
    let scanned = ask(&["scan"])?;
    for (folder, begins, has) in [
        (rooms::Through::Nothing.folder(), "owner unknown · ", "exec into its container"),
        (rooms::Through::Supervisor.folder(), "owned · ", "supervisor"),
    ] {
        let family = scanned.split("\n\n").find(|family| family.contains(&folder));
        let family = family.with_context(|| format!("no {folder} in {scanned}"))?;
        ensure!(family.starts_with(begins) && family.contains(has), "{family}");
    }

    for pytest in [plain, marked] {
        ensure!(orch_tests::sweep::kill_exactly(pytest), "process {} has ended by itself", pytest.pid);
        let orphan = |text: &String| alerts::is_alert(text, Signal::ProcOrphaned, Some(pytest.pid));
        ensure!(!stand.messages().iter().any(orphan), "process {} was called an orphan", pytest.pid);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cores_absences_are_told_and_nothing_recovers_for_them() -> Result<()> {
    let mut stand = Stand::prepare("lives").await?;
    // the second absence is told as the first is
    stand.set(WATCHDOG, "WATCHDOG_CORE_DOWN_COOLDOWN_S", "0.5")?;
    stand.up(CORE)?;
    stand.up(WATCHDOG)?;
    stand.core().await?;
    // in a container of its own, so that it outlives every core
    let (orphan, elsewhere) = rooms::orphan_elsewhere(&stand).await?;
    let pid = orphan.pid;
    let is_over =
        |text: &str| alerts::is_recovery(text, Signal::ProcOrphaned) && text.contains(elsewhere.as_str());
    let lives_on = |stand: &Stand| -> Result<()> {
        let over: Vec<String> = stand.messages().into_iter().filter(|text| is_over(text)).collect();
        ensure!(over.is_empty(), "the orphan lives, and is called over: {over:?}");
        Ok(())
    };
    stand.hears("the orphan", |text| alerts::is_alert(text, Signal::ProcOrphaned, Some(pid))).await?;

    // stopped: it ends by itself, and the engine leaves it so
    let heard = stand.messages().len();
    stand.compose(&["stop", CORE])?;
    assert_eq!(engine::inspect(&stand.container(CORE)?, "{{.State.ExitCode}}")?, "0");
    absent_and_back(&stand, heard).await?;
    lives_on(&stand)?;
    // killed by the engine, which leaves it so, too
    let heard = stand.messages().len();
    stand.compose(&["kill", CORE])?;
    absent_and_back(&stand, heard).await?;
    lives_on(&stand)?;
    // the program alone is killed: the engine starts it again
    let core = stand.container(CORE)?;
    let before = rooms::life(&core)?;
    rooms::kill_the_program(&core)?;
    wait::until("the engine to start the core again", PATIENCE, || async {
        let now = rooms::life(&core).map_err(|error| format!("{error:#}"))?;
        if now == before { Err(now) } else { Ok(()) }
    })
    .await?;
    present(&stand).await?;
    lives_on(&stand)?;
    stand.compose(&["restart", CORE])?;
    present(&stand).await?;
    lives_on(&stand)?;
    stand.compose(&["up", "-d", "--no-build", "--no-deps", "--force-recreate", CORE])?;
    present(&stand).await?;
    lives_on(&stand)?;
    ensure!(stand.container(CORE)? != core, "the core was not made anew");
    let core = stand.container(CORE)?;
    let before = rooms::life(&core)?;

    // the sidecar, rebuilt as another revision and replaced
    let bases = images::Bases::borrow()?;
    stand.build(&[WATCHDOG], "another")?;
    drop(bases);
    let old = stand.container(WATCHDOG)?;
    stand.up(WATCHDOG)?;
    stand.healthy(WATCHDOG).await?;
    let new = stand.container(WATCHDOG)?;
    ensure!(old != new, "the sidecar was not replaced");
    let revision = "{{ index .Config.Labels \"org.opencontainers.image.revision\" }}";
    assert_eq!(engine::inspect(&new, revision)?, "another");
    assert_eq!(rooms::life(&core)?, before, "a new sidecar touched the core");
    present(&stand).await?;
    lives_on(&stand)?;
    ensure!(orch_tests::sweep::kill_exactly(orphan), "the orphan has ended by itself");
    stand.hears("the recovery", is_over).await?;
    Ok(())
}

/// The core is away: it is told; it comes back: that, too. Messages before `heard` are of earlier absences.
async fn absent_and_back(stand: &Stand, heard: usize) -> Result<()> {
    let down = |text: &str| alerts::is_alert(text, Signal::CoreDown, None);
    stand.hears_after(heard, "core_down", down).await?;
    ensure!(stand.metric("orch_watchdog_core_up").await? == "0", "a core that is down is called up");
    stand.compose(&["start", CORE])?;
    let up = |text: &str| alerts::is_recovery(text, Signal::CoreDown);
    stand.hears_after(heard, "its recovery", up).await?;
    present(stand).await
}

/// Every word of an end follows one of an outage, and the last word is an end: a short absence may be told or not, and what
/// was told of it is whole.
fn words_of_the_core_are_in_order(messages: &[String]) -> Result<(), String> {
    let mut told = false;
    for text in messages {
        if alerts::is_recovery(text, Signal::CoreDown) {
            // one line that tells both has nothing before it
            let both = text.contains("was on from ");
            if !told && !both {
                return Err(format!("an end without an outage: {text}"));
            }
            told = false;
        } else if alerts::is_alert(text, Signal::CoreDown, None) {
            told = true;
        }
    }
    if told { Err("an outage that is over was not told to be".to_owned()) } else { Ok(()) }
}

/// The core answers, the sidecar hears it, and nothing is said against it any more; whether a short absence was told
/// is a matter of luck, and what was told of it is not.
async fn present(stand: &Stand) -> Result<()> {
    stand.core().await?;
    wait::until("the sidecar to be content with the core", PATIENCE, || async {
        let value = async |sample| stand.metric(sample).await.map_err(|error| format!("{error:#}"));
        let up = value("orch_watchdog_core_up").await?;
        let down = value("orch_watchdog_signals_active{severity=\"critical\",signal=\"core_down\"}").await?;
        if (up.as_str(), down.as_str()) != ("1", "0") {
            return Err(format!("{up} {down}"));
        }
        words_of_the_core_are_in_order(&stand.messages())
    })
    .await
}

#[test]
fn words_of_an_end_need_an_outage_before_them() {
    let said = |words: &[&str]| {
        words_of_the_core_are_in_order(&words.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    };
    let (down, up) = (
        "🔴 the core does not answer: it answers 500",
        "🟢 over after 5 s: outage of the core: it answers again",
    );
    let both = "🟢 was on from 05:00 UTC to 05:01 UTC (1 min) and is over: outage of the core";
    assert_eq!(said(&[]), Ok(()));
    assert_eq!(said(&[down, down, up, both, down, up]), Ok(()));
    assert!(said(&[up]).is_err() && said(&[down, up, up]).is_err() && said(&[down]).is_err());
}
