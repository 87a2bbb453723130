//! The little-endian numbers of zip records, and the signatures that begin them.

pub(super) const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
pub(super) const CENTRAL_HEADER: [u8; 4] = *b"PK\x01\x02";
pub(super) const END_RECORD: [u8; 4] = *b"PK\x05\x06";
pub(super) const ZIP64_END_RECORD: [u8; 4] = *b"PK\x06\x06";
pub(super) const ZIP64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
pub(super) const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

/// Every signature that a reader might look for: also those of records that no package has (the digital
/// signature, the archive extra data).
pub(super) const SIGNATURES: [[u8; 4]; 8] = [
    LOCAL_HEADER,
    CENTRAL_HEADER,
    END_RECORD,
    ZIP64_END_RECORD,
    ZIP64_LOCATOR,
    DESCRIPTOR,
    *b"PK\x05\x05",
    *b"PK\x06\x08",
];

/// The highest version of the format that packages need: 4.5, the one that brought ZIP64.
pub(super) const VERSION_NEEDED: u16 = 45;

/// Takes one field after the other; `None` when the record is too short.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub fn signature(&mut self) -> Option<[u8; 4]> {
        self.array()
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
