//! A zip archive with one stored file, written by hand.

/// The archive's bytes.
pub fn stored(name: &str, content: &[u8]) -> Vec<u8> {
    let length = |count: usize| u32::try_from(count).expect("a small file").to_le_bytes();
    let name_length = u16::try_from(name.len()).expect("a short name").to_le_bytes();
    // Version 2.0, no flags, stored, 1980-01-01 00:00, checksum, both sizes, length of the name, no extra field.
    let mut facts = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    facts.extend(crc32(content).to_le_bytes());
    facts.extend([length(content.len()), length(content.len())].concat());
    facts.extend(name_length);
    facts.extend([0, 0]);

    let mut archive = [b"PK\x03\x04", facts.as_slice(), name.as_bytes(), content].concat();
    let directory = archive.len();
    archive.extend(b"PK\x01\x02\x14\x00");
    archive.extend(&facts);
    // No comment, first disk, no attributes, the file's header at the very start.
    archive.extend([0; 14]);
    archive.extend(name.as_bytes());
    let directory_length = archive.len() - directory;
    archive.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    archive.extend([length(directory_length), length(directory)].concat());
    archive.extend([0, 0]);
    archive
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn the_checksum_is_the_one_of_zip_files() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}
