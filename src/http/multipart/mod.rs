//! A form with one file (`multipart/form-data`, RFC 7578), read as a stream: the file comes out piece by piece.
//!
//! No crate that was looked at bounds its memory: they gather everything that the body has ready, and headers of
//! any length.

mod form;
mod parameters;
mod part_header;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use thiserror::Error;

use self::form::Form;
use crate::staging::{Source, SourceError};

/// The field that holds the file.
const FIELD: &str = "file";

/// Most bytes of a field other than the file, of what stands before the first boundary, and behind the last.
const FIELD_LIMIT: usize = 64 * 1024;
/// Most bytes of the headers of a part.
const HEADERS_LIMIT: usize = 16 * 1024;
/// Most parts, the file among them.
const PARTS_LIMIT: usize = 32;

/// What is wrong with a form.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum MultipartError {
    #[error("the Content-Type must be multipart/form-data")]
    NotMultipart,
    #[error("the Content-Type must name a boundary of 1 to 70 characters")]
    NoBoundary,
    #[error("a boundary must stand alone on its line, and the lines of the form must end with CRLF")]
    BadBoundary,
    #[error("the headers of a part of the form: {0}")]
    BadHeader(&'static str),
    #[error("the form has no field named {FIELD:?}")]
    MissingFile,
    #[error("the form has more than one field named {FIELD:?}")]
    SecondFile,
    #[error("the form ends before its closing boundary")]
    Truncated,
    #[error("the form has more than {PARTS_LIMIT} parts")]
    TooManyParts,
    #[error("the form has more than 64 KiB in a field other than {FIELD:?}, or outside of its parts")]
    FieldTooLarge,
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// The file of a form, as a source of its bytes.
///
/// The source ends only after the whole form was read and found to be well. When it breaks, [`FormFile::fault`]
/// tells whether the form was the reason. Memory: one piece of the body, and what a header may have.
pub struct FormFile<S> {
    form: Form<S>,
    name: Option<String>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// Inside of the file.
    Content,
    /// The file is through; other parts may follow.
    Rest,
    Ended,
    Failed(MultipartError),
}

impl<S: Source> FormFile<S> {
    /// Reads up to the first byte of the file.
    pub async fn open(content_type: Option<&HeaderValue>, body: S) -> Result<Self, MultipartError> {
        let mut form = Form::open(&boundary(content_type)?, body).await?;
        while let Some(part) = form.next_part().await? {
            if part.field == FIELD {
                return Ok(Self { form, name: part.file_name, state: State::Content });
            }
            form.skip().await?;
        }
        Err(MultipartError::MissingFile)
    }

    /// The name that the sender gave the file, without folders before it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Why the source broke.
    pub fn fault(&self) -> Option<MultipartError> {
        match self.state {
            State::Failed(error) => Some(error),
            State::Content | State::Rest | State::Ended => None,
        }
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, MultipartError> {
        if matches!(self.state, State::Content) {
            if let Some(piece) = self.form.content().await? {
                return Ok(Some(piece));
            }
            self.state = State::Rest;
        }
        if matches!(self.state, State::Rest) {
            self.form.skip().await?;
            while let Some(part) = self.form.next_part().await? {
                if part.field == FIELD {
                    return Err(MultipartError::SecondFile);
                }
                self.form.skip().await?;
            }
            self.state = State::Ended;
        }
        Ok(None)
    }
}

#[async_trait]
impl<S: Source> Source for FormFile<S> {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let advanced = match self.state {
            State::Failed(error) => Err(error),
            State::Content | State::Rest | State::Ended => self.advance().await,
        };
        advanced.map_err(|error| {
            self.state = State::Failed(error);
            match error {
                MultipartError::Source(error) => error,
                MultipartError::NotMultipart
                | MultipartError::NoBoundary
                | MultipartError::BadBoundary
                | MultipartError::BadHeader(_)
                | MultipartError::MissingFile
                | MultipartError::SecondFile
                | MultipartError::Truncated
                | MultipartError::TooManyParts
                | MultipartError::FieldTooLarge => SourceError::Broken,
            }
        })
    }
}

/// The boundary that a Content-Type names.
fn boundary(content_type: Option<&HeaderValue>) -> Result<String, MultipartError> {
    let text = content_type.and_then(|value| value.to_str().ok()).ok_or(MultipartError::NotMultipart)?;
    let (kind, parameters) = parameters::split(text);
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        return Err(MultipartError::NotMultipart);
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    parameters::parse(parameters)
        .and_then(|mut parameters| parameters.remove("boundary"))
        .filter(|boundary| (1..=70).contains(&boundary.len()) && boundary.bytes().all(known))
        .filter(|boundary| !boundary.ends_with(' '))
        .ok_or(MultipartError::NoBoundary)
}

#[cfg(test)]
mod tests;
