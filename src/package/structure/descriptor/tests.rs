//! Data descriptors of every shape.

use super::super::Rule;
use super::super::testing::{Built, Case, Descriptor, Member, Zip, deflate};

const CONTENT: &[u8] = b"content, content, content";

fn streamed(descriptor: Descriptor) -> Built {
    Zip::of([Member::streamed("a.txt", CONTENT, descriptor), Member::stored("b", b"")]).build()
}

/// Where the descriptor of the first member begins.
fn at(zip64: bool) -> usize {
    30 + 5 + if zip64 { 20 } else { 0 } + deflate(CONTENT).len()
}

/// Without the descriptor that the flags announce.
fn missing(member: Member) -> Member {
    member.with(|member| {
        member.flags |= 1 << 3;
        member.descriptor = Descriptor::None;
    })
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(Rule::Descriptor)
            .refuses("another CRC", streamed(Descriptor::Signed).put32(at(false) + 4, 1))
            .refuses("another compressed size", streamed(Descriptor::Signed).put32(at(false) + 8, 1))
            .refuses("another size", streamed(Descriptor::Plain).put32(at(false) + 8, 1))
            .refuses("sizes exchanged", {
                let packed = deflate(CONTENT).len() as u32;
                streamed(Descriptor::Plain)
                    .put32(at(false) + 4, CONTENT.len() as u32)
                    .put32(at(false) + 8, packed)
            })
            .refuses("another size of 8 bytes", streamed(Descriptor::Plain64).put64(at(true) + 12, 1 << 32))
            .refuses("another signature", streamed(Descriptor::Signed).put(at(false), b"PK\x07\x09"))
            .refuses("none", missing(Member::deflated("a.txt", CONTENT)))
            .refuses("none before another member", {
                Zip::of([missing(Member::deflated("a.txt", CONTENT)), Member::stored("b", b"")])
            })
            .refuses("8 bytes for sizes without a ZIP64 field", {
                let long = streamed(Descriptor::Signed64).bytes[at(true)..at(true) + 24].to_vec();
                let bare = missing(Member::deflated("a.txt", CONTENT)).with(|member| member.crc32 = 0);
                let crc32 = crc32fast::hash(CONTENT);
                let zip =
                    Zip::of([bare, Member::stored("b", b"").with(|member| member.before = long)]).build();
                let central = zip.centrals[0];
                zip.put32(central + 16, crc32)
            })
            .refuses(
                "nothing stored, and no signature",
                Member::stored("a", b"").with(|member| {
                    member.flags |= 1 << 3;
                    member.descriptor = Descriptor::Plain;
                }),
            )
            .accepts("with a signature", streamed(Descriptor::Signed))
            .accepts("without a signature", streamed(Descriptor::Plain))
            .accepts("8 bytes for sizes, with a signature", streamed(Descriptor::Signed64))
            .accepts("8 bytes for sizes, without a signature", streamed(Descriptor::Plain64))
            .accepts("the last of all", Member::streamed("a.txt", CONTENT, Descriptor::Plain)),
    ]
}
