//! Text for people: tables, and texts of others without what a terminal would obey.

use std::io::{self, Write};

use serde_json::Value;

/// A text of somebody else, on one line and without control characters.
pub fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

/// `-` stands for nothing.
pub fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
}

/// A text of several lines on one.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A part of a document that may have any shape; lists become words with commas.
pub fn words(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => or_dash(Some(&one_line(text))),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            or_dash(Some(&one_line(&items.join(", "))))
        }
        other => other.to_string(),
    }
}

/// JSON for programs, over several lines.
pub fn json(value: &Value) -> String {
    escaped(&format!("{value:#}"))
}

/// JSON for programs, on one line.
pub fn json_line(value: &Value) -> String {
    escaped(&value.to_string())
}

/// JSON need not escape all of what a terminal would obey.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            '\u{7f}'..='\u{9f}' => text.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => text.push(char),
        }
    }
    text
}

/// Writes rows below a head, each column as wide as its longest cell.
pub fn table<const COLUMNS: usize>(
    out: &mut impl Write,
    head: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> io::Result<()> {
    Table::new(head).write(out, rows)
}

/// A table whose rows come in parts. Columns grow with each part and never shrink.
pub struct Table<'a, const COLUMNS: usize> {
    /// Until it is written.
    head: Option<[&'a str; COLUMNS]>,
    widths: [usize; COLUMNS],
}

impl<'a, const COLUMNS: usize> Table<'a, COLUMNS> {
    pub fn new(head: [&'a str; COLUMNS]) -> Self {
        Self { head: Some(head), widths: [0; COLUMNS] }
    }

    pub fn write(
        &mut self,
        out: &mut impl Write,
        rows: impl IntoIterator<Item = [String; COLUMNS]>,
    ) -> io::Result<()> {
        let rows = rows.into_iter().map(|row| row.map(|cell| plain(&cell)));
        let head = self.head.take().map(|head| head.map(str::to_owned));
        let rows: Vec<_> = head.into_iter().chain(rows).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &rows {
            let cells = row.iter().zip(self.widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// Writes names and values below each other.
pub fn record(out: &mut impl Write, parts: &[(&str, String)]) -> io::Result<()> {
    let width = parts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in parts {
        writeln!(out, "{name:<width$}  {}", plain(value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_stand_below_each_other() {
        let mut out = Vec::new();
        let rows = [["acme", "Ärger"], ["a-long-id", "x"]].map(|row| row.map(str::to_owned));
        table(&mut out, ["ID", "NAME"], rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "ID         NAME\nacme       Ärger\na-long-id  x\n");
    }

    #[test]
    fn a_table_in_parts_has_one_head() {
        let mut out = Vec::new();
        let mut parts = Table::new(["ID", "NAME"]);
        for row in [["ab", "x"], ["a", "y"], ["abcd", "z"], ["a", "x"]] {
            parts.write(&mut out, [row.map(str::to_owned)]).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), "ID  NAME\nab  x\na   y\nabcd  z\na     x\n");
    }

    #[test]
    fn any_value_has_words() {
        for (value, expected) in [
            (json!(null), "-"),
            (json!(""), "-"),
            (json!("a\n b"), "a b"),
            (json!([]), "-"),
            (json!(["a b", "c"]), "a b, c"),
            (json!(["a", 1]), r#"["a",1]"#),
            (json!(true), "true"),
        ] {
            assert_eq!(words(&value), expected, "{value}");
        }
    }

    #[test]
    fn json_commands_no_terminal_and_says_the_same() {
        let value = json!(["\u{9b}2J\u{7f}\u{1b}é", { "a": 1 }]);
        let text = super::json(&value);
        assert!(text.chars().all(|char| !char.is_control() || char == '\n'), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn terminals_are_not_commanded() {
        assert_eq!(plain("a\x1b[2Jb\nc\u{9b}"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
    }
}
