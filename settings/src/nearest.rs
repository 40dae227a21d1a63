//! The nearest known name to a misspelt one.
//!
//! Optimal string alignment distance (insert, delete, replace, swap of neighbours) over bytes; the
//! names compared are short ASCII words.

use std::cmp::Reverse;

/// Longest name that is compared, in bytes; longer ones get no suggestion.
const NAME_MAX: usize = 128;

/// The known name that needs the fewest edits, when those are at most a third of the longer name; of
/// equals the one that begins like it for longest, since what is typed is more often cut short than
/// begun wrong.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > NAME_MAX {
        return None;
    }
    let mut best: Option<((usize, Reverse<usize>), &'a str)> = None;
    for candidate in known {
        let edits = distance(name.as_bytes(), candidate.as_bytes());
        let near = edits * 3 <= name.len().max(candidate.len());
        let rank = (edits, Reverse(common_beginning(name, candidate)));
        if near && best.is_none_or(|(nearest, _)| rank < nearest) {
            best = Some((rank, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn common_beginning(left: &str, right: &str) -> usize {
    left.bytes().zip(right.bytes()).take_while(|(left, right)| left == right).count()
}

fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut before_last: Vec<usize> = vec![0; right.len() + 1];
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut row = vec![0; right.len() + 1];
    for (i, &from) in left.iter().enumerate() {
        row[0] = i + 1;
        for (j, &to) in right.iter().enumerate() {
            let replace = last[j] + usize::from(from != to);
            row[j + 1] = replace.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == right[j - 1] && left[i - 1] == to {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        std::mem::swap(&mut before_last, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_far_ones_are_not_offered() {
        let known = [
            "WATCHDOG_BIND",
            "WATCHDOG_TICK_S",
            "ORCH_BIND",
            "ORCH_MAX_AGENTS",
            "ORCH_MAX_AGENTS_PER_REPO",
            "ORCH_REAPER_DEAD_GRACE_S",
        ];
        for (name, expected) in [
            ("ORCH_BIDN", Some("ORCH_BIND")),
            ("ORCH_MAX_AGENT", Some("ORCH_MAX_AGENTS")),
            ("ORCH_MAXAGENTS", Some("ORCH_MAX_AGENTS")),
            ("ORCH_REAPER_GRACE_S", Some("ORCH_REAPER_DEAD_GRACE_S")),
            // three edits from each, and the beginning of one
            ("WATCHDOG_TIK", Some("WATCHDOG_TICK_S")),
            ("ORCH_SOMETHING_ELSE", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name:?}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (left, right, edits) in
            [("", "", 0), ("", "ab", 2), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(left.as_bytes(), right.as_bytes()), edits, "{left} {right}");
            assert_eq!(distance(right.as_bytes(), left.as_bytes()), edits, "{right} {left}");
        }
    }
}
