//! A body read from an open file: straight from the page cache when it is there, on a blocking thread when not.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes of one read. Larger steps cost memory for each connection, smaller ones cost system calls.
const STEP: u64 = 128 * 1024;

/// A part of a file.
pub struct FileBody {
    file: Arc<File>,
    offset: u64,
    end: u64,
    waiting: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    /// The bytes from `offset` up to `end`, which is not included.
    pub fn new(file: Arc<File>, offset: u64, end: u64) -> Self {
        Self { file, offset, end, waiting: None }
    }

    pub fn remaining(&self) -> u64 {
        self.end - self.offset
    }

    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(job) = &mut self.waiting {
            let read = match Pin::new(job).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(joined) => joined.unwrap_or_else(|error| Err(io::Error::other(error))),
            };
            self.waiting = None;
            return Poll::Ready(Some(self.advance(read)));
        }
        if self.remaining() == 0 {
            return Poll::Ready(None);
        }
        let step = usize::try_from(self.remaining().min(STEP)).unwrap_or(usize::MAX);
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
                Poll::Ready(Some(self.advance(Ok(buffer.freeze()))))
            }
            // Not in the page cache, or a file system that can't tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                let (file, offset) = (Arc::clone(&self.file), self.offset);
                self.waiting = Some(spawn_blocking(move || {
                    let read = file.read_at(&mut buffer, offset)?;
                    buffer.truncate(read);
                    Ok(buffer.freeze())
                }));
                self.poll_next(context)
            }
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }

    fn advance(&mut self, read: io::Result<Bytes>) -> io::Result<Bytes> {
        let bytes = read?;
        if bytes.is_empty() {
            // The file is shorter than it was: the connection is cut, so that nobody takes a part for the whole.
            self.offset = self.end;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }
}
