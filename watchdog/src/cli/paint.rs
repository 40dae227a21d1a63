//! How the commands print: colours, durations, sizes, trees. No fact is decided here.

use crate::observe::{Family, Member};

/// Whether escape sequences may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// To a terminal.
    On,
    /// To anything else.
    Off,
}

/// Emphasis.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tone {
    Alarm,
    Warning,
    Good,
    Strong,
    Faint,
}

pub(super) fn paint(color: Color, tone: Tone, text: &str) -> String {
    let code = match tone {
        Tone::Alarm => "1;31",
        Tone::Warning => "33",
        Tone::Good => "32",
        Tone::Strong => "1",
        Tone::Faint => "2",
    };
    match color {
        Color::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        Color::Off => text.to_owned(),
    }
}

/// `2 d 19 h`, `5 min 12 s`.
pub(super) fn duration(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

pub(super) fn size(bytes: u64) -> String {
    let mib = bytes / (1024 * 1024);
    match mib {
        0 => format!("{} KiB", bytes / 1024),
        1..10_240 => format!("{mib} MiB"),
        _ => format!("{} GiB", mib / 1024),
    }
}

/// CPU in words: what matters is whether it works at all.
pub(super) fn cpu(share: Option<f64>) -> String {
    match share {
        None => "CPU not measured".to_owned(),
        Some(share) if share >= 0.005 => format!("{share:.2} of a core"),
        Some(_) => "idle".to_owned(),
    }
}

/// Levels that are indented; whoever is deeper is drawn as deep as this, so that a line stays a line.
const LEVELS: usize = 24;

/// The members as a tree, and how many are left out of it.
pub(super) fn tree(family: &Family, most: usize) -> Vec<String> {
    let mut lines = tree_lines(family, most);
    let left_out = family.members.len().saturating_sub(lines.len());
    if left_out > 0 {
        lines.push(format!("… and {left_out} more"));
    }
    lines
}

/// The members as a tree: children below their parent, whoever lost its parent at the top.
pub(super) fn tree_lines(family: &Family, most: usize) -> Vec<String> {
    let pids: Vec<i32> = family.members.iter().map(|member| member.key.pid).collect();
    let mut lines = Vec::new();
    let tops = family.members.iter().filter(|member| !pids.contains(&member.ppid));
    for top in tops {
        branch(family, top, most, &mut lines);
    }
    lines
}

/// Walks without recursion: a hostile chain may be as long as there are pids.
fn branch(family: &Family, top: &Member, most: usize, lines: &mut Vec<String>) {
    let mut waiting: Vec<(&Member, String, String, usize)> = vec![(top, String::new(), String::new(), 0)];
    while let Some((member, lead, below, level)) = waiting.pop() {
        // a parent is older than its child, so this ends; the cap bounds it in any case
        if lines.len() >= most {
            return;
        }
        lines.push(format!("{lead}{} {} {}", member.key.pid, member.state, member.command));
        let children: Vec<&Member> = family
            .members
            .iter()
            .filter(|child| child.ppid == member.key.pid && child.key.pid != member.key.pid)
            .filter(|child| child.key.start_ticks >= member.key.start_ticks)
            .collect();
        let last = children.len().saturating_sub(1);
        for (at, child) in children.into_iter().enumerate().rev() {
            if level >= LEVELS {
                waiting.push((child, lead.clone(), below.clone(), level));
                continue;
            }
            let (elbow, line) = if at == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            waiting.push((child, format!("{below}{elbow}"), format!("{below}{line}"), level + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_two_units() {
        for (ms, said) in [
            (0, "0 s"),
            (59_999, "59 s"),
            (61_000, "1 min 1 s"),
            (7_500_000, "2 h 5 min"),
            (241_200_000, "2 d 19 h"),
        ] {
            assert_eq!(duration(ms), said);
        }
    }

    #[test]
    fn unmeasured_cpu_is_not_idle() {
        assert_eq!(cpu(None), "CPU not measured");
        assert_eq!(cpu(Some(0.0)), "idle");
        assert_eq!(cpu(Some(1.5)), "1.50 of a core");
    }
}
