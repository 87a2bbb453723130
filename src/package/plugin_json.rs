//! Reading `plugin.json`: one object that every JSON reader understands alike.

use serde_json::{Map, Value};

use super::finding::{Findings, Place};
use crate::strict_json::{self, ANY, Known};

/// Most bytes of a `plugin.json`.
pub(super) const SIZE_LIMIT: usize = 1024 * 1024;

/// Most values of a `plugin.json`: an object of seven bytes takes hundreds of them in memory.
const VALUES_LIMIT: usize = 10_000;

/// Largest whole number that every JSON reader keeps, RFC 8785 among them: 2^53 - 1.
pub(super) const WHOLE_NUMBER_LIMIT: u64 = (1 << 53) - 1;

/// The fields that mean something. A field that differs from one of them in case only is refused.
static KEYS: Known = Known(&[
    ("pid", &ANY),
    ("name", &ANY),
    ("version", &ANY),
    ("description", &ANY),
    ("capabilities", &ANY),
    ("dependencies", &ANY),
    ("sdk_version", &ANY),
    ("stateless", &ANY),
    ("is_specialized", &ANY),
    ("is_scoped", &ANY),
    ("tag", &ANY),
    ("entrypoint", &ANY),
    ("settings_schema", &ITEM_KEYS),
    ("logo", &ANY),
    ("readme", &ANY),
]);

static ITEM_KEYS: Known = Known(&[
    ("key", &ANY),
    ("type", &ANY),
    ("name", &ANY),
    ("description", &ANY),
    ("default", &ANY),
    ("required", &ANY),
    ("sensitive", &ANY),
]);

/// The fields of the object; `None` when the text is not one, which is then found.
pub(super) fn read(path: &str, bytes: &[u8], findings: &mut Findings) -> Option<Map<String, Value>> {
    let place = Place::of(path);
    let refuse = |message: &str| place.error("plugin.json", format!("plugin.json {message}"));
    if bytes.len() > SIZE_LIMIT {
        findings.push(refuse(&format!("is larger than {SIZE_LIMIT} bytes")));
        return None;
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        findings.push(refuse("starts with a byte order mark").hint("save it as UTF-8 without BOM"));
        return None;
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        findings.push(refuse("is not UTF-8").hint("save it as UTF-8 without BOM"));
        return None;
    };
    let fault = match strict_json::check(bytes, &KEYS) {
        Ok(values) if values > VALUES_LIMIT => Some(format!("has more than {VALUES_LIMIT} values")),
        Ok(_) => None,
        Err(error) => Some(format!("cannot be read: {error}")),
    };
    if let Some(fault) = fault {
        findings.push(refuse(&fault));
        return None;
    }
    if let Some(number) = numbers(text).find(|number| !is_kept(number)) {
        let number = super::finding::quoted(number, 40);
        findings.push(
            refuse(&format!("holds a number that other readers round: {number}"))
                .hint("whole numbers lie within ±(2^53 - 1); write others as text"),
        );
        return None;
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Some(fields),
        Ok(_) => {
            findings.push(refuse("must hold one JSON object"));
            None
        }
        Err(error) => {
            findings.push(refuse(&format!("cannot be read: {error}")));
            None
        }
    }
}

/// The numbers of a JSON text that is known to be well-formed, as they are written.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => at = end_of_string(bytes, at + 1),
                b'-' | b'0'..=b'9' => {
                    let start = at;
                    let part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                    at += bytes[at..].iter().take_while(|byte| part(byte)).count();
                    return text.get(start..at);
                }
                _ => at += 1,
            }
        }
        None
    })
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// Whether a double keeps the number: fractions are doubles for everyone, whole numbers only up to a limit.
fn is_kept(number: &str) -> bool {
    let digits = number.trim_start_matches('-');
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    !whole || digits.parse::<u64>().is_ok_and(|number| number <= WHOLE_NUMBER_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        let mut findings = Findings::default();
        assert!(read("p/plugin.json", bytes, &mut findings).is_none());
        let findings = findings.into_vec();
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].rule, findings[0].path.as_deref()), ("plugin.json", Some("p/plugin.json")));
        findings[0].message.clone()
    }

    fn accepted(text: &str) -> Map<String, Value> {
        read("plugin.json", text.as_bytes(), &mut Findings::default()).unwrap()
    }

    #[test]
    fn one_reading_only() {
        for (text, why) in [
            (&b"\xef\xbb\xbf{}"[..], "byte order mark"),
            (b"{\"pid\":\"\xff\"}", "not UTF-8"),
            (b"{\"pid\":1,\"pid\":2}", "duplicate key"),
            (b"{\"pid\":1,\"\\u0070id\":2}", "duplicate key"),
            (b"{\"x\":{\"a\":1,\"a\":1}}", "duplicate key"),
            (b"{\"Pid\":1}", "must be written"),
            (b"{\"settings_schema\":[{\"Key\":1}]}", "must be written"),
            (b"[]", "one JSON object"),
            (b"", "cannot be read"),
            (b"{} {}", "cannot be read"),
            (b"{\"a\":\"\\ud800\"}", "cannot be read"),
            (b"{\"a\":1e999}", "cannot be read"),
            (b"{\"a\":NaN}", "cannot be read"),
            (b"{'a':1}", "cannot be read"),
            (b"{\"a\":1,}", "cannot be read"),
            (b"{\"a\":[9007199254740992]}", "9007199254740992"),
            (b"{\"a\":-9007199254740992}", "-9007199254740992"),
            (b"{\"a\":\"\\\\\",\"b\":123456789012345678901234567890}", "123456789012345678901234567890"),
        ] {
            let message = refused(text);
            assert!(message.contains(why), "{message}");
        }
    }

    #[test]
    fn the_published_schema_has_the_same_fields() {
        let schema: Value = serde_json::from_str(include_str!("../../spec/plugin.schema.json")).unwrap();
        let same = |known: &Known, described: &Value| {
            let known: Vec<&str> = known.0.iter().map(|(name, _)| *name).collect();
            let described = described["properties"].as_object().unwrap();
            assert!(known.len() == described.len() && known.iter().all(|name| described.contains_key(*name)));
        };
        same(&KEYS, &schema);
        same(&ITEM_KEYS, &schema["$defs"]["setting"]);
    }

    #[test]
    fn depth_size_and_values_are_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        accepted(&nested(64));
        assert!(refused(nested(65).as_bytes()).contains("64 levels"));
        assert!(refused(nested(100_000).as_bytes()).contains("64 levels"));
        let filled = |size: usize| format!("{{{}}}", " ".repeat(size - 2));
        accepted(&filled(SIZE_LIMIT));
        assert!(refused(filled(SIZE_LIMIT + 1).as_bytes()).contains("larger"));
        // With the list and the object around it.
        let zeros = |count: usize| format!("{{\"a\":[{}0]}}", "0,".repeat(count - 1));
        accepted(&zeros(VALUES_LIMIT - 2));
        assert!(refused(zeros(VALUES_LIMIT - 1).as_bytes()).contains("more than 10000 values"));
    }

    #[test]
    fn numbers_that_every_reader_keeps() {
        let text =
            r#"{"a":9007199254740991,"b":-9007199254740991,"c":0.1,"d":1e300,"e":"99999999999999999999\"9"}"#;
        assert_eq!(accepted(text)["a"], 9_007_199_254_740_991_u64);
        assert_eq!(numbers(text).count(), 4);
        assert!(refused(format!("{{\"a\":{}}}", "9".repeat(100_000)).as_bytes()).len() < 400);
    }
}
