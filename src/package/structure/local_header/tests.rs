//! Local headers that are not there, or say something else than the central ones.

use super::super::Rule;
use super::super::testing::{Built, Case, Descriptor, Member, Zip, field};

fn two() -> Built {
    Zip::of([Member::stored("a.txt", b"content"), Member::deflated("b.txt", b"more content")]).build()
}

fn streamed(descriptor: Descriptor) -> Built {
    Zip::of([Member::streamed("a.txt", b"content", descriptor)]).build()
}

const FLAGS: usize = 6;
const METHOD: usize = 8;
const CRC: usize = 14;
const COMPRESSED_SIZE: usize = 18;
const SIZE: usize = 22;

pub fn cases() -> Vec<Case> {
    let second = two().locals[1];
    let named = |local: &str| {
        Member::stored("a.txt", b"content").with(|member| member.local_name = Some(local.as_bytes().to_vec()))
    };
    let outside = Zip::of([Member::stored("a", &[0; 40])]).build();
    let central = outside.centrals[0];
    vec![
        Case::new(Rule::LocalHeader)
            .refuses("another signature", two().put(second, b"PK\x01\x02"))
            .refuses("another signature at the start", two().put(0, b"PK\x03\x05"))
            .refuses("an offset into the data", outside.clone().put32(central + 42, 31))
            .refuses("an offset beyond the file", outside.clone().put32(central + 42, 1_000_000))
            .refuses("a name that reaches too far", outside.clone().put16(26, 65_535))
            .accepts("where it must be", two()),
        Case::new(Rule::LocalDiffers)
            .refuses("another name", named("b.txt"))
            .refuses("a shorter name", named("a.tx"))
            .refuses("a longer name", named("a.txt/b"))
            .refuses("no name", named(""))
            .refuses("a name in other letters", named("A.txt"))
            .refuses("another method", two().put16(second + METHOD, 0))
            .refuses("other flags", two().put16(second + FLAGS, 2))
            .refuses("a descriptor that only one knows of", two().put16(second + FLAGS, 8))
            .refuses("another CRC", two().put32(second + CRC, 1))
            .refuses("another size", two().put32(second + SIZE, 1))
            .refuses("another compressed size", two().put32(second + COMPRESSED_SIZE, 1))
            .refuses("zeros without a descriptor", two().put(second + CRC, &[0; 12]))
            .refuses("a size with a descriptor", streamed(Descriptor::Signed).put32(SIZE, 6))
            .accepts("the same", named("a.txt"))
            .accepts("zeros with a descriptor", streamed(Descriptor::Signed))
            .accepts("the right size with a descriptor", streamed(Descriptor::Signed).put32(SIZE, 7)),
        Case::new(Rule::Zip64)
            .refuses(
                "a field beside plain sizes",
                Member::stored("a", b"content").with(|member| {
                    member.local_extra = field(1, &[7, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
                }),
            )
            .refuses("one size of two", streamed(Descriptor::Signed64).put32(SIZE, 7))
            .refuses("no field", streamed(Descriptor::Signed).put32(SIZE, u32::MAX))
            .refuses("a longer field", {
                let member =
                    Member::stored("a", b"content").with(|member| member.local_extra = field(1, &[0; 24]));
                Zip::of([member]).build().put(COMPRESSED_SIZE, &[0xff; 8])
            })
            .accepts("both sizes, known", {
                let sizes = [7, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
                let member =
                    Member::stored("a", b"content").with(|member| member.local_extra = field(1, &sizes));
                Zip::of([member]).build().put(COMPRESSED_SIZE, &[0xff; 8])
            })
            .accepts("both sizes, not known yet", streamed(Descriptor::Signed64)),
    ]
}
