//! The tags of HTML that stands in a Markdown text, read one by one.

/// What begins with a `<`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Names in lower case; the first of several attributes with one name.
    Open {
        name: String,
        attributes: Vec<(String, String)>,
    },
    Close {
        name: String,
    },
    /// A comment, a declaration, or a tag that does not end.
    Dropped,
    /// A `<` that begins nothing.
    Text,
}

/// Most attributes of a tag that are looked at.
const ATTRIBUTES_LIMIT: usize = 32;

/// Reads what stands at a `<`, and tells its length.
pub(super) fn read(text: &str) -> (Piece, usize) {
    let inner = text.get(1..).unwrap_or_default();
    let until = |end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
    match inner.bytes().next() {
        Some(b'!') if inner.starts_with("!--") => (Piece::Dropped, until("-->")),
        Some(b'!' | b'?') => (Piece::Dropped, until(">")),
        Some(b'/') if inner[1..].starts_with(|c: char| c.is_ascii_alphabetic()) => {
            (Piece::Close { name: name(&inner[1..]) }, until(">"))
        }
        Some(b'a'..=b'z' | b'A'..=b'Z') => open(text),
        _ => (Piece::Text, 1),
    }
}

fn name(text: &str) -> String {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(text.len());
    text[..end].to_ascii_lowercase()
}

fn open(text: &str) -> (Piece, usize) {
    let name = name(&text[1..]);
    let mut attributes: Vec<(String, String)> = Vec::new();
    let mut rest = &text[1 + name.len()..];
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() {
            return (Piece::Dropped, text.len());
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (Piece::Open { name, attributes }, text.len() - after.len());
        }
        // The first character belongs to the name whatever it is, so that there is always progress.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let ends = |c: char| c.is_ascii_whitespace() || ['/', '>', '='].contains(&c);
        let end = rest[first..].find(ends).map_or(rest.len(), |at| first + at);
        let attribute = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start_matches(|c: char| c.is_ascii_whitespace());
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start_matches(|c: char| c.is_ascii_whitespace());
            let quote = after.chars().next().filter(|quote| ['"', '\''].contains(quote));
            let (found, next) = match quote {
                Some(quote) => match after[1..].split_once(quote) {
                    Some(split) => split,
                    None => return (Piece::Dropped, text.len()),
                },
                None => {
                    let ends = |c: char| c.is_ascii_whitespace() || c == '>';
                    after.split_at(after.find(ends).unwrap_or(after.len()))
                }
            };
            (value, rest) = (found, next);
        }
        let known = attributes.iter().any(|(name, _)| *name == attribute);
        if !known && attributes.len() < ATTRIBUTES_LIMIT {
            attributes.push((attribute, decode(value)));
        }
    }
}

/// The few entities that an attribute needs; what others mean is left as it is written.
fn decode(value: &str) -> String {
    let mut value = value.to_owned();
    for (entity, character) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
    {
        if value.contains(entity) {
            value = value.replace(entity, character);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(text: &str) -> Option<(String, Vec<(String, String)>)> {
        match read(text) {
            (Piece::Open { name, attributes }, length) if length == text.len() => Some((name, attributes)),
            _ => None,
        }
    }

    #[test]
    fn tags_and_their_attributes() {
        for (text, name, attributes) in [
            ("<b>", "b", &[][..]),
            ("<BR/>", "br", &[]),
            ("<h1 >", "h1", &[]),
            ("<img src=a.png alt='x > y'/>", "img", &[("src", "a.png"), ("alt", "x > y")]),
            ("<a HREF = \"b?c&amp;d\"\n title>", "a", &[("href", "b?c&d"), ("title", "")]),
            ("<a/href=\"b\"/onclick=c>", "a", &[("href", "b"), ("onclick", "c")]),
            ("<a href=1 HREF=2>", "a", &[("href", "1")]),
            ("<a =b=c>", "a", &[("=b", "c")]),
            ("<a b\"=c>", "a", &[("b\"", "c")]),
            ("<a é=ü>", "a", &[("é", "ü")]),
            ("<a b=&amp;lt;>", "a", &[("b", "&lt;")]),
            ("<a-b>", "a-b", &[]),
        ] {
            let attributes = attributes.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            assert_eq!(opened(text), Some((name.to_owned(), attributes.collect())), "{text}");
        }
    }

    #[test]
    fn what_is_no_opening_tag() {
        for (text, piece, length) in [
            ("</b>x", Piece::Close { name: "b".into() }, 4),
            ("</B x='>'>", Piece::Close { name: "b".into() }, 8),
            ("<!-- <b> -->x", Piece::Dropped, 12),
            ("<!-- never", Piece::Dropped, 10),
            ("<!DOCTYPE html>x", Piece::Dropped, 15),
            ("<?php ?>x", Piece::Dropped, 8),
            ("<b", Piece::Dropped, 2),
            ("<b a='>", Piece::Dropped, 7),
            ("<", Piece::Text, 1),
            ("< b>", Piece::Text, 1),
            ("<3", Piece::Text, 1),
            ("</", Piece::Text, 1),
            ("</ b>", Piece::Text, 1),
            ("<é>", Piece::Text, 1),
        ] {
            assert_eq!(read(text), (piece, length), "{text}");
        }
    }
}
