//! Bytes at offsets, and a window over them through which a whole archive is read in bounded memory.

use std::fs::File;
use std::io;

use bytes::Bytes;

/// A package that can be read at any offset, by several readers at once.
pub trait ReadAt: Sync {
    /// Reads some bytes from an offset; zero only at the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// How many bytes there are.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl ReadAt for Bytes {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (&**self).read_at(offset, buffer)
    }

    fn size(&self) -> io::Result<u64> {
        (&**self).size()
    }
}

/// More than the longest record: a central header with a name, extra fields and comment of 64 KiB each.
/// Everything is read in the order of the file, so that each part of it is fetched about once.
const WINDOW: usize = 256 << 10;

/// A moving window over a source.
pub(super) struct Window<'a> {
    source: &'a dyn ReadAt,
    size: u64,
    /// Offset of the first byte in the buffer.
    start: u64,
    buffer: Box<[u8]>,
    filled: usize,
}

impl<'a> Window<'a> {
    pub fn new(source: &'a dyn ReadAt) -> io::Result<Self> {
        let size = source.size()?;
        Ok(Self { source, size, start: 0, buffer: vec![0; WINDOW].into_boxed_slice(), filled: 0 })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Exactly these bytes; `None` when they reach past `end`, or are more than a window holds.
    pub fn bytes(&mut self, offset: u64, length: usize, end: u64) -> io::Result<Option<&[u8]>> {
        let inside = offset.checked_add(length as u64).is_some_and(|last| last <= end.min(self.size));
        if !inside || length > WINDOW {
            return Ok(None);
        }
        Ok(self.from(offset, length)?.get(..length))
    }

    /// The bytes from an offset on that are at hand: at least one, unless it is `end`.
    pub fn some(&mut self, offset: u64, end: u64) -> io::Result<&[u8]> {
        let rest = usize::try_from(end.min(self.size).saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = self.from(offset, rest.min(1))?;
        Ok(&bytes[..bytes.len().min(rest)])
    }

    /// Everything in the buffer from an offset on, after moving the window when less than `length` is there.
    fn from(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let skipped = offset.checked_sub(self.start).and_then(|skipped| usize::try_from(skipped).ok());
        let skipped = skipped.filter(|&skipped| skipped <= self.filled && self.filled - skipped >= length);
        let skipped = match skipped {
            Some(skipped) => skipped,
            None => {
                self.fill(offset)?;
                0
            }
        };
        Ok(&self.buffer[skipped..self.filled])
    }

    fn fill(&mut self, offset: u64) -> io::Result<()> {
        self.start = offset;
        self.filled = 0;
        let rest = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = rest.min(WINDOW);
        while self.filled < wanted {
            let part = &mut self.buffer[self.filled..wanted];
            match self.source.read_at(offset + self.filled as u64, part) {
                // Not an archive that was cut: one that is being cut while it is read.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Gives a few bytes at a time, and counts how often it was asked.
    struct Dripping(Vec<u8>, usize, AtomicUsize);

    impl ReadAt for Dripping {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            let asked = self.2.fetch_add(1, Ordering::Relaxed);
            if asked % 5 == 4 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let length = buffer.len().min(self.1);
            self.0.as_slice().read_at(offset, &mut buffer[..length])
        }

        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
    }

    fn numbers(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn what_is_asked_for_comes_out_wherever_the_window_stands() {
        let bytes = numbers(3 * WINDOW + 17);
        let source = Dripping(bytes.clone(), 7_001, AtomicUsize::new(0));
        let mut window = Window::new(&source).unwrap();
        let end = bytes.len() as u64;
        for (offset, length) in [
            (0, 4),
            (WINDOW - 2, 4),
            (0, WINDOW),
            (bytes.len() - 1, 1),
            (bytes.len(), 0),
            (5, 0),
            (700_000, 99),
        ] {
            let got = window.bytes(offset as u64, length, end).unwrap();
            assert_eq!(got, Some(&bytes[offset..offset + length]), "{offset}+{length}");
        }
        for (offset, length, end) in
            [(end, 1, end), (end - 3, 4, end + 9), (0, 4, 3), (0, WINDOW + 1, end), (u64::MAX, 4, end)]
        {
            assert_eq!(window.bytes(offset, length, end).unwrap(), None, "{offset}+{length}");
        }
        assert_eq!(window.some(10, 13).unwrap(), &bytes[10..13]);
        assert!(window.some(10, 10).unwrap().is_empty());
        assert!(window.some(end, end + 1).unwrap().is_empty());
    }

    #[test]
    fn reading_in_order_fetches_each_part_once() {
        let source = Dripping(numbers(4 * WINDOW), usize::MAX, AtomicUsize::new(0));
        let mut window = Window::new(&source).unwrap();
        for offset in (0..4 * WINDOW as u64).step_by(64) {
            assert!(window.bytes(offset, 64, u64::MAX).unwrap().is_some());
        }
        assert!(source.2.load(Ordering::Relaxed) <= 5);
    }

    #[test]
    fn a_file_that_shrinks_is_an_error_and_not_an_archive() {
        struct Shrunk;
        impl ReadAt for Shrunk {
            fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
                Ok(0)
            }
            fn size(&self) -> io::Result<u64> {
                Ok(100)
            }
        }
        let error = Window::new(&Shrunk).unwrap().bytes(0, 10, 100).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
