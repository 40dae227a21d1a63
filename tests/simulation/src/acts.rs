//! What the outside may do next: programs end, CI answers, webhooks arrive, people meddle.
//!
//! Each act is one step. The first of the list is always a calm one.

use std::path::PathBuf;

use orch_core::process::Outcome;

use crate::{
    choices::Choices,
    world::{Ci, Outside, PullState, RunState, Source},
};

/// Which ways of going wrong a history has. All off is a calm one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// The core dies, or is restarted, between any two steps.
    pub crashes: bool,
    /// One task of the core panics.
    pub panics: bool,
    /// Calls of store, forge, git and machine fail.
    pub failures: bool,
    /// The host's clock jumps by a day.
    pub jumps: bool,
    /// Webhooks are lost and doubled.
    pub losses: bool,
    /// Agents, CI and re-tests find the work bad.
    pub red: bool,
    /// Other people push to the target, merge and close pull requests.
    pub meddling: bool,
    /// An operator retries, rolls back, cancels, releases leases.
    pub operator: bool,
    /// The health command gives no answer for a while.
    pub deaf: bool,
    /// People deploy by hand: what was merged, or something older.
    pub hands: bool,
    /// The machine is short of memory: programs and their supervisors are killed.
    pub kills: bool,
    /// Deploys take effect after the deploy command has ended.
    pub slow_deploys: bool,
}

/// One thing that may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A program ends.
    End(PathBuf),
    /// CI answers for a head.
    Answer(String, String),
    /// A webhook arrives.
    Deliver(usize),
    /// A started deploy takes effect.
    TakeEffect,
    /// Somebody else's change lands on the target.
    TargetMoves,
    /// A person merges a pull request.
    PersonMerges(usize),
    /// A person closes one.
    PersonCloses(usize),
    /// A person deploys a revision by hand.
    PersonDeploys(String),
    /// The health command becomes deaf, or hears again.
    Hearing,
}

/// What can happen now; in `calm` only what must.
#[must_use]
pub fn possible(outside: &Outside, weather: Weather, calm: bool) -> Vec<Act> {
    let mut acts: Vec<Act> = Vec::new();
    for (dir, run) in &outside.runs {
        if run.state == RunState::Alive {
            acts.push(Act::End(dir.clone()));
        }
    }
    for (key, head) in outside.open_heads() {
        if matches!(outside.ci.get(&head), None | Some(Ci::Pending)) {
            acts.push(Act::Answer(key, head));
        }
    }
    acts.extend((0..outside.webhooks.len().min(4)).map(Act::Deliver));
    if !outside.deploying.is_empty() {
        acts.push(Act::TakeEffect);
    }
    if outside.deaf || (weather.deaf && !calm) {
        acts.push(Act::Hearing);
    }
    if weather.hands && !calm {
        let merged = outside.pulls.iter().filter_map(|pull| match &pull.state {
            PullState::Merged(merged) => Some(merged),
            PullState::Open | PullState::Closed => None,
        });
        let other = merged.chain(&outside.ran).filter(|one| outside.deployed.as_ref() != Some(*one));
        acts.extend(other.cloned().map(Act::PersonDeploys));
    }
    if weather.meddling && !calm {
        acts.push(Act::TargetMoves);
        for (index, pull) in outside.pulls.iter().enumerate() {
            if pull.state == PullState::Open {
                acts.push(Act::PersonMerges(index));
                acts.push(Act::PersonCloses(index));
            }
        }
    }
    acts
}

/// Whose webhook is to be handed to the core.
pub type Webhook = (Source, String);

