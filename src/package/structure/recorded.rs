//! One file of a package, unpacked from the place that was recorded when the package was checked.

use std::ops::ControlFlow;

use super::member::{Packed, Stopped, Unpacker};
use super::source::Window;
use super::{Method, ReadAt, ReadError};
use crate::digest::{Algorithm, Hasher, Sha256};

/// Where a file lies in its package, and what comes out there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Where the packed bytes begin in the package.
    pub data_offset: u64,
    pub compressed_size: u64,
    pub size: u64,
    pub method: Method,
    /// Of the unpacked bytes.
    pub sha256: Sha256,
}

/// Gives the content of a member to a sink, part by part, never more than its recorded size.
///
/// `Continue` means that the sink got everything, and that it is what was recorded; `Break` that the sink wanted
/// no more. What came before [`ReadError::Changed`] is not to be trusted. It blocks, and needs about 400 KiB
/// whatever the sizes are.
pub fn unpack_member(
    source: &dyn ReadAt,
    member: &Member,
    sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadError> {
    let mut window = Window::new(source)?;
    let end = member.data_offset.checked_add(member.compressed_size);
    if end.is_none_or(|end| end > window.size()) {
        return Err(ReadError::Changed);
    }
    let Member { data_offset: offset, compressed_size, method, .. } = *member;
    let packed = Packed { offset, compressed_size, method };
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut left = member.size;
    let unpacked = Unpacker::new().unpack(&mut window, packed, |part| {
        let Some(rest) = left.checked_sub(part.len() as u64) else {
            return ControlFlow::Break(End::TooMuch);
        };
        left = rest;
        hasher.update(part);
        if part.is_empty() {
            return ControlFlow::Continue(());
        }
        match sink(part) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(()) => ControlFlow::Break(End::Enough),
        }
    })?;
    match unpacked {
        Ok(()) if left == 0 && hasher.finish().sha256 == member.sha256 => Ok(ControlFlow::Continue(())),
        Err(Stopped::Enough(End::Enough)) => Ok(ControlFlow::Break(())),
        Ok(()) | Err(Stopped::Damaged(_) | Stopped::Enough(End::TooMuch)) => Err(ReadError::Changed),
    }
}

/// Why no more was taken of what comes out.
enum End {
    Enough,
    TooMuch,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::testing::deflate;
    use super::*;

    const BEFORE: &[u8] = b"before";

    /// A source with the packed content, something before and behind it, and its record.
    fn packed(content: &[u8], method: Method) -> (Bytes, Member) {
        let packed = match method {
            Method::Stored => content.to_vec(),
            Method::Deflate => deflate(content),
        };
        let member = Member {
            data_offset: BEFORE.len() as u64,
            compressed_size: packed.len() as u64,
            size: content.len() as u64,
            method,
            sha256: Sha256::of(content),
        };
        (Bytes::from([BEFORE, &packed, b"behind"].concat()), member)
    }

    fn read(source: &dyn ReadAt, member: &Member) -> (Vec<u8>, Result<ControlFlow<()>, ReadError>) {
        let mut content = Vec::new();
        let result = unpack_member(source, member, &mut |part| {
            assert!(!part.is_empty());
            content.extend_from_slice(part);
            ControlFlow::Continue(())
        });
        assert!(content.len() as u64 <= member.size);
        (content, result)
    }

    fn assert_changed(source: &dyn ReadAt, member: Member, what: &str) {
        let (_, result) = read(source, &member);
        assert!(matches!(result, Err(ReadError::Changed)), "{what}: {member:?} gives {result:?}");
    }

    fn numbers(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    const METHODS: [Method; 2] = [Method::Stored, Method::Deflate];

    #[test]
    fn the_content_comes_out_as_it_was() {
        for method in METHODS {
            for length in [0, 1, 65_536, 1_000_000] {
                let (source, member) = packed(&numbers(length), method);
                let (content, result) = read(&source, &member);
                assert!(content == numbers(length), "{method:?} {length}");
                assert!(matches!(result, Ok(ControlFlow::Continue(()))), "{method:?} {length}: {result:?}");
            }
        }
    }

    #[test]
    fn whatever_differs_from_the_record_is_told() {
        for method in METHODS {
            let (source, member) = packed(&numbers(1_000), method);
            assert_changed(&source, Member { size: 999, ..member }, "more comes out");
            assert_changed(&source, Member { size: 0, ..member }, "something comes out");
            assert_changed(&source, Member { size: 1_001, ..member }, "less comes out");
            assert_changed(&source, Member { size: u64::MAX, ..member }, "much less comes out");
            assert_changed(&source, Member { sha256: Sha256::of(b"other"), ..member }, "another digest");
            let (shorter, longer) = (member.compressed_size - 1, member.compressed_size + 1);
            assert_changed(&source, Member { compressed_size: shorter, ..member }, "packed shorter");
            assert_changed(&source, Member { compressed_size: longer, ..member }, "packed longer");
            assert_changed(&source, Member { data_offset: 5, ..member }, "a byte before");
            for at in [0, 1, member.compressed_size as usize / 2, member.compressed_size as usize - 1] {
                let mut changed = source.to_vec();
                changed[BEFORE.len() + at] ^= 1;
                assert_changed(&changed.as_slice(), member, "a bit");
            }
        }
    }

    #[test]
    fn places_outside_of_the_file_are_no_places() {
        for method in METHODS {
            let (source, member) = packed(b"content", method);
            for data_offset in [source.len() as u64, source.len() as u64 - 1, u64::MAX, u64::MAX - 3] {
                assert_changed(&source, Member { data_offset, ..member }, "the offset");
            }
            for compressed_size in [source.len() as u64, u64::MAX] {
                assert_changed(&source, Member { compressed_size, ..member }, "the size");
            }
            assert_changed(&Bytes::new(), member, "nothing is left");
        }
    }

    #[test]
    fn a_sink_that_has_enough_gets_no_more() {
        for method in METHODS {
            let (source, member) = packed(&numbers(1_000_000), method);
            let mut parts = 0;
            let result = unpack_member(&source, &member, &mut |_| {
                parts += 1;
                if parts < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            assert!(matches!(result, Ok(ControlFlow::Break(()))), "{method:?}: {result:?}");
            assert_eq!(parts, 3, "{method:?}");
        }
    }

    /// What comes out is bounded by the record, whatever the data would give.
    #[test]
    fn a_record_of_little_gives_little_of_much() {
        let (source, member) = packed(&vec![0; 50_000_000], Method::Deflate);
        let mut received = 0;
        let result = unpack_member(&source, &Member { size: 100_000, ..member }, &mut |part| {
            received += part.len();
            ControlFlow::Continue(())
        });
        assert!(matches!(result, Err(ReadError::Changed)));
        assert!(received <= 100_000, "{received}");
    }
}
