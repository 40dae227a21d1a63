//! Leases, pending triggers and the merge slot: one live owner, and a dead one is in nobody's way.

use super::*;
use crate::domain::{
    effect::EffectKind, ids::Fencing, lease::OwnerLiveness, notice::Notice, transition::Command,
};

async fn ask(store: &Store, task: TaskId, actor: Actor) -> Acquired {
    store.acquire_lease(task, EDGE, actor, 60).await.unwrap()
}

fn token(proof: &LeaseProof) -> i64 {
    proof.fencing().unwrap().0
}

/// A proof that is no longer the current one can write nothing.
async fn assert_fenced(fixture: &Fixture, stale: &LeaseProof, row: &TaskRow) {
    let store = &fixture.store;
    let before = store.task_by_id(row.id).await.unwrap();
    let intent = store.write_intent(stale, EffectKind::Merge, "stale".into(), false, 70).await.unwrap();
    assert_eq!(intent, IntentWrite::Fenced);
    let effects = store.effects_of(row.id).await.unwrap();
    for effect in &effects {
        let done = store.effect_done(stale, effect.id, Actor::Monitor, "e".into(), Vec::new(), 70).await;
        assert!(!done.unwrap());
        assert!(!store.effect_void(stale, effect.id, "w".into(), 70).await.unwrap());
    }
    assert_eq!(store.effects_of(row.id).await.unwrap(), effects);
    let present = before.clone().unwrap();
    assert_eq!(store.commit(Some(stale), forward(&present)).await.unwrap(), None);
    assert_eq!(store.task_by_id(row.id).await.unwrap(), before);
    let counts = crate::domain::coverage::LineCounts { covered: 1, measured: 1 };
    let ratchet = store.ratchet_coverage(stale, "sample".into(), "main".into(), "r".into(), counts, 1).await;
    assert_eq!(ratchet.unwrap(), RatchetWrite::Fenced);
}

#[tokio::test]
async fn one_live_owner_and_whoever_else_asks_is_deferred_to_it() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let proof = granted(&fixture.store, row.id).await;
    for actor in Actor::ALL {
        let Acquired::Deferred { owner } = ask(&fixture.store, row.id, actor).await else {
            panic!("two owners")
        };
        assert_eq!(owner, Actor::Monitor);
    }
    let other = fixture.task(2).await;
    let _another_task_is_free = granted(&fixture.store, other.id).await;
    let held = fixture.store.held_leases().await.unwrap();
    assert_eq!(held.len(), 2);
    assert_eq!((held[0].task, held[0].liveness, held[0].process), (row.id, OwnerLiveness::Live, (4711, 99)));
    assert_eq!(held[0].edge, "deploy-staging -> deploy");
    fixture.store.release_lease(proof).await.unwrap();
    let Acquired::Granted(_, None) = ask(&fixture.store, row.id, Actor::Reaper).await else {
        panic!("free after its release, and nobody was robbed")
    };
}

#[tokio::test]
async fn an_owner_that_is_dropped_is_dead_at_once_and_fenced_off() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    drop(granted(&fixture.store, row.id).await);
    assert_eq!(fixture.store.held_leases().await.unwrap()[0].liveness, OwnerLiveness::DeadOwner);
    let Acquired::Granted(proof, Some(ReclaimReason::DeadOwner)) =
        ask(&fixture.store, row.id, Actor::Reaper).await
    else {
        panic!("reclaimed")
    };
    assert_eq!(token(&proof), 2);
    let events = fixture.store.events(row.id).await.unwrap();
    let last = events.last().unwrap();
    assert_eq!(last.event, Event::LeaseReclaimed { why: "dead_owner".into() });
    assert_eq!(last.actor, Actor::Reaper, "history names who took it");
}

#[tokio::test]
async fn an_owner_that_panics_is_dead_at_once() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let (store, id) = (fixture.store.clone(), row.id);
    let died = tokio::spawn(async move {
        let _proof = granted(&store, id).await;
        panic!("an actor's defect");
    })
    .await;
    assert!(died.is_err());
    assert!(matches!(
        ask(&fixture.store, row.id, Actor::Monitor).await,
        Acquired::Granted(_, Some(ReclaimReason::DeadOwner))
    ));
}

