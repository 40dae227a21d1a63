//! Both programs in their real place: the shipped images under the shipped compose file.
//!
//! A container engine is needed and nothing is skipped without one. The images are built by the shipped
//! Dockerfiles, all stages of them; only the bases behind FROM may be stand-ins, see `images`.

mod engine;
mod images;
mod rooms;
mod stand;

use anyhow::{Context as _, Result, ensure};
use orch_tests::alerts::{self, Signal};
use orch_tests::demo::agent_in_pytest;
use orch_tests::{pipeline, wait};
use stand::{CORE, Stand, WATCHDOG};
use std::time::Duration;

/// Longest time until something outside of the programs' control has happened.
const PATIENCE: Duration = Duration::from_secs(60);
/// The sidecar's image is not larger than this.
const WATCHDOG_IMAGE_BYTES: u64 = 20_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_sidecar_has_one_program_and_no_right_but_to_see() -> Result<()> {
    let mut stand = Stand::prepare("rights")?;
    // without a core: it starts, is healthy, and says what is missing
    stand.up(WATCHDOG)?;
    stand.healthy(WATCHDOG).await?;
    stand.hears("core_down", |text| alerts::is_alert(text, Signal::CoreDown, None)).await?;

    let bytes = engine::inspect_number(images::WATCHDOG, "{{.Size}}")?;
    ensure!(bytes <= WATCHDOG_IMAGE_BYTES, "the watchdog's image has {bytes} bytes");
    for image in [images::WATCHDOG, images::CORE] {
        let revision = "{{ index .Config.Labels \"org.opencontainers.image.revision\" }}";
        assert_eq!(engine::inspect(image, revision)?, "of-the-test", "{image}");
    }

    let sidecar = stand.container(WATCHDOG)?;
    rooms::holds_one_program(&sidecar)?;
    rooms::is_confined(&sidecar, 65_534)?;
    assert_eq!(engine::inspect(&sidecar, "{{.HostConfig.PidMode}}")?, "host");
    assert_eq!(engine::inspect(&sidecar, "{{.HostConfig.ReadonlyRootfs}}")?, "true");
    ensure!(engine::inspect_number(&sidecar, "{{.HostConfig.Memory}}")? >= 64 << 20, "too little memory");
    let mounts = engine::inspect(&sidecar, "{{range .Mounts}}{{.Type}} {{.Destination}}\n{{end}}")?;
    assert_eq!(mounts, "volume /state", "the sidecar's own state and nothing else");
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

    rooms::speaks_tls_by_name(&stand).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_item_arrives_and_what_an_agent_leaves_behind_is_told_with_container_and_task() -> Result<()> {
    let mut stand = Stand::prepare("story")?;
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

/// A `docker exec` whose caller is gone looks as one that is attended: age alone tells. One that went
/// through the supervisor carries its mark.
async fn execs_are_told_by_age(stand: &mut Stand, core: &str) -> Result<()> {
    let before = rooms::life(core)?;
    stand.set(WATCHDOG, "WATCHDOG_PROC_AGE_MIN", "0.2")?;
    stand.up(WATCHDOG)?;
    assert_eq!(rooms::life(core)?, before, "a new sidecar touched the core");
    let plain = rooms::exec_left_behind(core, rooms::Through::Nothing).await?;
    let marked = rooms::exec_left_behind(core, rooms::Through::Supervisor).await?;
    let old = |pid: i32| move |text: &str| alerts::is_alert(text, Signal::ProcBlocking, Some(pid));
    stand.hears("an alert by age", old(plain.pid)).await?;
    stand.hears("an alert by age", old(marked.pid)).await?;
    let explained = |pid: i32| {
        let sidecar = stand.container(WATCHDOG)?;
        let said = engine::try_docker(&["exec", &sidecar, "/orch-watchdog", "explain", &pid.to_string()])?;
        Ok::<_, anyhow::Error>(said.out + &said.err)
    };
    let (of_plain, of_marked) = (explained(plain.pid)?, explained(marked.pid)?);
    ensure!(of_plain.contains("exec") && of_plain.contains("owner unknown"), "{of_plain}");
    ensure!(of_plain.contains("no run cookie"), "{of_plain}");
    ensure!(of_marked.contains(&format!("run cookie {}", rooms::COOKIE)), "{of_marked}");
    for left in [plain, marked] {
        ensure!(orch_tests::sweep::kill_exactly(left), "process {} has ended by itself", left.pid);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cores_absences_are_told_and_nothing_recovers_for_them() -> Result<()> {
    let mut stand = Stand::prepare("lives")?;
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
    stand.hears("the orphan", |text| alerts::is_alert(text, Signal::ProcOrphaned, Some(pid))).await?;

    // stopped: it ends by itself, and the engine leaves it so
    let heard = stand.messages().len();
    stand.compose(&["stop", CORE])?;
    assert_eq!(engine::inspect(&stand.container(CORE)?, "{{.State.ExitCode}}")?, "0");
    absent_and_back(&stand, heard).await?;
    // killed by the engine
    let heard = stand.messages().len();
    stand.compose(&["kill", CORE])?;
    absent_and_back(&stand, heard).await?;

    // killed from within: the engine starts it again
    let core = stand.container(CORE)?;
    let before = rooms::life(&core)?;
    rooms::kill_the_program(&core)?;
    wait::until("the engine to start the core again", PATIENCE, || async {
        let now = rooms::life(&core).map_err(|error| format!("{error:#}"))?;
        if now == before { Err(now) } else { Ok(()) }
    })
    .await?;
    stand.core().await?;
    stand.compose(&["restart", CORE])?;
    stand.core().await?;
    stand.compose(&["up", "-d", "--no-build", "--no-deps", "--force-recreate", CORE])?;
    stand.core().await?;
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

    wait::until("the new sidecar to hear the core", PATIENCE, || async {
        match stand.metric("orch_watchdog_core_up").await {
            Ok(value) if value == "1" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let over: Vec<String> = stand.messages().into_iter().filter(|text| is_over(text)).collect();
    ensure!(over.is_empty(), "the orphan lives, and is called over: {over:?}");
    ensure!(orch_tests::sweep::kill_exactly(orphan), "the orphan has ended by itself");
    stand.hears("the recovery", is_over).await?;
    Ok(())
}

/// The core is away: it is told; it comes back: that, too. Messages before `heard` are of earlier absences.
async fn absent_and_back(stand: &Stand, heard: usize) -> Result<()> {
    let since = |wanted: fn(&str) -> bool| {
        let messages = stand.messages();
        let found = messages.iter().skip(heard).any(|text| wanted(text));
        if found { Ok(()) } else { Err(format!("{:?}", messages.get(heard..))) }
    };
    wait::until("core_down", PATIENCE, || async {
        since(|text| alerts::is_alert(text, Signal::CoreDown, None))
    })
    .await?;
    stand.compose(&["start", CORE])?;
    stand.core().await?;
    wait::until("its recovery", PATIENCE, || async {
        since(|text| alerts::is_recovery(text, Signal::CoreDown))
    })
    .await
}
