//! An open file in pieces, for the body of a message: straight from the page cache when it is there, on a blocking thread when not.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::{JoinHandle, spawn_blocking};

use super::filling::{FillError, Filling};

/// Bytes of one read. Larger steps cost memory for each connection, smaller ones cost system calls.
const STEP: u64 = 128 * 1024;

/// A part of a file.
pub struct FileBody {
    file: Arc<File>,
    offset: u64,
    end: u64,
    /// How far the file may be read by now; for a file that is all there, the end.
    readable: u64,
    waiting: Waiting,
    /// Where the bytes come from that are not there yet.
    filling: Option<Filling>,
}

/// What the next piece waits for.
enum Waiting {
    Nothing,
    Read(JoinHandle<io::Result<Bytes>>),
    Arrival(Pin<Box<dyn Future<Output = Result<u64, FillError>> + Send + Sync>>),
}

impl FileBody {
    /// The bytes from `offset` up to `end`, which is not included.
    pub fn new(file: Arc<File>, offset: u64, end: u64) -> Self {
        Self { file, offset, end, readable: end, waiting: Waiting::Nothing, filling: None }
    }

    /// The same of a file that is still arriving. It ends well only when what arrived is what it has to be.
    pub fn arriving(filling: Filling, offset: u64, end: u64) -> Self {
        let file = Arc::clone(filling.file());
        Self { file, offset, end, readable: offset, waiting: Waiting::Nothing, filling: Some(filling) }
    }

    pub fn remaining(&self) -> u64 {
        self.end - self.offset
    }

    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match &mut self.waiting {
                Waiting::Nothing => {
                    if self.remaining() == 0 {
                        return Poll::Ready(None);
                    }
                    if self.offset == self.readable {
                        self.wait_for_arrival();
                    } else if let Some(read) = self.read_now() {
                        return Poll::Ready(Some(self.advance(read)));
                    }
                }
                Waiting::Read(job) => {
                    let read = match Pin::new(job).poll(context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(joined) => joined.unwrap_or_else(|error| Err(io::Error::other(error))),
                    };
                    self.waiting = Waiting::Nothing;
                    return Poll::Ready(Some(self.advance(read)));
                }
                Waiting::Arrival(arrives) => match arrives.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(readable)) => {
                        self.readable = readable;
                        self.waiting = Waiting::Nothing;
                    }
                    Poll::Ready(Err(error)) => {
                        self.waiting = Waiting::Nothing;
                        return Poll::Ready(Some(self.cut(io::Error::other(error))));
                    }
                },
            }
        }
    }

    /// The next piece from the page cache. `None`: a blocking thread reads it.
    fn read_now(&mut self) -> Option<io::Result<Bytes>> {
        let step = usize::try_from((self.readable - self.offset).min(STEP)).unwrap_or(usize::MAX);
        let mut buffer = BytesMut::zeroed(step);
        let read = loop {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            match preadv2(&*self.file, &mut slices, self.offset, ReadWriteFlags::NOWAIT) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        match read {
            Ok(read) => {
                buffer.truncate(read);
                Some(Ok(buffer.freeze()))
            }
            // Not in the page cache, or a file system that can't tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                let (file, offset) = (Arc::clone(&self.file), self.offset);
                self.waiting = Waiting::Read(spawn_blocking(move || {
                    let read = file.read_at(&mut buffer, offset)?;
                    buffer.truncate(read);
                    Ok(buffer.freeze())
                }));
                None
            }
            Err(error) => Some(Err(error.into())),
        }
    }

    fn wait_for_arrival(&mut self) {
        let (filling, offset, end) = (self.filling.clone(), self.offset, self.end);
        self.waiting = Waiting::Arrival(Box::pin(async move {
            match filling {
                Some(filling) => filling.readable(offset, end).await,
                None => Ok(end),
            }
        }));
    }

    fn advance(&mut self, read: io::Result<Bytes>) -> io::Result<Bytes> {
        let bytes = read?;
        if bytes.is_empty() {
            // The file is shorter than it was: nobody may take a part for the whole.
            return self.cut(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    /// The answer is cut off here.
    fn cut(&mut self, reason: io::Error) -> io::Result<Bytes> {
        self.offset = self.end;
        Err(reason)
    }
}
