//! Close the work item in the tracker. The probe is the tracker's own record.

use crate::{
    chain::chain,
    domain::effect::{EffectOutcome, Probe},
    engine::Engine,
    store::TaskRow,
};

pub(super) async fn probe(engine: &Engine, row: &TaskRow) -> Probe {
    match engine.store.tracker_item(row.task.key.to_string()).await {
        Ok(Some(item)) if item.state == "closed" => {
            Probe::Done(format!("closed by {}", item.closed_by.as_deref().unwrap_or("a person")))
        }
        Ok(Some(item)) if item.state == "cancelled" => {
            Probe::Impossible("it was cancelled in the tracker".to_owned())
        }
        Ok(_) => Probe::Absent,
        Err(error) => Probe::CannotTell(chain(&error)),
    }
}

pub(super) async fn act(engine: &Engine, row: &TaskRow) -> EffectOutcome {
    let by = row.task.merged.clone();
    let key = row.task.key.to_string();
    match engine.store.end_tracker_item(key, "closed", by.clone(), engine.clock.now_ms()).await {
        Ok(true) => EffectOutcome::Done(format!("closed by {}", by.as_deref().unwrap_or("nothing merged"))),
        Ok(false) => EffectOutcome::Failed("the tracker has no open item of this key".to_owned()),
        Err(error) => EffectOutcome::Failed(chain(&error)),
    }
}
