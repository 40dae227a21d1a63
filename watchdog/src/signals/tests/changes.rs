//! Stories of what a case turns into: another cause, another signal of the same job, a reason that is
//! known.

use orch_contract::ActorTick;

use super::stories::{HOUR, TICK, World, backlog, word};
use super::*;
use crate::notify::Channel;
use crate::notify::delivery::{FailureReason, LastFailure};

/// A core whose actors of these names have not passed for an hour.
fn late(now: i64, names: &[&str]) -> CoreSight {
    let mut document = documents::idle(now);
    let actor = |name: &&str| ActorTick {
        name: (*name).to_owned(),
        period_ms: 30_000,
        last_tick_at_ms: Some(NOW - HOUR),
    };
    document.actors = names.iter().map(actor).collect();
    heard(&document, now)
}

#[test]
fn a_new_cause_of_a_degraded_core_is_told_at_once_and_once_between_two_reminders() {
    let signal = SignalKind::CoreDegraded;
    let mut world = World::new();
    let mut see = |names: &[&str], ticks: usize| -> Vec<String> {
        (0..ticks).flat_map(|_| world.tick(signal, late(world.now + TICK, names))).collect()
    };
    assert_eq!(see(&["reaper"], 4), ["alert warning"]);
    assert_eq!(see(&["reaper", "monitor"], 1), ["changed warning"]);
    assert_eq!(see(&["reaper", "monitor"], 3), [""; 0]);
    assert_eq!(see(&["finalizer"], 1), ["changed warning"], "one instead of others is new, too");
    assert_eq!(see(&["monitor"], 3), [""; 0], "it was named");
    assert_eq!(see(&["reaper"], 120), ["reminder warning"], "at its time, whatever was told meanwhile");
    assert_eq!(see(&["reaper", "finalizer"], 3), ["changed warning"], "the reminder named the reaper alone");
}

#[test]
fn causes_without_end_are_told_up_to_a_bound() {
    let signal = SignalKind::CoreDegraded;
    let mut world = World::new();
    let mut told = Vec::new();
    for number in 0..50 {
        let name = format!("actor-{number}");
        told.extend(world.tick(signal, late(world.now + TICK, &[&name])));
    }
    let changed = told.iter().filter(|told| *told == "changed warning").count();
    assert_eq!((told[0].as_str(), changed), ("alert warning", crate::cases::CAUSES_TOLD_AT_ONCE - 1));
}

/// A job whose limit is two hours, with a run that is seen and idle.
fn idle_job(world: &mut World, age_ms: i64, silent_ms: i64) -> CoreSight {
    let now = world.now + TICK;
    let mut document = documents::idle(now);
    let (started_at_ms, last_output_at_ms) = (now - age_ms, Some(now - silent_ms));
    document.running_jobs = vec![RunningJob { started_at_ms, last_output_at_ms, ..job() }];
    document.processes = vec![tree(1, 77, None)];
    world.proc = proc(Vec::new(), vec![RunUse { cookie: 77, processes: 2, cpu_ms: 500 }]);
    heard(&document, now)
}

/// One tick; what is told of either signal.
fn of_both(world: &mut World, core: CoreSight) -> Vec<String> {
    let told = world.notices(core).into_iter().filter_map(|notice| {
        let name = match notice.finding.signal {
            SignalKind::AgentHung => "hung",
            SignalKind::AgentOverrun => "overrun",
            _ => return None,
        };
        Some(format!("{name}: {}", word(&notice)))
    });
    told.collect()
}

/// Ticks in which the job is as old and as silent as given; what is told of both signals.
fn of_job(world: &mut World, ticks: usize, age_ms: i64, silent_ms: i64) -> Vec<String> {
    let mut told = Vec::new();
    for _ in 0..ticks {
        let core = idle_job(world, age_ms, silent_ms);
        told.extend(of_both(world, core));
    }
    told
}

fn world_of_jobs() -> World {
    let mut world = World::new();
    world.thresholds.agent_silent_ms = 2 * MINUTE;
    world
}

#[test]
fn a_job_that_hangs_is_not_told_as_overrun_until_it_moves_again() {
    let mut world = world_of_jobs();
    assert_eq!(of_job(&mut world, 20, 30 * MINUTE, 10 * MINUTE), ["hung: alert critical"]);
    // now above half of its limit, too
    assert_eq!(of_job(&mut world, 20, 61 * MINUTE, 20 * MINUTE), [""; 0]);
    // processes cannot be looked at: it hangs for all that we know
    let mut blind = Vec::new();
    for _ in 0..5 {
        let core = idle_job(&mut world, 70 * MINUTE, 25 * MINUTE);
        world.proc = Collected::Unavailable("hidepid".to_owned());
        blind.extend(of_both(&mut world, core));
    }
    assert_eq!(blind, [""; 0]);
    let told = of_job(&mut world, 6, 71 * MINUTE, 0);
    assert_eq!(told, ["hung: recovered: the job moves again", "overrun: alert warning"]);
    // and hangs again: one alert, of the one that counts
    let told = of_job(&mut world, 200, 80 * MINUTE, 10 * MINUTE);
    assert!(!told.is_empty() && told.iter().all(|told| told.starts_with("hung: ")), "{told:?}");
    // the end of both is told, of each once
    let core = heard(&documents::idle(world.now + TICK), world.now + TICK);
    let gone = "recovered: the job no longer runs";
    assert_eq!(of_both(&mut world, core), [format!("hung: {gone}"), format!("overrun: {gone}")]);
}

#[test]
fn a_job_that_overran_and_hangs_is_told_once_more_and_reminded_of_as_hung_alone() {
    let mut world = world_of_jobs();
    assert_eq!(of_job(&mut world, 4, 61 * MINUTE, 0), ["overrun: alert warning"]);
    let told = of_job(&mut world, 140, 61 * MINUTE, 10 * MINUTE);
    assert_eq!(told, ["hung: alert critical", "hung: reminder critical"]);
}

#[test]
fn without_the_signal_of_hung_jobs_an_overrun_is_told() {
    let mut world = world_of_jobs();
    world.thresholds.disabled = vec![SignalKind::AgentHung];
    assert_eq!(of_job(&mut world, 20, 61 * MINUTE, 10 * MINUTE), ["overrun: alert warning"]);
}

#[test]
fn why_a_channel_fails_is_told_though_it_is_not_parked() {
    let failure =
        LastFailure { reason: FailureReason::Network, why: "no answer in time".to_owned(), wait_ms: None };
    let channels = [ChannelBacklog {
        last_failure: Some(failure.clone()),
        ..backlog(Channel::Telegram, Some(NOW - HOUR))
    }];
    let observation =
        Observation { at_ms: NOW, proc: Collected::Off, core: CoreSight::Off, host: Collected::Off };
    let thresholds = thresholds();
    let context = Context { channels: &channels, ..context(&thresholds) };
    let states = derive(&observation, &context, &mut Memory::default());
    let facts = states.iter().find_map(|state| match state {
        SignalState::Active(Finding { facts: Facts::Channel(facts), .. }) => Some(facts.clone()),
        _ => None,
    });
    assert_eq!(facts.unwrap().last_failure, Some(failure));
}
