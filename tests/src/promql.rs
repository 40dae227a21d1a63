//! Just enough of the query language to ask which metrics and labels a query names.
//!
//! Knows selectors and nothing of functions; what it cannot read as one of our names it leaves out,
//! so names of other programs pass unseen.

use std::collections::BTreeSet;

/// Beginnings of names that are ours, or that both programs export.
const OURS: [&str; 2] = ["orch_", "process_"];

/// A metric as a query names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// Name of the metric.
    pub metric: String,
    /// Names of the labels in its braces, with the texts they are compared with.
    pub labels: Vec<(String, String)>,
}

/// The selectors of our metrics in a query.
#[must_use]
pub fn selectors(query: &str) -> BTreeSet<Selector> {
    let mut found = BTreeSet::new();
    let mut rest = query;
    while let Some(at) = rest.find(|sign: char| sign.is_ascii_alphabetic() || sign == '_' || sign == '"') {
        rest = &rest[at..];
        if let Some(text) = rest.strip_prefix('"') {
            rest = text.split_once('"').map_or("", |(_, after)| after);
            continue;
        }
        let end =
            rest.find(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if OURS.iter().any(|beginning| word.starts_with(beginning)) {
            let braces = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let labels = braces.map_or_else(Vec::new, |(inner, _)| labels(inner));
            found.insert(Selector { metric: word.to_owned(), labels });
        }
    }
    found
}

/// `a="x", b=~"y"`; no text in our queries holds a quote or a brace.
fn labels(inner: &str) -> Vec<(String, String)> {
    let words: Vec<&str> = inner.split('"').collect();
    let pair = |pair: &[&str]| {
        let name = pair[0].trim_matches([',', ' ', '=', '!', '~']).to_owned();
        (name, pair[1].to_owned())
    };
    words.chunks_exact(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_found_and_texts_are_not() {
        let query = r#"sum without (severity) (orch_a{severity="critical", signal!~"orch_x|y"}) / rate(process_b_total[5m])
            > 3 * orch_c + up{job="orch-core"}"#;
        let text = |words: &[(&str, &str)]| {
            words.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        let wanted = [
            ("orch_a", text(&[("severity", "critical"), ("signal", "orch_x|y")])),
            ("orch_c", Vec::new()),
            ("process_b_total", Vec::new()),
        ];
        let wanted: BTreeSet<Selector> = wanted
            .into_iter()
            .map(|(metric, labels)| Selector { metric: metric.to_owned(), labels })
            .collect();
        assert_eq!(selectors(query), wanted);
    }
}
