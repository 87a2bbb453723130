//! Names that are one somewhere.

use super::super::Rule;
use super::super::testing::{Case, Member, Zip};
use super::fold;

fn names(names: &[&str]) -> Zip {
    Zip::of(names.iter().map(|name| Member::stored(name, b"")))
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(Rule::NameDuplicate)
            .refuses("a file twice", names(&["a", "a"]))
            .refuses("a file twice, not side by side", names(&["a/b", "c", "a/b"]))
            .refuses("a folder twice", names(&["a/", "a/b", "a/"]))
            .refuses("a folder twice, behind its files", names(&["a/b", "a/", "a/"]))
            .accepts("two files", names(&["a", "b"]))
            .accepts("the same name in two folders", names(&["a/c", "b/c"]))
            .accepts("a folder behind its files", names(&["a/b", "a/c", "a/"]))
            .accepts("a name that begins like another", names(&["ab", "a", "abc/d", "abcd"])),
        Case::new(Rule::NameCase)
            .refuses("another case", names(&["a.txt", "A.TXT"]))
            .refuses("two letters for one", names(&["straße", "STRASSE"]))
            .refuses("a final sigma", names(&["ΟΔΟΣ", "οδος"]))
            .refuses("a long s", names(&["aſ", "as"]))
            .refuses("another letter with an accent", names(&["É", "é"]))
            .refuses("an iota below", names(&["ᾳ", "αι"]))
            .refuses("folders of files", names(&["Lib/a", "lib/b"]))
            .refuses("a folder and the folder of a file", names(&["Lib/", "lib/b"]))
            .refuses("a file and a folder", names(&["LIB", "lib/b"]))
            .accepts("other letters", names(&["a", "b", "é", "e"]))
            .accepts("without a dot", names(&["ı", "i"]))
            .accepts("one case everywhere", names(&["Lib/", "Lib/a", "Lib/b"])),
        Case::new(Rule::NameFileAndFolder)
            .refuses("a file, then a file below it", names(&["a", "a/b"]))
            .refuses("the other way round", names(&["a/b", "a"]))
            .refuses("both listed", names(&["a", "a/"]))
            .refuses("deep below", names(&["x/a/b/c/d", "x/a"]))
            .accepts("a folder and a file below it", names(&["a/", "a/b"])),
    ]
}

#[test]
fn folding_is_canonical_caseless() {
    for (left, right) in [
        ("e\u{301}", "É"),
        ("\u{345}", "ι"),
        ("ﬃ", "FFI"),
        ("\u{212a}", "k"),
        ("\u{1e9e}", "ss"),
        ("\u{13a0}", "\u{ab70}"),
    ] {
        assert_eq!(fold(left), fold(right), "{left} {right}");
    }
    for (left, right) in [("ı", "i"), ("a", "ａ"), ("²", "2")] {
        assert_ne!(fold(left), fold(right), "{left} {right}");
    }
}