#[tokio::test]
async fn the_next_life_takes_the_lease_of_the_last_and_fences_it_off() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let stale = granted(&fixture.store, row.id).await;
    let intent = fixture.store.write_intent(&stale, EffectKind::Merge, "r".into(), false, 1).await.unwrap();
    assert!(matches!(intent, IntentWrite::Open { fresh: true, .. }));
    let next = fixture.next_life("second");
    assert_eq!(next.held_leases().await.unwrap()[0].liveness, OwnerLiveness::DeadBoot);
    let Acquired::Granted(proof, Some(ReclaimReason::DeadBoot)) = ask(&next, row.id, Actor::Monitor).await
    else {
        panic!("reclaimed")
    };
    assert!(token(&proof) > token(&stale));
    assert_fenced(&fixture, &stale, &row).await;
    // giving a lost lease back does not end the new owner's
    fixture.store.release_lease(stale).await.unwrap();
    assert!(matches!(ask(&next, row.id, Actor::Reaper).await, Acquired::Deferred { .. }));
}

#[tokio::test]
async fn a_forced_release_fences_the_holder_off_though_it_lives() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let stale = granted(&fixture.store, row.id).await;
    let robbed = rob(&fixture.store, row.id).await.unwrap();
    assert_eq!(robbed, Robbed { owner_lives: true, parked: false });
    assert_eq!(rob(&fixture.store, row.id).await, None, "there is nothing to release twice");
    assert!(fixture.store.held_leases().await.unwrap().is_empty());
    assert_fenced(&fixture, &stale, &row).await;
    let proof = granted(&fixture.store, row.id).await;
    assert!(token(&proof) > token(&stale) + 1, "the forced release used up a token");
    assert_fenced(&fixture, &stale, &row).await;
    let events = fixture.store.events(row.id).await.unwrap();
    let told = events.iter().find(|event| matches!(event.event, Event::LeaseReclaimed { .. })).unwrap();
    assert_eq!((told.who.as_deref(), told.reason.as_str()), (Some("ada"), "it hangs"));
}

async fn rob(store: &Store, task: TaskId) -> Option<Robbed> {
    take(store, task, WhichGrant::Present).await
}

async fn take(store: &Store, task: TaskId, grant: WhichGrant) -> Option<Robbed> {
    let release = ForcedRelease {
        grant,
        task,
        actor: Actor::Operator,
        who: Some("ada".into()),
        reason: "it hangs".into(),
        why: ReclaimReason::Forced,
        at_ms: 9,
    };
    store.force_release(release).await.unwrap()
}

/// The reaper judged an owner dead, and was late: the lease was reclaimed and walked on with meanwhile.
#[tokio::test]
async fn what_was_judged_of_one_owner_takes_nothing_from_the_next() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    drop(granted(&fixture.store, row.id).await);
    let judged = fixture.store.held_leases().await.unwrap().remove(0);
    assert_eq!(judged.liveness, OwnerLiveness::DeadOwner);
    let next = granted(&fixture.store, row.id).await;
    let before = fixture.store.task_by_id(row.id).await.unwrap();
    let late = WhichGrant::Seen(judged.row.fencing);
    assert_eq!(take(&fixture.store, row.id, late).await, None);
    assert_eq!(fixture.store.task_by_id(row.id).await.unwrap(), before, "nothing is written");
    let intent = fixture.store.write_intent(&next, EffectKind::StartDeploy, "r".into(), false, 1).await;
    assert!(matches!(intent.unwrap(), IntentWrite::Open { .. }), "the healthy owner goes on");
    let present = WhichGrant::Seen(next.fencing().unwrap());
    assert_eq!(take(&fixture.store, row.id, present).await, Some(Robbed { owner_lives: true, parked: true }));
}

#[tokio::test]
async fn who_was_robbed_in_the_middle_of_an_effect_is_waited_for_and_the_task_is_parked() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let robbed = granted(&fixture.store, row.id).await;
    fixture.store.write_intent(&robbed, EffectKind::StartDeploy, "r".into(), false, 1).await.unwrap();
    assert_eq!(rob(&fixture.store, row.id).await, Some(Robbed { owner_lives: true, parked: true }));
    let task = fixture.store.task_by_id(row.id).await.unwrap().unwrap().task;
    assert!(crate::domain::transition::is_parked(&task), "{:?}", task.standing);
    assert_fenced(&fixture, &robbed, &row).await;
    // its act may be under way: nobody else begins one
    let Acquired::Deferred { owner } = ask(&fixture.store, row.id, Actor::Reconciler).await else {
        panic!("two of them may act")
    };
    assert_eq!(owner, Actor::Monitor);
    assert_eq!(fixture.store.take_pending().await.unwrap(), [], "not before it has ended");
    let mut ended = fixture.store.owners().ended();
    ended.mark_unchanged();
    drop(robbed);
    let told = tokio::time::timeout(std::time::Duration::from_secs(60), ended.changed()).await;
    assert!(told.is_ok(), "its end is told");
    let asked: Vec<Actor> =
        fixture.store.take_pending().await.unwrap().into_iter().map(|pending| pending.actor).collect();
    assert_eq!(asked, [Actor::Operator, Actor::Reconciler]);
    assert!(matches!(ask(&fixture.store, row.id, Actor::Reaper).await, Acquired::Granted(_, None)));
}

