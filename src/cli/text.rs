//! Text for people: tables, and texts of others without what a terminal would obey.

use std::io::{self, Write};

/// A text of somebody else, on one line and without control characters.
pub fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

/// `-` stands for nothing.
pub fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
}

/// Writes rows below a head, each column as wide as its longest cell.
pub fn table<const COLUMNS: usize>(
    out: &mut impl Write,
    head: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> io::Result<()> {
    let rows = rows.into_iter().map(|row| row.map(|cell| plain(&cell)));
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
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

    #[test]
    fn columns_stand_below_each_other() {
        let mut out = Vec::new();
        let rows = [["acme", "Ärger"], ["a-long-id", "x"]].map(|row| row.map(str::to_owned));
        table(&mut out, ["ID", "NAME"], rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "ID         NAME\nacme       Ärger\na-long-id  x\n");
    }

    #[test]
    fn terminals_are_not_commanded() {
        assert_eq!(plain("a\x1b[2Jb\nc\u{9b}"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
    }
}
