//! The table as files: example, reference, print of what is in effect.
//!
//! Text out of data, nothing else. The checked-in files equal these texts by test, so they hold
//! every key, once, and no other.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::key::{Fallback, Key, Table};

/// The example environment file.
#[must_use]
pub fn example(table: &Table) -> String {
    let mut text = format!(
        "# Settings of {}: every key with its default. Generated from the program's table of keys.\n\
         # A value is taken as it stands: no quotes, no expansion, no comment behind it.\n",
        table.program
    );
    for section in table.sections {
        push(&mut text, format_args!("\n# --- {} ---\n", section.title));
        for key in section.keys {
            push(&mut text, format_args!("\n# {}\n{}={}\n", sentence(key), key.name, default_text(key)));
            if let Some(file_key) = key.file_name() {
                push(&mut text, format_args!("# File that holds {} instead.\n{file_key}=\n", key.name));
            }
        }
    }
    text
}

/// The reference: a Markdown table a section.
#[must_use]
pub fn reference(table: &Table) -> String {
    let mut text = String::new();
    for section in table.sections {
        push(&mut text, format_args!("### {}\n\n", section.title));
        text.push_str("| key | default | allowed | meaning |\n| --- | --- | --- | --- |\n");
        for key in section.keys {
            let default = match key.fallback {
                Fallback::Text("") => "empty".to_owned(),
                Fallback::Text(text) => format!("`{text}`"),
                Fallback::Described(words) => words.to_owned(),
                Fallback::Unset => "–".to_owned(),
            };
            let name = match key.file_name() {
                Some(file_key) => format!("`{}`, `{file_key}`", key.name),
                None => format!("`{}`", key.name),
            };
            let row = [name, default, key.kind.allowed(), key.meaning.to_owned()];
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            push(&mut text, format_args!("| {} |\n", cells.join(" | ")));
        }
        text.push('\n');
    }
    text
}

/// Every variable with the value in effect; secrets arrive here masked.
pub(crate) fn in_effect(table: &Table, values: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for name in table.variables() {
        let value = values.get(&name).map_or("", String::as_str);
        push(&mut text, format_args!("{name}={value}\n"));
    }
    text
}

/// Replaces the block between `<!-- begin NAME -->` and `<!-- end NAME -->` of a document, so that
/// prose can surround what is generated; absent when the document has no such block.
#[must_use]
pub fn with_block(document: &str, name: &str, block: &str) -> Option<String> {
    let begin = format!("<!-- begin {name} -->\n");
    let end = format!("<!-- end {name} -->");
    let from = document.find(&begin)? + begin.len();
    let to = from + document.get(from..)?.find(&end)?;
    Some(format!("{}{block}{}", document.get(..from)?, document.get(to..)?))
}

fn sentence(key: &Key) -> String {
    let default = match key.fallback {
        Fallback::Text(_) => String::new(),
        Fallback::Described(words) => format!(" Default: {words}."),
        Fallback::Unset => " Unset when empty.".to_owned(),
    };
    format!("{} Allowed: {}.{default}", key.meaning, key.kind.allowed())
}

fn default_text(key: &Key) -> &'static str {
    match key.fallback {
        Fallback::Text(text) => text,
        Fallback::Described(_) | Fallback::Unset => "",
    }
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    // writing to a String cannot fail
    text.write_fmt(part).ok();
}
