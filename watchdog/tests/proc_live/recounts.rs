//! Ticks that list a part of the directory see exactly what whole passes see.

use std::process::{Child, Command, Stdio};

use orch_watchdog::observe::Collected;
use orch_watchdog::proc::shape::Pattern;
use orch_watchdog::proc::{Collector, CollectorSettings};
use proc_identity::host::Clocks;

use crate::zoo::root;

const ROUNDS: usize = 120;

/// Ends and reaps its process whatever the test does.
struct Sleeper(Child);

impl Sleeper {
    #[expect(clippy::disallowed_methods, reason = "real processes are what these tests are about")]
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep starts"))
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("pid")
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn pass(collector: &mut Collector) {
    match collector.pass(&Clocks::now(), None) {
        Collected::Fresh(_) => {}
        Collected::Unavailable(why) => panic!("unavailable: {why}"),
        Collected::Off => panic!("off"),
    }
}

fn collector(refresh_ms: i64) -> Collector {
    let settings = CollectorSettings {
        proc_root: root().to_owned(),
        patterns: Pattern::parse_list("pytest").expect("patterns"),
        refresh_ms,
        age_marks_ms: Vec::new(),
    };
    Collector::new(settings, None).expect("a collector")
}

#[test]
fn births_and_ends_of_all_ages_are_seen_in_the_pass_after_them() {
    let mut collector = collector(900_000);
    // more of them than are listed again at first
    let mut alive: Vec<Sleeper> = (0..200).map(|_| Sleeper::start()).collect();
    pass(&mut collector);
    for round in 0..ROUNDS {
        let mut ended = Vec::new();
        match round % 6 {
            0 => alive.extend((0..3).map(|_| Sleeper::start())),
            // born and gone between two passes
            1 => ended.extend((0..5).map(|_| Sleeper::start().pid())),
            2 => ended.extend(alive.pop().map(|youngest| youngest.pid())),
            // one of the oldest for a new one: the number of all is the same
            3 => {
                alive.push(Sleeper::start());
                ended.push(alive.remove(0).pid());
            }
            4 => {
                let middle = alive.len() / 2;
                ended.push(alive.remove(middle).pid());
            }
            // a thread is a birth, too, and no process
            _ => std::thread::spawn(|| ()).join().expect("a thread"),
        }
        pass(&mut collector);
        let table = collector.table();
        for sleeper in &alive {
            assert!(table.get(sleeper.pid()).is_some(), "round {round}: {} is not seen", sleeper.pid());
        }
        for pid in ended {
            assert!(table.get(pid).is_none(), "round {round}: {pid} is over and still there");
        }
        assert!(table.rows().is_sorted_by_key(|row| row.pid));
    }
    let listings = usize::try_from(collector.counters().listings).expect("a count");
    assert!(listings < ROUNDS, "{listings} whole passes in {ROUNDS} rounds: no round was spared one");
}

#[test]
fn a_host_on_which_nothing_happens_is_still_listed_whole_once_in_the_refresh_time() {
    // each pass is later than that
    let mut collector = collector(1);
    pass(&mut collector);
    let before = collector.counters().listings;
    for _ in 0..5 {
        std::thread::sleep(std::time::Duration::from_millis(2));
        pass(&mut collector);
    }
    assert_eq!(collector.counters().listings, before + 5);
}