/// Does one act; answers how it is told, and a webhook that arrived.
pub fn act(
    outside: &mut Outside,
    act: &Act,
    weather: Weather,
    calm: bool,
    choices: &mut Choices,
) -> (String, Option<Webhook>) {
    let mut chance = |percent: u32| !calm && choices.chance(percent);
    match act {
        Act::End(dir) => {
            let bad = weather.red && chance(15);
            let killed = chance(if weather.kills {
                25
            } else if weather.red {
                5
            } else {
                0
            });
            let lost = chance(if weather.kills {
                10
            } else if weather.crashes {
                3
            } else {
                0
            });
            let shared = weather.meddling && chance(20);
            (end(outside, dir, End { bad, killed, lost, shared, slow: weather.slow_deploys }), None)
        }
        Act::Answer(key, head) => {
            let ci = match () {
                () if weather.red && chance(10) => Ci::Red,
                () if weather.failures && chance(10) => Ci::Error,
                () => Ci::Passed,
            };
            if ci != Ci::Passed {
                outside.excuses.insert(key.clone(), "CI did not pass".to_owned());
            }
            outside.ci.insert(head.clone(), ci);
            outside.tell(key);
            (format!("CI of {key} answers {ci:?}"), None)
        }
        Act::Deliver(index) => {
            let keep = weather.losses && chance(20);
            let lose = weather.losses && chance(30);
            let Some(webhook) = outside.webhooks.get(*index).cloned() else { return (String::new(), None) };
            if !keep {
                outside.webhooks.remove(*index);
            }
            let told = format!("{:?} webhook of {}", webhook.0, webhook.1);
            if lose { (format!("{told} is lost"), None) } else { (told, Some(webhook)) }
        }
        Act::TakeEffect => {
            let revision = outside.deploying.remove(0);
            let told = format!("deploy of {revision} takes effect");
            outside.runs_now(revision);
            (told, None)
        }
        Act::TargetMoves => {
            let file =
                if chance(30) { "src/shared".to_owned() } else { format!("other/{}", outside.commits.len()) };
            let target = outside.target.clone();
            let mut tree = outside.commits.get(&target).map(|commit| commit.tree.clone()).unwrap_or_default();
            tree.insert(file.clone(), format!("theirs {}", outside.commits.len()));
            let new = outside.commit(vec![target], tree);
            outside.target = new;
            if file == "src/shared" {
                outside.excuse_all("others change the same places");
            }
            (format!("the target moves by {file}"), None)
        }
        Act::PersonMerges(index) => {
            let merged = outside.merge_by_person(*index);
            (format!("a person merges pull request {}: {merged}", index + 1), None)
        }
        Act::PersonCloses(index) => {
            let head = outside.pulls.get(*index).and_then(|pull| outside.branches.get(&pull.key)).cloned();
            if let Some(pull) = outside.pulls.get_mut(*index) {
                (pull.state, pull.head) = (PullState::Closed, head);
                outside.excuses.insert(pull.key.clone(), "a person closed it".to_owned());
            }
            (format!("a person closes pull request {}", index + 1), None)
        }
        Act::PersonDeploys(revision) => {
            outside.runs_now(revision.clone());
            (format!("a person deploys {revision}"), None)
        }
        Act::Hearing => {
            outside.deaf = !outside.deaf;
            (format!("the health command is deaf: {}", outside.deaf), None)
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct End {
    bad: bool,
    killed: bool,
    lost: bool,
    shared: bool,
    slow: bool,
}

fn end(outside: &mut Outside, dir: &PathBuf, how: End) -> String {
    let Some(run) = outside.runs.get(dir).cloned() else { return String::new() };
    let key = run.key().to_owned();
    let role = run.env.get("ORCH_ROLE").cloned().unwrap_or_default();
    let fails = how.bad && !matches!(role.as_str(), "reviewer" | "tester");
    let outcome = if how.killed {
        Outcome::Signaled { signal: 9 }
    } else if run.told {
        Outcome::Stopped
    } else {
        Outcome::Exited { code: i32::from(fails) }
    };
    if how.shared {
        outside.excuse_all("two change the same places");
    }
    let well = outcome == Outcome::Exited { code: 0 };
    if how.killed || how.bad || how.lost {
        outside.excuses.insert(key.clone(), format!("a {} did not end well", run.program));
    }
    match run.program.as_str() {
        "agent" if well => outside.work(&key, &role, !how.bad, how.shared),
        "pytest" if well => {
            outside.tested.extend(run.env.get("ORCH_REVISION").cloned());
        }
        "coverage" if well => {
            let covered = outside.measure();
            let report = format!("{{\"totals\":{{\"covered_lines\":{covered},\"num_statements\":1000}}}}");
            // a checkout that is gone by now has no reader either
            std::fs::write(run.cwd.join("coverage.json"), report).ok();
        }
        "image" if well => {
            outside.image = run.env.get("ORCH_REVISION").cloned();
            outside.images.extend(outside.image.clone());
        }
        "deploy" => {
            let revision = run.env.get("ORCH_REVISION").cloned().unwrap_or_default();
            if well && how.slow {
                outside.deploying.push(revision);
            } else if well {
                outside.runs_now(revision);
            }
            match (&outcome, run.deploy.and_then(|index| outside.deploys.get_mut(index))) {
                (Outcome::Exited { .. }, Some(deploy)) => deploy.1 = Some(well),
                _ => drop(outside.cut_off.insert(key.clone())),
            }
        }
        _ => {}
    }
    let told = format!(
        "{} {role} of {key} ends: {outcome:?}{}",
        run.program,
        if how.lost { ", its record lost" } else { "" }
    );
    if let Some(run) = outside.runs.get_mut(dir) {
        if how.lost {
            run.state = RunState::Lost;
            run.wake();
        } else {
            run.end(outcome);
        }
    }
    told
}
