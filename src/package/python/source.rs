//! The text of `plugin.py`: its encoding, and places in it.

use ruff_text_size::{TextRange, TextSize};

use crate::package::finding::{Place, Position, quoted};

/// Most characters of an expression in a message.
const SNIPPET_LIMIT: usize = 80;

/// A file whose text is what Python would read: UTF-8, every line ended by a line feed.
pub(super) struct Source {
    path: String,
    pub text: String,
    /// Offset of the first byte of each line.
    lines: Vec<usize>,
}

impl Source {
    /// Decodes the file as Python does, but for encodings: only UTF-8, with or without a byte order mark.
    pub fn decode(path: &str, bytes: &[u8]) -> Result<Self, String> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
        if let Some(declared) = declared_encoding(text)
            && !reads_as_utf8(declared, text)
        {
            return Err(format!("declares the encoding {:?}; only UTF-8 is read", quoted(declared, 40)));
        }
        if text.contains('\0') {
            return Err("holds the character U+0000".to_owned());
        }
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Ok(Self { path: path.to_owned(), text, lines })
    }

    pub fn line(&self, at: TextSize) -> usize {
        self.lines.partition_point(|start| *start <= at.to_usize())
    }

    pub fn place(&self, at: TextSize) -> Place {
        let line = self.line(at);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..at.to_usize()).unwrap_or_default();
        let position = Position { line, column: before.chars().count() + 1 };
        Place { path: self.path.clone(), position: Some(position) }
    }

    /// The text of an expression, short enough for a message.
    pub fn snippet(&self, range: TextRange) -> String {
        quoted(self.slice(range), SNIPPET_LIMIT)
    }

    pub fn slice(&self, range: TextRange) -> &str {
        self.text.get(range.to_std_range()).unwrap_or_default()
    }
}

/// The encoding that a comment in one of the first two lines declares (PEP 263).
fn declared_encoding(text: &str) -> Option<&str> {
    let mut lines = text.split(['\n', '\r']).filter(|line| !line.is_empty());
    let first = lines.next()?;
    if let Some(declared) = declaration(first) {
        return Some(declared);
    }
    let code = first.trim_matches([' ', '\t', '\x0c']);
    if code.is_empty() || code.starts_with('#') { declaration(lines.next()?) } else { None }
}

fn declaration(line: &str) -> Option<&str> {
    let comment = line.trim_start_matches([' ', '\t', '\x0c']).strip_prefix('#')?;
    comment.match_indices("coding").find_map(|(at, word)| {
        let rest = comment[at + word.len()..].strip_prefix([':', '='])?.trim_start_matches([' ', '\t']);
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let end = rest.find(|c| !known(c)).unwrap_or(rest.len());
        (end > 0).then(|| &rest[..end])
    })
}

/// Whether a decoder of that name reads the same text as one of UTF-8.
fn reads_as_utf8(encoding: &str, text: &str) -> bool {
    match encoding.to_ascii_lowercase().replace('_', "-").as_str() {
        "utf-8" | "utf8" | "utf-8-sig" => true,
        "ascii" | "us-ascii" | "latin-1" | "iso-8859-1" | "iso-latin-1" => text.is_ascii(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<String, String> {
        Source::decode("plugin.py", bytes).map(|source| source.text)
    }

    #[test]
    fn only_what_reads_as_utf8() {
        for good in [
            &b"\xef\xbb\xbfx = 1"[..],
            b"# -*- coding: utf-8 -*-\nx = '\xc3\xa9'",
            b"#!/usr/bin/python\n# vim: set fileencoding=UTF_8 :\n",
            b"# coding: latin-1\nx = 1",
            b"x = 1\n# coding: utf-7",
            b"# no coding here\n\n# coding of utf-7\n",
        ] {
            assert!(decoded(good).is_ok(), "{}", String::from_utf8_lossy(good));
        }
        for bad in [
            &b"# coding: latin-1\nx = '\xc3\xa9'"[..],
            b"# coding: utf-7\n",
            b"#!x\r\n#coding=rot13\r\n",
            b"\x0c# coding: cp1252\n",
            b"x = '\xe9'",
            b"x = 1\0",
            b"\xff\xfex\0",
        ] {
            assert!(decoded(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn places_count_lines_and_characters() {
        let source = Source::decode("plugin.py", "a\r\né = b\rc".as_bytes()).unwrap();
        assert_eq!(source.text, "a\né = b\nc");
        let at = |text: &str| {
            let offset = TextSize::try_from(source.text.find(text).unwrap()).unwrap();
            let Position { line, column } = source.place(offset).position.unwrap();
            (line, column)
        };
        assert_eq!((at("a"), at("="), at("b"), at("c")), ((1, 1), (2, 3), (2, 5), (3, 1)));
    }
}
