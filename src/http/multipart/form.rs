//! The parts of a form and their content, found between boundaries in a body that comes in pieces.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memmem, memrchr};

use super::part_header::PartHeader;
use super::{FIELD_LIMIT, HEADERS_LIMIT, MultipartError, PARTS_LIMIT};
use crate::staging::Source;

/// Most blanks between a boundary and the end of its line.
const PADDING_LIMIT: usize = 128;
const LINE_END: &[u8] = b"\r\n";

/// A body that stands inside of a part, behind a boundary, or at its end.
pub(super) struct Form<S> {
    body: S,
    /// Looks for a line end, two hyphens and the boundary.
    delimiter: memmem::Finder<'static>,
    /// What has come and is not used yet.
    buffer: Bytes,
    /// The end of the body has come.
    ended: bool,
    place: Place,
    parts: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The line end that belongs to the headers, and may belong to the next boundary instead.
    BeforeContent,
    Content,
    AfterBoundary,
}

impl<S: Source> Form<S> {
    /// Reads up to the first boundary.
    pub async fn open(boundary: &str, body: S) -> Result<Self, MultipartError> {
        let delimiter = [LINE_END, b"--", boundary.as_bytes()].concat();
        let mut form = Self {
            body,
            delimiter: memmem::Finder::new(&delimiter).into_owned(),
            // So that a boundary at the very start is found like any other.
            buffer: Bytes::from_static(LINE_END),
            ended: false,
            place: Place::BeforeContent,
            parts: 0,
        };
        form.skip().await?;
        Ok(form)
    }

    /// The headers of the part behind a boundary; `None` behind the last one, after the body was read to its end.
    pub async fn next_part(&mut self) -> Result<Option<PartHeader>, MultipartError> {
        if self.at_hand(2).await? == b"--" {
            self.buffer.advance(2);
            self.read_epilogue().await?;
            return Ok(None);
        }
        self.skip_padding().await?;
        if self.at_hand(2).await? != LINE_END {
            return Err(MultipartError::BadBoundary);
        }
        self.parts += 1;
        if self.parts > PARTS_LIMIT {
            return Err(MultipartError::TooManyParts);
        }
        let headers = self.headers().await?;
        self.place = Place::BeforeContent;
        PartHeader::parse(&headers).map(Some)
    }

    /// The next piece of the part's content, never an empty one; `None` once the boundary behind it was read.
    pub async fn content(&mut self) -> Result<Option<Bytes>, MultipartError> {
        while self.place != Place::AfterBoundary {
            let found = self.delimiter.find(&self.buffer);
            if found == Some(0) {
                self.buffer.advance(self.delimiter.needle().len());
                self.place = Place::AfterBoundary;
                break;
            }
            let sure = found.unwrap_or_else(|| self.buffer.len() - self.unsure());
            if sure == 0 {
                self.more().await?;
                continue;
            }
            let mut piece = self.buffer.split_to(sure);
            // The line end was in the buffer whole, and only a boundary can have begun with it.
            if self.place == Place::BeforeContent {
                piece.advance(LINE_END.len());
                self.place = Place::Content;
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// Reads past what is left of the part's content, which must not be much.
    pub async fn skip(&mut self) -> Result<(), MultipartError> {
        let mut skipped = 0;
        while let Some(piece) = self.content().await? {
            skipped += piece.len();
            if skipped > FIELD_LIMIT {
                return Err(MultipartError::FieldTooLarge);
            }
        }
        Ok(())
    }

    /// How many bytes at the end of the buffer may be the start of a boundary, which has one CR, at its start.
    fn unsure(&self) -> usize {
        let delimiter = self.delimiter.needle();
        let start = self.buffer.len().saturating_sub(delimiter.len() - 1);
        let tail = &self.buffer[start..];
        let tail = memrchr(b'\r', tail).map_or(&[][..], |at| &tail[at..]);
        if delimiter.starts_with(tail) { tail.len() } else { 0 }
    }

    /// Waits for more of the body.
    async fn more(&mut self) -> Result<(), MultipartError> {
        if !self.ended {
            match self.body.next().await? {
                None => self.ended = true,
                Some(piece) if self.buffer.is_empty() => self.buffer = piece,
                Some(piece) => {
                    let mut joined = BytesMut::from(std::mem::take(&mut self.buffer));
                    joined.extend_from_slice(&piece);
                    self.buffer = joined.freeze();
                }
            }
        }
        if self.ended { Err(MultipartError::Truncated) } else { Ok(()) }
    }

    /// The next bytes, so many, without using them up.
    async fn at_hand(&mut self, length: usize) -> Result<&[u8], MultipartError> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(&self.buffer[..length])
    }

    async fn skip_padding(&mut self) -> Result<(), MultipartError> {
        for _ in 0..PADDING_LIMIT {
            if !matches!(self.at_hand(1).await?, b" " | b"\t") {
                break;
            }
            self.buffer.advance(1);
        }
        Ok(())
    }

    /// The lines between the end of a boundary's line and the empty line, whose line end stays in the buffer.
    async fn headers(&mut self) -> Result<Bytes, MultipartError> {
        const END: &[u8] = b"\r\n\r\n";
        let mut searched = 0;
        loop {
            if let Some(at) = memmem::find(&self.buffer[searched..], END) {
                let length = searched + at;
                if length > HEADERS_LIMIT {
                    break;
                }
                let headers = self.buffer.split_to(length);
                self.buffer.advance(LINE_END.len());
                return Ok(headers);
            }
            searched = self.buffer.len().saturating_sub(END.len() - 1);
            if searched > HEADERS_LIMIT {
                break;
            }
            self.more().await?;
        }
        Err(MultipartError::BadHeader("more than 16 KiB"))
    }

    /// What stands behind the last boundary means nothing, but its line must end there.
    async fn read_epilogue(&mut self) -> Result<(), MultipartError> {
        let mut line_ended = false;
        let mut skipped = 0;
        loop {
            if !line_ended && let Some(byte) = self.buffer.iter().find(|byte| !b" \t".contains(byte)) {
                if !LINE_END.contains(byte) {
                    return Err(MultipartError::BadBoundary);
                }
                line_ended = true;
            }
            skipped += self.buffer.len();
            if skipped > FIELD_LIMIT {
                return Err(MultipartError::FieldTooLarge);
            }
            self.buffer.clear();
            match self.more().await {
                Err(MultipartError::Truncated) => return Ok(()),
                more => more?,
            }
        }
    }
}
