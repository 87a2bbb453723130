//! A stream of JSON lines, given on as they come.

use std::collections::VecDeque;

use reqwest::{Response, Url};
use serde::de::IgnoredAny;

use super::connection::Connection;
use super::error::ClientError;
use super::pages::Pages;

/// The longest line in bytes.
const LINE_LIMIT: usize = 16 << 20;

/// The lines of a stream and of the pages after it.
pub struct Lines<'a> {
    connection: &'a Connection,
    pages: Pages,
    /// The page to ask for when the stream under way has ended.
    page: Option<Url>,
    answer: Option<Response>,
    text: Splitter,
}

impl<'a> Lines<'a> {
    /// The lines of an NDJSON stream, over all of its pages. The stream may last; only silence ends it.
    pub fn of(connection: &'a Connection, path: &str, query: &[(&str, String)]) -> Self {
        let url = connection.registry().at(path, query);
        let text = Splitter::default();
        Self { connection, pages: Pages::default(), page: Some(url), answer: None, text }
    }

    /// The next line, a whole JSON value. `None`: there are no more.
    pub async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            if let Some(line) = self.text.line() {
                return self.checked(line).map(Some);
            }
            if self.text.begun.len() > LINE_LIMIT {
                return Err(self.connection.unexpected("a line of its answer is too long"));
            }
            if let Some(answer) = &mut self.answer {
                match answer.chunk().await.map_err(|error| self.connection.broke_off(&error))? {
                    Some(part) => self.text.push(&part),
                    None => {
                        self.text.finish();
                        self.answer = None;
                    }
                }
            } else if let Some(url) = self.page.take() {
                let answer = self.connection.open(url.clone()).await?;
                self.page = self.pages.next(&url, answer.headers())?;
                self.answer = Some(answer);
            } else {
                return Ok(None);
            }
        }
    }

    fn checked(&self, line: Vec<u8>) -> Result<String, ClientError> {
        let line = String::from_utf8(line).ok();
        line.filter(|line| serde_json::from_str::<IgnoredAny>(line).is_ok())
            .ok_or_else(|| self.connection.unexpected("a line of its answer is no JSON"))
    }
}

/// Makes lines of parts that end anywhere.
#[derive(Default)]
struct Splitter {
    whole: VecDeque<Vec<u8>>,
    begun: Vec<u8>,
}

impl Splitter {
    fn push(&mut self, part: &[u8]) {
        let mut pieces = part.split(|&byte| byte == b'\n');
        self.begun.extend_from_slice(pieces.next().unwrap_or_default());
        for piece in pieces {
            self.finish();
            self.begun.extend_from_slice(piece);
        }
    }

    /// Ends the line that has begun. An empty line is none.
    fn finish(&mut self) {
        let line = std::mem::take(&mut self.begun);
        let line = line.trim_ascii();
        if !line.is_empty() {
            self.whole.push_back(line.to_vec());
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        self.whole.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_anywhere() {
        let text = b"{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":3}";
        for size in 1..=text.len() {
            let mut splitter = Splitter::default();
            text.chunks(size).for_each(|part| splitter.push(part));
            splitter.finish();
            let lines: Vec<_> = std::iter::from_fn(|| splitter.line()).collect();
            assert_eq!(lines, [&b"{\"a\":1}"[..], b"{\"b\":2}", b"{\"c\":3}"], "{size}");
        }
    }
}
