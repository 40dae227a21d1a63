//! Text for terminals: columns, times, and nothing that a terminal would obey.

use std::io::Write;

use crate::clock::rfc3339;

/// Longest cell, in characters; the last column is cut here, too.
const CELL_MAX: usize = 100;

/// Rows below a heading, in columns as wide as their widest cell.
pub(super) fn print(
    out: &mut (dyn Write + Send),
    heading: &[&str],
    rows: &[Vec<String>],
) -> std::io::Result<()> {
    let heading: Vec<String> = heading.iter().map(|word| (*word).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(&heading)
        .chain(rows)
        .map(|row| row.iter().map(|cell| cut(&one_line(cell))).collect())
        .collect();
    let mut widths = vec![0; heading.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(cell);
            let gap = width.saturating_sub(cell.chars().count()) + 2;
            text.extend(std::iter::repeat_n(' ', gap));
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// Text without what a terminal would obey; line breaks and tabs stay.
pub(super) fn clean(text: &str) -> String {
    let obeyed = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    text.chars().map(|letter| if obeyed(letter) { '\u{fffd}' } else { letter }).collect()
}

/// The same on one line.
pub(super) fn one_line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cut(text: &str) -> String {
    if text.chars().count() <= CELL_MAX {
        return text.to_owned();
    }
    let mut shown: String = text.chars().take(CELL_MAX - 1).collect();
    shown.push('…');
    shown
}

/// A point in time to the second.
pub(super) fn time(at_ms: i64) -> String {
    rfc3339(at_ms - at_ms.rem_euclid(1000)).replace(".000", "")
}

/// A length of time in its two largest units.
pub(super) fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    if days > 0 {
        format!("{days} d {hours} h")
    } else if hours > 0 {
        format!("{hours} h {minutes} min")
    } else if minutes > 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else {
        format!("{seconds} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_nothing_reaches_the_terminal_that_it_would_obey() {
        let mut out = Vec::new();
        let rows =
            [vec!["A-1".to_owned(), "a\u{1b}[2Jb\nc".to_owned()], vec!["LONG-22".to_owned(), "é".to_owned()]];
        print(&mut out, &["KEY", "TITLE"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "KEY      TITLE\nA-1      a\u{fffd}[2Jb c\nLONG-22  é\n");
    }

    #[test]
    fn times_are_to_the_second() {
        assert_eq!(time(1_763_000_000_999), "2025-11-13T02:13:20Z");
        for (ms, expected) in [
            (0, "0 s"),
            (59_999, "59 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
            (-5, "0 s"),
        ] {
            assert_eq!(span(ms), expected);
        }
    }
}
