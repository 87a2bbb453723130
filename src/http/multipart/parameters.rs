//! A header value of the form `value; name=text; name="text"`, as forms use it.

use std::collections::BTreeMap;

/// The value before the first semicolon, and the rest from there on.
pub(super) fn split(text: &str) -> (&str, &str) {
    let (value, parameters) = text.split_at(text.find(';').unwrap_or(text.len()));
    (value.trim_matches(BLANKS), parameters)
}

const BLANKS: [char; 2] = [' ', '\t'];

/// Parameters by their name in lower case; `None` when they cannot be read, or when one is there twice.
pub(super) fn parse(text: &str) -> Option<BTreeMap<String, String>> {
    let mut parameters = BTreeMap::new();
    let mut rest = text.trim_matches(BLANKS);
    while !rest.is_empty() {
        rest = rest.strip_prefix(';')?.trim_start_matches(BLANKS);
        if rest.is_empty() || rest.starts_with(';') {
            continue;
        }
        let (name, value) = rest.split_once('=')?;
        let name = name.trim_end_matches(BLANKS);
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        let value = value.trim_start_matches(BLANKS);
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, after) = value.split_at(value.find(';').unwrap_or(value.len()));
                (value.trim_end_matches(BLANKS).to_owned(), after)
            }
        };
        if parameters.insert(name.to_ascii_lowercase(), value).is_some() {
            return None;
        }
        rest = after.trim_start_matches(BLANKS);
    }
    Some(parameters)
}

/// The text up to the closing quote, and what follows. A backslash counts only before a quote or a backslash:
/// browsers write paths of Windows as they are.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => {
                let escaped = characters.next_if(|(_, next)| ['"', '\\'].contains(next));
                value.push(escaped.map_or('\\', |(_, escaped)| escaped));
            }
            other => value.push(other),
        }
    }
    None
}

/// Whether a name may hold this byte (RFC 9110).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, String)>> {
        parse(text).map(|parameters| parameters.into_iter().collect())
    }

    #[test]
    fn parameters_with_and_without_quotes() {
        for (text, pairs) in [
            ("", &[][..]),
            (";", &[]),
            ("; a=1", &[("a", "1")]),
            (";A=1;;b = \"2\" ;", &[("a", "1"), ("b", "2")]),
            ("; a=\"x; y=\\\"z\\\\\"; b=----=_P", &[("a", "x; y=\"z\\"), ("b", "----=_P")]),
            ("; a=\"C:\\dir\\x\"", &[("a", "C:\\dir\\x")]),
            ("; a=\"\"", &[("a", "")]),
            ("; a=\"é€\"", &[("a", "é€")]),
        ] {
            let expected = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            assert_eq!(read(text), Some(expected.collect()), "{text}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in [
            "; a",
            "; =1",
            "; a=1; a=2",
            "; a=1; A=1",
            "; a=\"1",
            "; a=\"1\" b=2",
            "; a b=1",
            "a=1",
            "; a=\"1\"2",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_value_before_the_parameters() {
        assert_eq!(split("form-data; name=x"), ("form-data", "; name=x"));
        assert_eq!(split(" form-data "), ("form-data", ""));
    }
}
