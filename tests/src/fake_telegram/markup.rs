//! HTML markup by the few rules that the service has.
//!
//! Responsible for what a chat shows of a marked-up text, and for refusing what the service refuses.

/// Text of HTML markup, by the few rules that the service has.
pub(super) fn shown_html(markup: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = markup;
    while let Some(at) = rest.find(['<', '>', '&']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix('&') {
            let entities = [("lt;", '<'), ("gt;", '>'), ("amp;", '&'), ("quot;", '"')];
            let known =
                entities.iter().find_map(|(name, sign)| after.strip_prefix(name).map(|after| (after, sign)));
            let (after, sign) = known.unwrap_or((after, &'&'));
            text.push(*sign);
            rest = after;
            continue;
        }
        if rest.starts_with('>') {
            return Err("Unexpected character '>'".to_owned());
        }
        let end = rest.find('>').ok_or("Unclosed start tag")?;
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        match tag.strip_prefix('/') {
            Some(name) if open.pop() == Some(name) => {}
            Some(name) => return Err(format!("Unexpected end tag \"{name}\"")),
            None if ["b", "i", "u", "s", "code", "pre"].contains(&tag) => open.push(tag),
            None => return Err(format!("Unsupported start tag \"{tag}\"")),
        }
    }
    text.push_str(rest);
    if open.is_empty() { Ok(text) } else { Err(format!("Can't find end tag for {open:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_read_as_the_service_reads_it() {
        assert_eq!(shown_html("<b>a &lt;b&gt;</b> &amp; <code>c</code>").unwrap(), "a <b> & c");
        for bad in ["<b>a", "a</b>", "<b><i></b></i>", "<x>a</x>", "a > b", "a < b"] {
            assert!(shown_html(bad).is_err(), "{bad}");
        }
    }
}
