//! What the demo measured, in a few lines.

use std::time::Duration;

/// When alert and recovery arrived: (log channel, chat).
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrivals {
    /// From the death of the owner.
    pub(super) alert: (Duration, Duration),
    /// From the end of the orphan.
    pub(super) recovery: (Duration, Duration),
}

/// All of it; a part that did not come about is absent.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// From submission to `done`.
    pub(super) delivery: Option<Duration>,
    /// The merged revision.
    pub(super) merged: String,
    /// Processes before the kill, swept by the record, time until none was left.
    pub(super) swept: Option<(usize, u64, Duration)>,
    /// Orphan of a killed shell.
    pub(super) shell: Option<Arrivals>,
    /// Orphan of a killed agent.
    pub(super) agent: Option<Arrivals>,
}

impl Report {
    /// The report, line by line.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![String::new(), "report".to_owned()];
        if let Some(took) = self.delivery {
            let merged = self.merged.get(..12).unwrap_or(&self.merged);
            lines.push(format!(
                "  created -> done         {:6.1} s   merged once ({merged}), deployed once",
                took.as_secs_f64()
            ));
        }
        if let Some((before, swept, took)) = self.swept {
            lines.push(format!(
                "  (a) agent killed        {:6.2} s   until nothing was left of {before} processes; {swept} swept",
                took.as_secs_f64()
            ));
        }
        for (name, arrivals) in [("shell killed", self.shell), ("agent, no tree kill", self.agent)] {
            let Some(arrivals) = arrivals else { continue };
            let seconds = |(log, chat): (Duration, Duration)| {
                format!("{:5.1} s (log) {:5.1} s (chat)", log.as_secs_f64(), chat.as_secs_f64())
            };
            lines.push(format!("  (b) {name:<20} orphan -> alert  {}", seconds(arrivals.alert)));
            lines.push(format!("      {:<20} end -> recovery  {}", "", seconds(arrivals.recovery)));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_that_came_about_has_its_line() {
        let pair = (Duration::from_millis(2_100), Duration::from_millis(2_300));
        let whole = Report {
            delivery: Some(Duration::from_secs(61)),
            merged: "0123456789abcdef".to_owned(),
            swept: Some((4, 3, Duration::from_millis(210))),
            shell: Some(Arrivals { alert: pair, recovery: pair }),
            agent: Some(Arrivals { alert: pair, recovery: pair }),
        };
        let text = whole.lines().join("\n");
        for part in ["61.0 s", "0123456789ab)", "3 swept", "shell killed", "no tree kill", "2.3 s (chat)"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert_eq!(Report::default().lines().len(), 2);
    }
}
