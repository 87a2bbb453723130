//! Ranges of RFC 9110 for downloads, and the Content-Range of chunked uploads.

use crate::registry::ChunkRange;

/// What a Range header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// Everything: no range, one that is not understood, or several.
    Whole,
    /// One range, both ends included and inside the representation.
    Part { first: u64, last: u64 },
    /// No byte of it exists.
    Unsatisfiable,
}

/// Reads a Range header against a representation of `size` bytes.
///
/// A header that does not follow the grammar is ignored, as RFC 9110 says; several ranges are answered whole.
pub fn parse(header: Option<&str>, size: u64) -> ByteRange {
    let Some(ranges) = header.and_then(|header| strip_unit(header.trim())) else {
        return ByteRange::Whole;
    };
    let Some((first, last)) = ranges.trim().split_once('-').filter(|_| !ranges.contains(',')) else {
        return ByteRange::Whole;
    };
    match (number(first), number(last)) {
        // Backwards: RFC 9110 allows to ignore it or to refuse it, and refusing tells the client.
        (Bound::Number(first), Bound::Number(last)) if first > last => ByteRange::Unsatisfiable,
        (Bound::Number(first), Bound::Number(_) | Bound::Empty) if first >= size => ByteRange::Unsatisfiable,
        (Bound::Number(first), Bound::Number(last)) => ByteRange::Part { first, last: last.min(size - 1) },
        (Bound::Number(first), Bound::Empty) => ByteRange::Part { first, last: size - 1 },
        (Bound::Empty, Bound::Number(0)) => ByteRange::Unsatisfiable,
        (Bound::Empty, Bound::Number(_)) if size == 0 => ByteRange::Unsatisfiable,
        (Bound::Empty, Bound::Number(suffix)) => {
            ByteRange::Part { first: size.saturating_sub(suffix), last: size - 1 }
        }
        (Bound::Empty, Bound::Empty) | (Bound::Malformed, _) | (_, Bound::Malformed) => ByteRange::Whole,
    }
}

fn strip_unit(header: &str) -> Option<&str> {
    let (unit, ranges) = header.split_once('=')?;
    unit.eq_ignore_ascii_case("bytes").then_some(ranges)
}

enum Bound {
    Empty,
    Number(u64),
    Malformed,
}

fn number(text: &str) -> Bound {
    if text.is_empty() {
        Bound::Empty
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit mean "behind the end", wherever that is.
        Bound::Number(text.parse().unwrap_or(u64::MAX))
    } else {
        Bound::Malformed
    }
}

/// Reads the Content-Range of a chunk: `<first>-<last>`, and nothing else.
pub fn parse_chunk(header: &str) -> Option<ChunkRange> {
    let (first, last) = header.trim().split_once('-')?;
    let (Bound::Number(first), Bound::Number(last)) = (number(first), number(last)) else {
        return None;
    };
    (first <= last && last < u64::MAX).then_some(ChunkRange { first, last })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        use ByteRange::{Part, Unsatisfiable, Whole};
        for (header, answer) in [
            ("bytes=0-0", Part { first: 0, last: 0 }),
            ("bytes=2-", Part { first: 2, last: 9 }),
            ("bytes=-3", Part { first: 7, last: 9 }),
            ("bytes=-30", Part { first: 0, last: 9 }),
            ("bytes=5-99999999999999999999999", Part { first: 5, last: 9 }),
            ("BYTES=0-1", Part { first: 0, last: 1 }),
            ("bytes=10-", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=5-4", Unsatisfiable),
            ("bytes=0-1,3-4", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("bytes", Whole),
            ("items=0-1", Whole),
            ("", Whole),
        ] {
            assert_eq!(parse(Some(header), 10), answer, "{header}");
        }
        assert_eq!(parse(None, 10), Whole);
        assert_eq!(parse(Some("bytes=0-"), 0), Unsatisfiable);
        assert_eq!(parse(Some("bytes=-1"), 0), Unsatisfiable);
    }

    #[test]
    fn chunks() {
        assert_eq!(parse_chunk("0-1023"), Some(ChunkRange { first: 0, last: 1023 }));
        for bad in
            ["", "0", "0-", "-5", "5-4", "bytes 0-1/2", "bytes=0-1", "0-1/2", "a-b", "0-18446744073709551615"]
        {
            assert_eq!(parse_chunk(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_inside(header in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in 0u64..2000) {
            if let ByteRange::Part { first, last } = parse(Some(&header), size) {
                prop_assert!(first <= last && last < size);
            }
        }

        #[test]
        fn nothing_panics(header in "\\PC{0,40}", size: u64) {
            parse(Some(&header), size);
            parse_chunk(&header);
        }
    }
}
