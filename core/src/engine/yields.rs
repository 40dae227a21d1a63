//! People who wait to enter an edge: its walk ends at the next step, and gates are stopped.
//!
//! In memory, since only walks of this process make way; what was asked for is kept in the store. An
//! open effect is never cut short; the walk looks here between steps only.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::domain::ids::TaskId;

/// Who waits, by task.
#[derive(Debug, Default)]
pub(crate) struct Yields(Mutex<HashMap<TaskId, usize>>);

/// One person's waiting; ends with this value.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    yields: &'a Yields,
    task: TaskId,
}

impl Yields {
    /// Asks the walk of a task to make way.
    pub(crate) fn ask(&self, task: TaskId) -> Asking<'_> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(task).or_default() += 1;
        Asking { yields: self, task }
    }

    /// Whether somebody waits.
    pub(crate) fn asked(&self, task: TaskId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&task)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut waiting = self.yields.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.task) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.task);
            }
        }
    }
}
