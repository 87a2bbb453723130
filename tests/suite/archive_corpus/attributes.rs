//! Systems, file types and permissions.

use super::writer::Entry;
use super::{Pair, entries, package, pair, stored, text};

pub fn pairs() -> Vec<Pair> {
    [host(), link(), special(), setuid(), kind()].into_iter().flatten().collect()
}

fn external(external: u32) -> Entry {
    text().with(|entry| entry.external = external)
}

fn mode(mode: u32) -> Entry {
    text().mode(mode)
}

fn folder() -> Entry {
    Entry::folder("folder")
}

fn host() -> Vec<Pair> {
    let by = |host: u16| package([text().with(|entry| entry.made_by = host << 8 | 20)]);
    let known = [0, 3, 10, 11, 14, 19];
    let other = |(index, host): (usize, u16)| {
        let twin = known[index % known.len()];
        pair("zip.host", format!("{host} and not {twin}"), by(host), by(twin))
    };
    [1, 2, 4, 6, 7, 13, 16, 18, 20, 30, 255].into_iter().enumerate().map(other).collect()
}

fn link() -> Vec<Pair> {
    let link = Entry::stored("link", b"text.txt");
    let by_windows = |external: u32| external_of_host(0, external);
    entries(
        "zip.link",
        [
            ("by mode", link.clone().mode(0o120_777), link.mode(0o100_777)),
            ("by mode, without permissions", mode(0o120_000), mode(0o100_000)),
            ("a reparse point", by_windows(0x420), by_windows(0x20)),
            ("a reparse point from Unix", external(0o100_644 << 16 | 0x400), external(0o100_644 << 16)),
            ("by mode, from MS-DOS", by_windows(0o120_777 << 16), by_windows(0o100_777 << 16)),
            ("a folder that is a link", folder().mode(0o120_777), folder().mode(0o040_777)),
        ],
    )
}

fn external_of_host(host: u16, external: u32) -> Entry {
    text().with(|entry| (entry.made_by, entry.external) = (host << 8 | 20, external))
}

fn special() -> Vec<Pair> {
    entries(
        "zip.special",
        [
            ("a pipe", mode(0o010_644), mode(0o100_644)),
            ("a character device", mode(0o020_644), mode(0o100_600)),
            ("a block device", mode(0o060_644), mode(0o100_444)),
            ("a socket", mode(0o140_644), mode(0o000_644)),
            ("of a type that nobody knows", mode(0o150_644), mode(0o000_000)),
            ("a volume label", external_of_host(0, 0x08), external_of_host(0, 0x27)),
        ],
    )
}

fn setuid() -> Vec<Pair> {
    entries(
        "zip.setuid",
        [
            ("setuid", mode(0o104_755), mode(0o100_755)),
            ("setgid", mode(0o102_755), mode(0o100_755)),
            ("sticky", mode(0o101_755), mode(0o100_777)),
            ("a sticky folder", folder().mode(0o041_777), folder().mode(0o040_777)),
            ("setuid of no type", mode(0o004_755), mode(0o000_755)),
        ],
    )
}

fn kind() -> Vec<Pair> {
    let filled = |name: &str| {
        let content = b"content";
        Entry::stored(name, content).with(|entry| entry.external = 0)
    };
    entries(
        "zip.kind",
        [
            ("a file with a folder's mode", stored().mode(0o040_755), stored().mode(0o100_755)),
            ("a folder with a file's mode", folder().mode(0o100_644), folder().mode(0o040_755)),
            ("a file with a folder's attribute", external_of_host(0, 0x10), external_of_host(0, 0x20)),
            (
                "a folder's attribute beside a file's mode",
                external(0o100_644 << 16 | 0x10),
                external(0o100_644 << 16),
            ),
            ("a folder with content", filled("folder/"), filled("folder")),
            (
                "a folder with packed content",
                Entry::deflated("folder/", super::TEXT),
                Entry::deflated("folder/", b""),
            ),
        ],
    )
}
