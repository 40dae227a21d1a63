//! XML that a project's own command wrote, read without believing anything of it.
//!
//! Element by element; only attributes of elements that a gate asks about are looked at. Invariant: no entity but the five
//! of XML itself is expanded, and a document that stops in its middle is none.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// Elements within elements: no report comes near it.
const DEPTH_MAX: usize = 64;

/// An element that begins.
pub(super) struct Element<'a> {
    start: &'a BytesStart<'a>,
    /// The element that it stands in; absent for the root.
    pub(super) above: Option<&'a str>,
}

/// What a walk meets.
pub(super) enum Step<'a> {
    /// An element begins.
    Opens(Element<'a>),
    /// An element of this name ends.
    Closes(&'a str),
}

impl Element<'_> {
    pub(super) fn name(&self) -> &str {
        self.start.name().into_inner()
    }

    /// An attribute's value.
    pub(super) fn attribute(&self, key: &str) -> Result<Option<String>, String> {
        for attribute in self.start.attributes() {
            let attribute = attribute.map_err(|error| format!("<{}>: {error}", self.name()))?;
            if attribute.key.into_inner() == key {
                let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                let value = value.map_err(|error| format!("<{}> {key}: {error}", self.name()))?;
                return Ok(Some(value.into_owned()));
            }
        }
        Ok(None)
    }

    /// An attribute that is a whole number, and must be there.
    pub(super) fn number(&self, key: &str) -> Result<u64, String> {
        let value = self.attribute(key)?.ok_or_else(|| format!("a <{}> has no {key}", self.name()))?;
        value.parse().map_err(|_| format!("<{}> {key}={value:?} is no whole number", self.name()))
    }
}

/// Goes through a whole document.
pub(super) fn walk(text: &[u8], mut visit: impl FnMut(Step<'_>) -> Result<(), String>) -> Result<(), String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not written in UTF-8".to_owned())?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<String> = Vec::new();
    let mut any = false;
    loop {
        let event =
            reader.read_event().map_err(|error| format!("at byte {}: {error}", reader.error_position()))?;
        match event {
            Event::Start(start) => {
                any = true;
                visit(Step::Opens(Element { start: &start, above: open.last().map(String::as_str) }))?;
                if open.len() >= DEPTH_MAX {
                    return Err(format!("more than {DEPTH_MAX} elements within each other"));
                }
                open.push(start.name().into_inner().to_owned());
            }
            Event::Empty(start) => {
                any = true;
                visit(Step::Opens(Element { start: &start, above: open.last().map(String::as_str) }))?;
                visit(Step::Closes(start.name().into_inner()))?;
            }
            Event::End(end) => {
                open.pop();
                visit(Step::Closes(end.name().into_inner()))?;
            }
            Event::Eof if open.is_empty() && any => return Ok(()),
            Event::Eof => {
                return Err(open
                    .last()
                    .map_or("it has no element".to_owned(), |name| format!("it ends within <{name}>")));
            }
            Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::GeneralRef(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        walk(text.as_bytes(), |step| {
            if let Step::Opens(element) = step {
                values.extend(element.attribute("a")?);
            }
            Ok(())
        })?;
        Ok(values)
    }

    #[test]
    fn entities_of_a_documents_own_are_not_expanded() {
        assert_eq!(
            values(r#"<r a="1 &lt; 2"><b a="&#65;"/></r>"#),
            Ok(vec!["1 < 2".to_owned(), "A".to_owned()])
        );
        let laughs = r#"<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><r>&b;<b a="&b;"/></r>"#;
        assert!(values(laughs).unwrap_err().contains("<b> a"), "{:?}", values(laughs));
        let outside = r#"<!DOCTYPE r SYSTEM "file:///etc/passwd"><r a="x"/>"#;
        assert_eq!(values(outside), Ok(vec!["x".to_owned()]));
    }

    #[test]
    fn half_a_document_and_a_bottomless_one_are_none() {
        for text in ["", "  ", "<?xml version=\"1.0\"?>", "<r><b>", "<r><b></b>", "<r", "<r></s>", "<r a=1/>"]
        {
            assert!(values(text).is_err(), "{text:?}");
        }
        assert!(values(&"<r>".repeat(1_000_000)).unwrap_err().contains("within each other"));
        assert!(walk(b"<r>\xff</r>", |_| Ok(())).is_err());
    }
}
