//! The data of an entry: unpacked through fixed buffers, counted on what comes out, hashed and thrown away.
//!
//! Decoding is flate2 on zlib-rs, the very decoder below the `zip` crate, at the offsets that the structural
//! pass has checked. The `zip` crate itself would have to read the archive a second time, in its own way and
//! with its own idea of where an entry lies; it serves the tests as a second opinion instead.

use std::io;
use std::ops::ControlFlow;
use std::time::Instant;

use flate2::{Decompress, FlushDecompress, Status};

use super::directory::Listed;
use super::source::Window;
use super::{Findings, Limits, Method, Rule};
use crate::digest::{Algorithm, Hasher, Sha256};

const OUTPUT: usize = 64 << 10;

/// Tells once when the time is over.
pub(super) struct Clock {
    deadline: Instant,
    told: bool,
}

impl Clock {
    pub fn new(deadline: Instant) -> Self {
        Self { deadline, told: false }
    }

    pub fn is_over(&mut self, findings: &mut Findings) -> bool {
        if !self.told && Instant::now() >= self.deadline {
            self.told = true;
            findings.refuse(Rule::Time, "the archive could not be read in the time that there is for it");
        }
        self.told
    }
}

/// The packed bytes of an entry.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    pub offset: u64,
    pub compressed_size: u64,
    pub method: Method,
}

/// Why unpacking ended early.
pub(super) enum Stopped<B> {
    /// The data is not what it must be.
    Damaged(String),
    /// The receiver wants no more.
    Enough(B),
}

/// Unpacks one entry after the other with the same buffers.
pub(super) struct Unpacker {
    inflate: Decompress,
    output: Box<[u8]>,
}

impl Unpacker {
    pub fn new() -> Self {
        Self { inflate: Decompress::new(false), output: vec![0; OUTPUT].into_boxed_slice() }
    }

    /// Gives what comes out to a receiver, part by part. The data must end exactly at its compressed size.
    pub fn unpack<B>(
        &mut self,
        window: &mut Window<'_>,
        packed: Packed,
        receive: impl FnMut(&[u8]) -> ControlFlow<B>,
    ) -> io::Result<Result<(), Stopped<B>>> {
        match packed.method {
            Method::Stored => copy(window, packed, receive),
            Method::Deflate => self.inflate(window, packed, receive),
        }
    }

    fn inflate<B>(
        &mut self,
        window: &mut Window<'_>,
        packed: Packed,
        mut receive: impl FnMut(&[u8]) -> ControlFlow<B>,
    ) -> io::Result<Result<(), Stopped<B>>> {
        let Packed { offset, compressed_size, .. } = packed;
        self.inflate.reset(false);
        loop {
            let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
            let input = window.some(offset + taken, offset + compressed_size)?;
            let Ok(status) = self.inflate.decompress(input, &mut self.output, FlushDecompress::None) else {
                let message =
                    format!("the compressed data is broken after {taken} of {compressed_size} bytes");
                return Ok(Err(Stopped::Damaged(message)));
            };
            let (now_taken, now_given) = (self.inflate.total_in(), self.inflate.total_out());
            let output = self.output.get(..(now_given - given) as usize).unwrap_or_default();
            if let ControlFlow::Break(enough) = receive(output) {
                return Ok(Err(Stopped::Enough(enough)));
            }
            let message = match status {
                Status::StreamEnd if now_taken == compressed_size => return Ok(Ok(())),
                Status::StreamEnd => {
                    format!("the compressed data ends after {now_taken} of {compressed_size} bytes")
                }
                Status::Ok | Status::BufError if (now_taken, now_given) != (taken, given) => continue,
                Status::Ok | Status::BufError => {
                    format!("the compressed data goes on after its {compressed_size} bytes")
                }
            };
            return Ok(Err(Stopped::Damaged(message)));
        }
    }

    /// Unpacks a file as a check: its size, its CRC, and what comes out against the limits.
    pub fn check(
        &mut self,
        window: &mut Window<'_>,
        listed: &Listed,
        packed: Packed,
        budget: &mut Budget<'_>,
        findings: &mut Findings,
    ) -> io::Result<Option<Sha256>> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut crc32 = crc32fast::Hasher::new();
        let mut size = 0;
        let unpacked = self.unpack(window, packed, |part| {
            size += part.len() as u64;
            crc32.update(part);
            hasher.update(part);
            match budget.spend(part.len() as u64, size, listed, findings) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        match unpacked {
            Ok(()) => {}
            Err(Stopped::Enough(())) => return Ok(None),
            Err(Stopped::Damaged(message)) => {
                findings.refuse_entry(Rule::Deflate, &listed.name, message);
                return Ok(None);
            }
        }
        if size != listed.size {
            let message = format!("{size} bytes come out, the header says {}", listed.size);
            findings.refuse_entry(Rule::Size, &listed.name, message);
            return Ok(None);
        }
        let crc32 = crc32.finalize();
        if crc32 != listed.crc32 {
            let message = format!("the CRC is {crc32:08x}, the header says {:08x}", listed.crc32);
            findings.refuse_entry(Rule::Crc, &listed.name, message);
            return Ok(None);
        }
        Ok(Some(hasher.finish().sha256))
    }
}

fn copy<B>(
    window: &mut Window<'_>,
    packed: Packed,
    mut receive: impl FnMut(&[u8]) -> ControlFlow<B>,
) -> io::Result<Result<(), Stopped<B>>> {
    let mut at = packed.offset;
    let end = packed.offset + packed.compressed_size;
    while at < end {
        let part = window.some(at, end)?;
        if part.is_empty() {
            return Ok(Err(Stopped::Damaged(format!("{} bytes are missing", end - at))));
        }
        at += part.len() as u64;
        if let ControlFlow::Break(enough) = receive(part) {
            return Ok(Err(Stopped::Enough(enough)));
        }
    }
    Ok(Ok(()))
}

/// What may still come out of an archive.
pub(super) struct Budget<'a> {
    pub limits: &'a Limits,
    pub clock: &'a mut Clock,
    /// Bytes that came out of all entries so far.
    pub unpacked: u64,
    /// No more entries are unpacked.
    pub exhausted: bool,
}

impl Budget<'_> {
    /// Counts a part, of which `size` bytes have come out of its file. False when the file is to be left.
    fn spend(&mut self, part: u64, size: u64, listed: &Listed, findings: &mut Findings) -> bool {
        self.unpacked += part;
        if self.clock.is_over(findings) {
            self.exhausted = true;
            return false;
        }
        let Limits { unpacked, ratio, ratio_from, .. } = *self.limits;
        if self.unpacked > unpacked {
            self.exhausted = true;
            let message = format!("more than {unpacked} bytes come out of the archive");
            findings.refuse(Rule::Unpacked, message);
            return false;
        }
        // What is declared limits nothing else, but more than that need not be looked at.
        if size > listed.size {
            let message = format!("more bytes come out than the {} that the header says", listed.size);
            findings.refuse_entry(Rule::Size, &listed.name, message);
            return false;
        }
        if size > ratio_from && size > listed.compressed_size.saturating_mul(ratio) {
            let message =
                format!("more than {ratio} bytes come out of each of its {} bytes", listed.compressed_size);
            findings.refuse_entry(Rule::Ratio, &listed.name, message);
            return false;
        }
        true
    }
}

#[cfg(test)]
pub(super) mod tests;
