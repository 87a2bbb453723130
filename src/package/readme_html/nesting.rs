//! How deep the blocks of a Markdown text are nested, found out before they are parsed.
//!
//! For every line the parser goes through all blocks that are open. In a text of 1 MiB with half a million of them
//! that takes minutes.

/// The last column in which a quote or a list item may begin. Each level is one column at least.
const COLUMN_LIMIT: usize = 100;
/// Columns from one tab stop to the next.
const TAB: usize = 4;

/// Whether no block begins so far to the right that it could be nested too deep.
pub(super) fn is_bounded(text: &str) -> bool {
    text.split(['\n', '\r']).all(|line| last_marker(line) <= COLUMN_LIMIT)
}

/// The column behind the last marker of those that a line begins with.
fn last_marker(line: &str) -> usize {
    let mut last = 0;
    let mut column = 0;
    let mut rest = line.as_bytes();
    while let [first, after @ ..] = rest {
        let length = match first {
            b' ' => {
                column += 1;
                rest = after;
                continue;
            }
            b'\t' => {
                column += TAB - column % TAB;
                rest = after;
                continue;
            }
            b'>' => 1,
            b'-' | b'*' | b'+' if is_blank(after) => 1,
            b'0'..=b'9' => match number(rest) {
                Some(length) => length,
                None => break,
            },
            b'[' => match footnote(rest) {
                Some(length) => length,
                None => break,
            },
            _ => break,
        };
        column += length;
        last = column;
        rest = &rest[length..];
    }
    last
}

fn is_blank(rest: &[u8]) -> bool {
    matches!(rest.first(), None | Some(b' ' | b'\t'))
}

/// The length of the marker of an ordered list.
fn number(rest: &[u8]) -> Option<usize> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (matches!(rest.get(digits), Some(b'.' | b')')) && is_blank(&rest[digits + 1..])).then_some(digits + 1)
}

/// The length of the start of a footnote.
fn footnote(rest: &[u8]) -> Option<usize> {
    let label = rest.strip_prefix(b"[^")?;
    let length = label.iter().position(|&byte| byte == b']')?;
    label[length + 1..].starts_with(b":").then_some(length + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_of_the_last_marker() {
        for (line, column) in [
            ("", 0),
            ("text - with > marks", 0),
            ("> quote", 1),
            (">>> quote", 3),
            ("- item", 1),
            ("-", 1),
            ("-no item", 0),
            ("----------", 0),
            ("- - -", 5),
            ("  - item", 3),
            ("\t- item", 5),
            (" \t> x", 5),
            ("12. item", 3),
            ("12.item", 0),
            ("1) > + * x", 8),
            ("          code", 0),
            ("**bold**", 0),
            ("[^a]: > x", 7),
            ("[^a] > x", 0),
            ("[a]: x", 0),
        ] {
            assert_eq!(last_marker(line), column, "{line:?}");
        }
    }

    #[test]
    fn one_deep_line_is_enough() {
        assert!(is_bounded(&format!("a\n{}\nb", ">".repeat(COLUMN_LIMIT))));
        for end in ["\n", "\r", "\r\n"] {
            assert!(!is_bounded(&format!("a{end}{}{end}b", ">".repeat(COLUMN_LIMIT + 1))));
        }
        assert!(!is_bounded(&format!("{}- a", " ".repeat(COLUMN_LIMIT))));
        assert!(is_bounded(&format!("{}a", " ".repeat(1_000))));
    }
}
