//! Names, one by one.

use super::super::Rule;
use super::super::testing::{Case, Member};
use super::is_device;

fn case(rule: Rule, refused: &[&str], accepted: &[&str]) -> Case {
    let mut case = Case::new(rule);
    for name in refused {
        case = case.refuses(name.to_string().leak(), Member::stored(name, b""));
    }
    for name in accepted {
        case = case.accepts(name.to_string().leak(), Member::stored(name, b""));
    }
    case
}

fn unflagged(name: &[u8]) -> Member {
    Member::stored(name, b"").with(|member| member.flags = 0)
}

fn from(host: u16, name: &str) -> Member {
    Member::stored(name, b"").with(|member| member.made_by = host << 8 | 20)
}

pub fn cases() -> Vec<Case> {
    let deep = |depth: usize| vec!["d"; depth].join("/");
    let long = |length: usize| {
        let mut name = vec!["x".repeat(200); 10].join("/");
        name.truncate(length - 1);
        name + "y"
    };
    vec![
        Case::new(Rule::NameUtf8)
            .refuses("Latin-1", Member::stored(b"s\xfc\xdf.txt", b""))
            .refuses("a surrogate", Member::stored(b"\xed\xa0\x80", b""))
            .refuses("a slash in two bytes", Member::stored(b"a\xc0\xafb", b""))
            .refuses("cut", Member::stored(b"a\xc3", b""))
            .accepts("UTF-8", Member::stored("süß.txt", b"")),
        Case::new(Rule::NameUnflagged)
            .refuses("UTF-8 that does not say so", unflagged("süß.txt".as_bytes()))
            .refuses("Japanese", unflagged("日本.txt".as_bytes()))
            .accepts("ASCII", unflagged(b"a.txt"))
            .accepts("flagged", Member::stored("日本.txt", b"")),
        Case::new(Rule::NameHost)
            .refuses("MS-DOS", from(0, "süß.txt"))
            .refuses("NTFS", from(11, "日本.txt"))
            .accepts("Unix", from(3, "süß.txt"))
            .accepts("MS-DOS and ASCII", from(0, "suess.txt")),
        case(Rule::NameNfc, &["e\u{301}", "a/u\u{308}.txt", "\u{212b}"], &["é", "a/ü.txt", "Å", "q\u{301}"]),
        case(Rule::NameLength, &[&long(1_025), &long(1_900)], &[&long(1_024)]),
        case(
            Rule::NameComponentLength,
            &[&"x".repeat(256), &format!("a/{}/b", "ü".repeat(128))],
            &[&"x".repeat(255), &"ü".repeat(127), &format!("{0}/{0}", "x".repeat(255))],
        ),
        case(Rule::NameDepth, &[&deep(65), &(deep(65) + "/")], &[&deep(64), &(deep(64) + "/")]),
        case(
            Rule::NameControl,
            &["a\0b", "a\nb", "\u{1b}[2J", "a\u{7f}", "a\u{85}b", "a\u{2028}b"],
            &["a b"],
        ),
        case(
            Rule::NameFormat,
            &["a\u{200b}b", "a\u{feff}", "👨\u{200d}👩", "a\u{ad}b", "\u{e0041}"],
            &["👨👩"],
        ),
        case(
            Rule::NameBidi,
            &["a\u{202e}txt.exe", "\u{200f}a", "\u{61c}a", "a\u{2066}b\u{2069}"],
            &["שלום.txt"],
        ),
        case(Rule::NameUnassigned, &["a\u{378}", "\u{fdd0}", "\u{10ffff}"], &["\u{377}", "\u{1f600}"]),
        case(Rule::NamePrivateUse, &["a\u{e000}", "\u{f02f}", "\u{100000}"], &["\u{d7fb}"]),
        case(
            Rule::NameCharacter,
            &["a\\b", "C:", "a:b", "a*", "a?", "a\"b", "<a", "a>", "a|b"],
            &["a'b", "a!b#c$d%e&f(g)h+i,j;k=l@m[n]o^p`q{r}s~t_u-v"],
        ),
        case(
            Rule::NameSlash,
            &[
                "a\u{2044}b",
                "a\u{2215}b",
                "a\u{ff0f}b",
                "a\u{ff3c}b",
                "a\u{2216}b",
                "a\u{29f8}b",
                "a\u{29f5}b",
            ],
            &["a/b", "ノート/カ", "丿"],
        ),
        case(Rule::NameAbsolute, &["/a", "/", "//a/b", "/a/"], &["a/b"]),
        case(Rule::NameEmpty, &["", "a//b", "a//", "a///b"], &["a/", "a/b/"]),
        case(
            Rule::NameDots,
            &[".", "..", "../a", "a/../b", "./a", "a/.", "../"],
            &[".a", "..a", "a..b", ".a/.b/"],
        ),
        case(
            Rule::NameTrailing,
            &["a.", "a ", "a./b", "a /b", "...", "a\u{a0}", "a\u{3000}/", " "],
            &[" a", "a.b", "a b"],
        ),
        case(
            Rule::NameVersion,
            &["a.py;1", "a;", "a/b;123", "a;2/b", ";", "a;1;2"],
            &["a;b", "a;1b", ";1a", "a;1.py", "1"],
        ),
        case(
            Rule::NameDevice,
            &["con", "NUL.txt", "a/Aux/b", "com1", "LPT9.tar.gz", "COM\u{b9}", "prn .txt", "CONIN$", "nul/"],
            &["con1", "nul_", "com", "com10", "lpt", "xnul", "a.con", "console.txt", "auxiliary"],
        ),
    ]
}

#[test]
fn devices_have_any_extension() {
    for name in ["nul", "NUL", "nul.a.b", "Com0", "lpt\u{b3}.x", "con  .x"] {
        assert!(is_device(name), "{name}");
    }
    for name in ["", ".nul", "null", "com\u{2074}", "com12", "nu", "nul-x"] {
        assert!(!is_device(name), "{name}");
    }
}

#[test]
fn a_rule_is_told_once_for_a_name() {
    let found = super::super::testing::findings(&Vec::from(Member::stored("a:b:c/d?e/../..", b"")));
    let rules: Vec<&str> = found.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["name.character", "name.dots"]);
    assert_eq!(found[0].message, "U+003A at byte 1 of the name is not allowed");
}
