//! What `cpu_starved` says of the families of a host, and what a kernel without figures means.

use super::stories::pressed;
use super::*;
use crate::observe::{HostMemory, HostObservation, PressureSight};

fn starved(families: Collected<ProcObservation>, host: Collected<HostObservation>) -> Vec<SignalState> {
    let observation = Observation { at_ms: NOW, proc: families, core: CoreSight::Off, host };
    tick(&observation, &mut Memory::default(), None, &[], &owned)
}

fn facts(states: &[SignalState]) -> CpuStarvedFacts {
    let found = states.iter().find_map(|state| match state {
        SignalState::Active(Finding { facts: Facts::CpuStarved(facts), .. }) => Some(facts.clone()),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn the_hungriest_families_are_named_first_and_the_modest_not_at_all() {
    let with = |pid, cpu_share| Family { cpu_share, ..family(pid) };
    let shares =
        [Some(0.5), None, Some(0.05), Some(3.0), Some(0.5), Some(0.2), Some(0.3), Some(0.1), Some(0.4)];
    let families = (1..).zip(shares).map(|(pid, share)| with(pid, share)).collect();
    let named = facts(&starved(proc(families, Vec::new()), pressed(70.0)));
    let pids: Vec<i32> = named.families.iter().map(|family| family.key.pid).collect();
    assert_eq!(pids, [4, 1, 5, 9, 7]);
    assert_eq!((named.avg60_percent, named.limit_percent), (70.0, 60));
}

#[test]
fn without_a_look_at_processes_a_starved_host_is_told_all_the_same() {
    let Collected::Fresh(host) = pressed(70.0) else { panic!() };
    let memory = Some(HostMemory { total_bytes: 8, available_bytes: 2 });
    let told = facts(&starved(Collected::Off, Collected::Fresh(HostObservation { memory, ..host })));
    assert!(told.families.is_empty());
    assert_eq!(told.memory, Some(MemoryRoom { available_bytes: 2, total_bytes: 8 }));
}

#[test]
fn a_kernel_without_figures_holds_the_signal_and_is_no_shut_eye_while_a_failed_read_is_one() {
    let Collected::Fresh(host) = pressed(70.0) else { panic!() };
    let without = HostObservation { cpu: PressureSight::NotOffered("no PSI".into()), ..host };
    let states = starved(Collected::Off, Collected::Fresh(without));
    assert_eq!(words(&states, SignalKind::CpuStarved), ["all held"]);
    assert_eq!(words(&states, SignalKind::CollectorUnavailable), ["clear", "clear", "clear"]);
    let states = starved(Collected::Off, Collected::Unavailable("EIO".into()));
    assert_eq!(words(&states, SignalKind::CpuStarved), ["all held"]);
    let expected = ["clear", "clear", "collector_unavailable warning"];
    assert_eq!(words(&states, SignalKind::CollectorUnavailable), expected);
}