#[tokio::test]
async fn a_reclaim_leaves_one_notice_in_the_same_transaction() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    drop(granted(&fixture.store, row.id).await);
    let proof = granted(&fixture.store, row.id).await;
    rob(&fixture.store, row.id).await.unwrap();
    let next = fixture.next_life("second");
    let (told, untold) = next.untold_notices().await.unwrap();
    let whys: Vec<String> = told
        .iter()
        .map(|row| match &row.notice {
            Notice::LeaseReclaimed { why, .. } => why.clone(),
        })
        .collect();
    assert_eq!((whys.as_slice(), untold), (&["dead_owner".to_owned(), "forced".to_owned()][..], 2));
    assert!(next.notice_told(told[0].id, 5).await.unwrap());
    assert!(!next.notice_told(told[0].id, 6).await.unwrap(), "told once");
    assert_eq!(next.untold_notices().await.unwrap().1, 1);
    drop(proof);
}

#[tokio::test]
async fn tokens_only_grow_however_a_lease_ends() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let mut last = Fencing(0);
    for round in 0..12 {
        let store =
            if round % 4 == 3 { fixture.next_life(&format!("life {round}")) } else { fixture.store.clone() };
        let Acquired::Granted(proof, _) = ask(&store, row.id, Actor::Monitor).await else {
            panic!("granted")
        };
        assert!(proof.fencing().unwrap() > last);
        last = proof.fencing().unwrap();
        match round % 3 {
            0 => store.release_lease(proof).await.unwrap(),
            1 => drop(proof),
            _ => {
                rob(&store, row.id).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_commit_ends_the_lease_whether_it_wins_or_loses_the_comparison() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let proof = granted(&fixture.store, row.id).await;
    let after = fixture.store.commit(Some(&proof), forward(&row)).await.unwrap().unwrap();
    assert!(fixture.store.held_leases().await.unwrap().is_empty());
    assert_eq!(fixture.store.commit(Some(&proof), forward(&after)).await.unwrap(), None, "it is used up");
    let proof = granted(&fixture.store, row.id).await;
    assert_eq!(fixture.store.commit(Some(&proof), forward(&row)).await.unwrap(), None);
    assert!(fixture.store.held_leases().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_ask_at_once_one_is_granted() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    for round in 1..=5_i64 {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (store, id) = (fixture.store.clone(), row.id);
            asking.spawn(async move { ask(&store, id, Actor::Monitor).await });
        }
        let mut proofs = Vec::new();
        for answer in asking.join_all().await {
            if let Acquired::Granted(proof, _) = answer {
                proofs.push(proof);
            }
        }
        assert_eq!(proofs.len(), 1);
        assert_eq!(token(&proofs[0]), round);
        fixture.store.release_lease(proofs.remove(0)).await.unwrap();
    }
}

#[tokio::test]
async fn switched_off_a_proof_passes_everywhere_and_holds_nothing() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let proof = fixture.store.unleased(row.id);
    assert_eq!(proof.fencing(), None);
    assert!(fixture.store.held_leases().await.unwrap().is_empty());
    let intent = fixture.store.write_intent(&proof, EffectKind::Merge, "r".into(), false, 1).await.unwrap();
    let IntentWrite::Open { id, .. } = intent else { panic!("{intent:?}") };
    assert!(fixture.store.effect_done(&proof, id, Actor::Monitor, "e".into(), Vec::new(), 2).await.unwrap());
    let owner = granted(&fixture.store, row.id).await;
    let row = fixture.store.task_by_id(row.id).await.unwrap().unwrap();
    assert!(fixture.store.commit(Some(&proof), forward(&row)).await.unwrap().is_some());
    drop(owner);
}

#[tokio::test]
async fn a_deferred_trigger_stays_until_its_owner_has_ended_and_is_taken_once() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    assert_eq!(fixture.store.take_pending().await.unwrap(), []);
    let owner = granted(&fixture.store, row.id).await;
    for actor in [Actor::Reaper, Actor::GiteaWebhook, Actor::Reaper] {
        assert!(matches!(ask(&fixture.store, row.id, actor).await, Acquired::Deferred { .. }));
    }
    assert_eq!(fixture.number("SELECT count(*) FROM pending_trigger"), 2, "one an actor");
    assert_eq!(fixture.store.take_pending().await.unwrap(), [], "its owner lives");
    let next = fixture.next_life("second");
    let taken = next.take_pending().await.unwrap();
    let actors: Vec<Actor> = taken.iter().map(|pending| pending.actor).collect();
    assert_eq!(actors, [Actor::GiteaWebhook, Actor::Reaper], "it outlives the core");
    assert!(taken.iter().all(|pending| pending.key == row.task.key));
    assert_eq!(next.take_pending().await.unwrap(), []);
    drop(owner);
}

