//! What was seen at the door in any history, and the page that tells it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use crate::{
    store::Acquired,
    world::{End, Kind, Met, Moment},
};

/// What a page is made of.
#[derive(Debug, Default, Clone)]
struct Rows {
    came: BTreeMap<(Met, Kind), BTreeSet<&'static str>>,
    committed: BTreeMap<(Met, Kind), BTreeSet<&'static str>>,
    robbed: BTreeMap<(Kind, Moment), BTreeSet<&'static str>>,
}

/// Everything that was seen, over all histories.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Rows>);

impl Seen {
    fn rows(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody asked for the lease.
    pub(crate) fn came(&self, kind: Kind, met: Met, answer: Acquired) {
        let word = match (answer, met) {
            (Acquired::Deferred, _) => "deferred",
            (Acquired::Granted(_), Met::Dead) => "granted, reclaimed",
            (Acquired::Granted(_), Met::Nobody | Met::Owner(..) | Met::Robbed(..)) => "granted",
        };
        self.rows().came.entry((met, kind)).or_default().insert(word);
    }

    /// The reaper came to a lease.
    pub(crate) fn reaped(&self, met: Met, robs: bool, parked: bool) {
        let word = match (robs, parked) {
            (false, _) => "leaves it",
            (true, false) => "**takes it**",
            (true, true) => "**takes it**, parks",
        };
        self.rows().came.entry((met, Kind::Reaper)).or_default().insert(word);
    }

    /// Somebody wrote a decision down, or tried to.
    pub(crate) fn committed(&self, kind: Kind, met: Met, end: End) {
        let word = match end {
            End::LostRace => "lost, nothing written",
            End::Advanced
            | End::RolledBack
            | End::Cancelled
            | End::Waiting
            | End::Held
            | End::Blocked
            | End::Deferred
            | End::NoChange
            | End::Refused => "written",
        };
        self.rows().committed.entry((met, kind)).or_default().insert(word);
    }

    /// An owner whose lease was taken at this moment came to its end.
    pub(crate) fn robbed(&self, kind: Kind, moment: Moment, end: End) {
        self.rows().robbed.entry((kind, moment)).or_default().insert(end.as_str());
    }

    fn tables(&self) -> String {
        let rows = self.rows().clone();
        let mut text = CAME.to_owned();
        matrix(&mut text, &rows.came);
        text.push_str(COMMITTED);
        matrix(&mut text, &rows.committed);
        text.push_str(ROBBED);
        for ((kind, moment), ends) in &rows.robbed {
            writeln!(text, "| {} | {} | {} |", kind.as_str(), moment.as_str(), words(ends))
                .expect("a String");
        }
        text
    }
}

/// How large the space is.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) threes: usize,
    pub(crate) states: usize,
    pub(crate) rules: Vec<&'static str>,
}

/// The page.
pub(crate) fn render(counts: &Counts, seen: &Seen) -> String {
    let mut text = HEAD.to_owned();
    let Counts { threes, states, rules } = counts;
    writeln!(text, "{threes} threes, **{states} states**.\n").expect("a String");
    text.push_str("| rule, held in every state | |\n| --- | --- |\n");
    for rule in rules.iter().filter(|rule| !rule.starts_with("a task can")) {
        writeln!(text, "| {rule} | holds |").expect("a String");
    }
    text.push_str(&seen.tables());
    text
}

const HEAD: &str = "# Who meets whom at the door

The whole state space of one task between `testing` and `done`, with three actors, as `tests/simulation/tests/races` explores
it. This page is rendered by that test, and a test fails when it is stale (`UPDATE_FILES=1` rewrites it).

Three actors: one is always the sweep of monitor and reconciler; the others are any two of sweep, webhook, finalizer,
reaper, a person who takes back, a person who gives up. In each history one mishap may come at any moment (two where only
sweep, finalizer and reaper are about): the core is killed, an owner dies in a living core, a lease is overdue or taken by
force, the outside cannot be looked at, a person merges or deploys by hand, another revision is deployed over ours.

One transaction of the store, one look at the outside and one act outside is a step each. Decision, fold, edge table and the
judgement of an owner are the program's own functions; the SQL is done on values. Left out: other tasks (merge slot), trees
(landed tree), gates beyond one that says pass or red, time, and a person who deploys between our look and our act, from
which nothing outside protects. A deploy command that has ended is taken to show in the health command at once.

";

const CAME: &str = "
## Who comes while somebody is inside

The answer to whoever asks for the lease; the reaper also comes to the lease itself.

";

const COMMITTED: &str = "
## Who writes a decision while somebody else is at work

";

const ROBBED: &str = "
## What becomes of an owner whose lease was taken from it

| who | taken while it | its entry ends |
| --- | --- | --- |
";

fn words(words: &BTreeSet<&'static str>) -> String {
    words.iter().copied().collect::<Vec<_>>().join("; ")
}

fn name(met: Met) -> (String, &'static str) {
    match met {
        Met::Nobody => ("nobody".to_owned(), "–"),
        Met::Dead => ("an owner that is gone".to_owned(), "–"),
        Met::Owner(kind, moment) => (kind.as_str().to_owned(), moment.as_str()),
        Met::Robbed(kind, moment) => (format!("{}, robbed", kind.as_str()), moment.as_str()),
    }
}

fn matrix(text: &mut String, rows: &BTreeMap<(Met, Kind), BTreeSet<&'static str>>) {
    let comers = [&Kind::SEATED[..], &[Kind::Recovery]].concat();
    let heads: Vec<&str> = comers.iter().map(|kind| kind.as_str()).collect();
    writeln!(text, "| inside is | who | {} |", heads.join(" | ")).expect("a String");
    writeln!(text, "| --- | --- |{}", " --- |".repeat(comers.len())).expect("a String");
    for met in rows.keys().map(|(met, _)| *met).collect::<BTreeSet<_>>() {
        let (who, when) = name(met);
        write!(text, "| {who} | {when} |").expect("a String");
        for kind in &comers {
            let cell = rows.get(&(met, *kind)).map_or_else(|| "–".to_owned(), words);
            write!(text, " {cell} |").expect("a String");
        }
        text.push('\n');
    }
}
