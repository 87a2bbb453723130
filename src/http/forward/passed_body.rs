//! The body of a request on its way to another node: a few pieces at a time, and never taken for whole when it is not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::http::request_body::RequestBody;
use crate::staging::{Source, SourceError};

/// Pieces that wait for the other node; then the client waits.
const PIECES: usize = 2;

enum Step {
    Piece(Bytes),
    /// Only after this is the body whole. Without it the connection is broken off, or a body without a length would
    /// seem to end where its client was lost.
    End,
}

/// What the other node reads.
pub(super) struct PassedBody {
    steps: mpsc::Receiver<Step>,
    length: Option<u64>,
    ended: bool,
}

impl PassedBody {
    /// The body to send, and the job that moves the client's pieces into it, which ends only if the client fails.
    pub(super) fn of(body: RequestBody) -> (Self, impl Future<Output = SourceError> + Send) {
        let (sender, steps) = mpsc::channel(PIECES);
        let length = body.length();
        (Self { steps, length, ended: length == Some(0) }, pump(body, sender))
    }
}

async fn pump(mut body: RequestBody, sender: mpsc::Sender<Step>) -> SourceError {
    loop {
        let step = match body.next().await {
            Ok(Some(piece)) => Step::Piece(piece),
            Ok(None) => Step::End,
            Err(broken) => return broken,
        };
        let ends = matches!(step, Step::End);
        // When the other node reads no more, its answer is near.
        if sender.send(step).await.is_err() || ends {
            return std::future::pending().await;
        }
    }
}

impl Body for PassedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.steps.poll_recv(context)) {
            Some(Step::Piece(piece)) => Some(Ok(Frame::data(piece))),
            Some(Step::End) => {
                self.ended = true;
                None
            }
            None => Some(Err(io::Error::other("the client was lost"))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