#[tokio::test]
async fn a_kept_command_outlives_the_core_and_a_later_one_takes_its_place() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let kept = |command| KeptCommand { task: row.id, command, who: "ada".into(), why: "w".into() };
    fixture.store.keep_command(kept(Command::RollBack { why: "f".into() }), 1).await.unwrap();
    assert_eq!(fixture.store.kept_commands().await.unwrap(), [kept(Command::RollBack { why: "f".into() })]);
    fixture.store.keep_command(kept(Command::Cancel), 2).await.unwrap();
    let next = fixture.next_life("second");
    assert_eq!(next.kept_commands().await.unwrap(), [kept(Command::Cancel)]);
    next.forget_command(row.id).await.unwrap();
    assert_eq!(next.kept_commands().await.unwrap(), []);
}

async fn slot(store: &Store, proof: &LeaseProof) -> Result<(), TaskId> {
    store.take_merge_slot(proof, "sample".into(), "main".into(), 5).await.unwrap()
}

async fn staged(fixture: &Fixture, number: u32) -> TaskRow {
    let row = fixture.task(number).await;
    walk(&fixture.store, row, Stage::DeployStaging).await
}

#[tokio::test]
async fn one_task_at_a_time_merges_into_a_branch() {
    let fixture = Fixture::new();
    let (one, two) = (staged(&fixture, 1).await, staged(&fixture, 2).await);
    let (first, second) = (granted(&fixture.store, one.id).await, granted(&fixture.store, two.id).await);
    assert_eq!(slot(&fixture.store, &first).await, Ok(()));
    assert_eq!(slot(&fixture.store, &first).await, Ok(()), "its own again");
    assert_eq!(slot(&fixture.store, &second).await, Err(one.id));
    let elsewhere = fixture.store.take_merge_slot(&second, "sample".into(), "next".into(), 5).await.unwrap();
    assert_eq!(elsewhere, Ok(()), "another branch is another slot");
    // freeing is the holder's alone
    fixture.store.free_merge_slot(two.id).await.unwrap();
    assert_eq!(slot(&fixture.store, &second).await, Err(one.id));
    // kept while its holder waits for CI without a lease
    fixture.store.release_lease(first).await.unwrap();
    assert_eq!(slot(&fixture.store, &second).await, Err(one.id));
    fixture.store.free_merge_slot(one.id).await.unwrap();
    assert_eq!(slot(&fixture.store, &second).await, Ok(()));
}

#[tokio::test]
async fn the_slot_of_a_holder_that_left_the_edge_is_free() {
    let fixture = Fixture::new();
    let (one, two) = (staged(&fixture, 1).await, staged(&fixture, 2).await);
    let (first, second) = (granted(&fixture.store, one.id).await, granted(&fixture.store, two.id).await);
    assert_eq!(slot(&fixture.store, &first).await, Ok(()));
    fixture.store.commit(Some(&first), forward(&one)).await.unwrap().unwrap();
    assert_eq!(slot(&fixture.store, &second).await, Ok(()));
}

#[tokio::test]
async fn the_slot_of_a_dead_holder_is_free_at_once() {
    let fixture = Fixture::new();
    let (one, two) = (staged(&fixture, 1).await, staged(&fixture, 2).await);
    let first = granted(&fixture.store, one.id).await;
    let second = granted(&fixture.store, two.id).await;
    assert_eq!(slot(&fixture.store, &first).await, Ok(()));
    // aborted or panicked in the middle of the edge, in this life
    drop(first);
    assert_eq!(slot(&fixture.store, &second).await, Ok(()));
    drop(second);

    // and a holder of an earlier life
    let next = fixture.next_life("second");
    let Acquired::Granted(third, _) = ask(&next, one.id, Actor::Monitor).await else { panic!("granted") };
    assert_eq!(slot(&next, &third).await, Ok(()));
}
