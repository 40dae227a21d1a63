//! What Alertmanager must be told, and has been.
//!
//! Responsible for the rows of the next message: what fires, by the cases that people were told of,
//! and what ended, until Alertmanager surely knows. Pure: a value saved with the cases. Invariants:
//! a row keeps its labels while it fires (other labels are another alert, and the first one
//! ends); a row that ended leaves only after it was taken later than [`CLOCKS_DIFFER_MS`] after its
//! end; what is told of a case follows its notices, so that one that was muted before it began is not
//! told here either. A row ends with its condition and for no other reason: one that is muted or
//! acknowledged later goes on and says so, since its end would be told as a recovery.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::wire::{self, PostableAlert, Words};
use crate::cases::{AlertState, Case, Notice, NoticeKind};
use crate::notify::outbox::Entry;
use crate::notify::text::Voice;
use crate::notify::{Channel, audience};
use crate::signals::{CaseKey, Finding};

/// Rows at most; what is beyond is told when there is room.
pub const ROWS_MAX: usize = 2_000;

/// How far the two clocks may differ (one minute, in milliseconds). An end that lies in the
/// receiver's future is overruled there by the later end that was promised while it fired, so
/// it is told once more when it surely lies in the past.
pub const CLOCKS_DIFFER_MS: i64 = 60_000;

/// Everything told and not over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    rows: Vec<Row>,
}

/// One alert of Alertmanager's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    key: CaseKey,
    labels: Words,
    /// As of the notice that made or ended it.
    annotations: Words,
    starts_at_ms: i64,
    ended_at_ms: Option<i64>,
}

impl Ledger {
    /// Takes in what waits and what the cases say.
    pub fn update(&mut self, waiting: &[Entry], alerts: &AlertState, voice: &Voice, now_ms: i64) {
        for queued in waiting.iter().flat_map(|entry| &entry.notices) {
            let notice = &queued.notice;
            match notice.kind {
                NoticeKind::Alert
                | NoticeKind::Reminder { .. }
                | NoticeKind::Worse
                | NoticeKind::Changed
                | NoticeKind::Flapping { .. } => self.fire(notice, voice),
                NoticeKind::Recovered { .. } => {
                    self.end(&notice.finding.key(), notice.at_ms, Some((notice, voice)));
                }
            }
        }
        let told: BTreeMap<&CaseKey, &Finding> =
            alerts.told().map(|(key, case)| (key, &case.finding)).collect();
        let forgotten: Vec<CaseKey> =
            self.firing().filter(|row| !told.contains_key(&row.key)).map(|row| row.key.clone()).collect();
        for key in forgotten {
            self.end(&key, now_ms, None);
        }
        for (key, finding) in told {
            let alert = as_alert(finding, now_ms);
            let ours = !audience(&[Channel::Alertmanager], &alert).is_empty();
            if ours && !self.firing().any(|row| row.key == *key) {
                self.fire(&alert, voice);
            }
        }
    }

    /// All rows as alerts; what fires is good until `until_ms` unless it is told again.
    #[must_use]
    pub fn alerts(
        &self,
        alerts: &AlertState,
        voice: &Voice,
        now_ms: i64,
        until_ms: i64,
    ) -> Vec<PostableAlert> {
        let told: BTreeMap<&CaseKey, &Case> = alerts.told().collect();
        let alert = |row: &Row| {
            // what is measured changes while it fires; what ended stays as it was told
            let measured = row.ended_at_ms.is_none().then(|| told.get(&row.key)).flatten();
            let annotations = measured.map_or_else(
                || row.annotations.clone(),
                |case| {
                    let mut annotations = wire::annotations(&as_alert(&case.finding, now_ms), voice);
                    annotations.extend(alerts.silence_of(case).map(|silence| wire::silenced(&silence)));
                    annotations
                },
            );
            PostableAlert {
                labels: row.labels.clone(),
                annotations,
                starts_at: wire::time(row.starts_at_ms),
                ends_at: wire::time(row.ended_at_ms.unwrap_or(until_ms).max(row.starts_at_ms)),
            }
        };
        self.rows.iter().map(alert).collect()
    }

    /// Everything was taken at `now_ms`: forgets what surely is known to be over.
    pub fn taken(&mut self, now_ms: i64) {
        self.rows.retain(|row| {
            row.ended_at_ms.is_none_or(|ended| now_ms < ended.saturating_add(CLOCKS_DIFFER_MS))
        });
    }

    /// Takes up what an earlier life told: an end that it may not have got through is told again.
    pub fn take_up(&mut self, old: Self) {
        let unknown = |row: &Row| !self.rows.iter().any(|own| own.labels == row.labels);
        let rows: Vec<Row> = old.rows.into_iter().filter(unknown).collect();
        self.rows.extend(rows);
        self.rows.truncate(ROWS_MAX);
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn firing(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.ended_at_ms.is_none())
    }

    fn fire(&mut self, notice: &Notice, voice: &Voice) {
        let finding = &notice.finding;
        let labels = wire::labels(finding, &voice.host);
        let key = finding.key();
        if self.firing().any(|row| row.key == key && row.labels == labels) {
            return;
        }
        self.end(&key, notice.at_ms, None);
        if self.rows.len() >= ROWS_MAX {
            return;
        }
        // the same alert again, before its last end was forgotten
        self.rows.retain(|row| row.labels != labels);
        let annotations = wire::annotations(notice, voice);
        self.rows.push(Row { key, labels, annotations, starts_at_ms: finding.since_ms, ended_at_ms: None });
    }

    fn end(&mut self, key: &CaseKey, at_ms: i64, by: Option<(&Notice, &Voice)>) {
        for row in self.rows.iter_mut().filter(|row| row.key == *key && row.ended_at_ms.is_none()) {
            row.ended_at_ms = Some(at_ms.max(row.starts_at_ms));
            if let Some((notice, voice)) = by {
                row.annotations = wire::annotations(notice, voice);
            }
        }
    }
}

/// A condition as if it were told now.
fn as_alert(finding: &Finding, now_ms: i64) -> Notice {
    Notice { kind: NoticeKind::Alert, at_ms: now_ms, finding: finding.clone() }
}
