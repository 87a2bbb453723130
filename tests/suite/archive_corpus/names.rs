//! Names, one by one and against each other.

use super::writer::Entry;
use super::{Pair, package, pair};

pub fn pairs() -> Vec<Pair> {
    [bytes(), lengths(), characters(), components(), clashes()].into_iter().flatten().collect()
}

fn named(name: &[u8]) -> Entry {
    if name.ends_with(b"/") { Entry::stored(name, b"") } else { Entry::stored(name, b"named") }
}

fn each(rule: &'static str, names: &[(&str, &str)]) -> Vec<Pair> {
    let one = |(broken, twin): &(&str, &str)| {
        let shown: String = broken.chars().take(20).collect();
        pair(
            rule,
            format!("{shown:?}"),
            package([named(broken.as_bytes())]),
            package([named(twin.as_bytes())]),
        )
    };
    names.iter().map(one).collect()
}

fn bytes() -> Vec<Pair> {
    let of = |name: &[u8]| package([named(name)]);
    let unflagged = |name: &str| package([named(name.as_bytes()).both(|head| head.flags = 0)]);
    let from = |host: u16, name: &str| {
        package([named(name.as_bytes()).with(|entry| entry.made_by = host << 8 | 63)])
    };
    let mut pairs = vec![
        pair("name.host", "from MS-DOS", from(0, "süß.txt"), from(3, "süß.txt")),
        pair("name.host", "from MS-DOS, one letter", from(0, "é"), from(0, "e")),
        pair("name.host", "from NTFS", from(11, "日本語.txt"), from(14, "日本語.txt")),
        pair("name.utf8", "Latin-1", of(b"s\xfc\xdf.txt"), of("süß.txt".as_bytes())),
        pair("name.utf8", "a slash in two bytes", of(b"a\xc0\xafb"), of(b"a/b")),
        pair("name.utf8", "half a surrogate pair", of(b"\xed\xa0\xbd.txt"), of("\u{d7a3}.txt".as_bytes())),
        pair("name.utf8", "beyond Unicode", of(b"\xf4\x90\x80\x80"), of("😀".as_bytes())),
        pair("name.utf8", "cut", of(b"s\xc3"), of(b"s\xc3\xbc")),
        pair("name.unflagged", "German", unflagged("süß.txt"), of("süß.txt".as_bytes())),
        pair("name.unflagged", "Japanese", unflagged("日本語.txt"), of("日本語.txt".as_bytes())),
        pair("name.unflagged", "one letter", unflagged("é"), unflagged("e")),
    ];
    pairs.extend(each(
        "name.nfc",
        &[
            ("e\u{301}.txt", "é.txt"),
            ("folder/u\u{308}/x", "folder/ü/x"),
            ("\u{212b}", "Å"),
            ("\u{1100}\u{1161}", "가"),
            ("q\u{323}\u{301}\u{323}", "q\u{301}"),
        ],
    ));
    pairs
}

fn lengths() -> Vec<Pair> {
    let long = |length: usize| {
        let name = vec!["n".repeat(99); 12].join("/");
        name[..length].to_owned()
    };
    let deep = |depth: usize| vec!["d"; depth].join("/");
    let folder = |name: String| name + "/";
    let (x255, x256) = ("x".repeat(255), "x".repeat(256));
    let (long_folder, longer_folder) = (folder(long(1_023)), folder(long(1_024)));
    [
        each("name.length", &[(&long(1_025), &long(1_024)), (&longer_folder, &long_folder)]),
        each(
            "name.component-length",
            &[
                (&x256, &x255),
                (&format!("a/{x256}/b"), &format!("a/{x255}/b")),
                (&"ü".repeat(128), &("ü".repeat(127) + "u")),
            ],
        ),
        each("name.depth", &[(&deep(65), &deep(64)), (&folder(deep(65)), &folder(deep(64)))]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn characters() -> Vec<Pair> {
    [
        each(
            "name.control",
            &[
                ("a\0b", "ab"),
                ("a\nb", "a b"),
                ("\u{1b}[31m", "[31m"),
                ("a\u{7f}", "a~"),
                ("a\u{85}b", "a\u{a0}b"),
                ("a\u{2028}b", "a\u{2027}b"),
                ("a\u{2029}b", "a_b"),
            ],
        ),
        each(
            "name.format",
            &[
                ("plugin\u{200b}.py", "plugin_.py"),
                ("\u{feff}a", "a\u{fe0f}"),
                ("👩\u{200d}💻", "👩💻"),
                ("a\u{ad}b", "a-b"),
                ("a\u{e0061}", "a\u{e0100}"),
            ],
        ),
        each(
            "name.bidi",
            &[
                ("a\u{202e}yp.exe", "a_yp.exe"),
                ("\u{200f}שלום", "שלום"),
                ("a\u{2066}b\u{2069}", "ab"),
                ("\u{61c}سلام", "سلام"),
            ],
        ),
        each(
            "name.unassigned",
            &[("a\u{378}", "a\u{377}"), ("\u{ffff}", "\u{fffd}"), ("\u{1ffff}", "\u{1fae0}")],
        ),
        each(
            "name.private-use",
            &[("\u{e000}", "\u{d7a3}"), ("a\u{f02f}b", "a/b"), ("\u{f8ff}", "\u{fdf0}")],
        ),
        each(
            "name.character",
            &[
                ("a\\b", "a/b"),
                ("C:a", "C/a"),
                ("a*", "a#"),
                ("a?", "a!"),
                ("\"a", "'a"),
                ("<a", "(a"),
                ("a>", "a)"),
                ("a|b", "a;b"),
                ("a/b\\", "a/b/"),
            ],
        ),
        each(
            "name.slash",
            &[
                ("a\u{2044}b", "a/b"),
                ("a\u{2215}b", "a-b"),
                ("a\u{ff0f}b", "a\u{ff0e}b"),
                ("a\u{29f8}b", "ノート"),
                ("a\u{ff3c}b", "a＿b"),
                ("a\u{2216}b", "a\u{2213}b"),
            ],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn components() -> Vec<Pair> {
    [
        each("name.absolute", &[("/a", "a"), ("/", "a/"), ("//a/b", "a/b"), ("/etc/", "etc/")]),
        each("name.empty", &[("", "a"), ("a//b", "a/b"), ("a//", "a/"), ("a/b///c", "a/b/c")]),
        each(
            "name.dots",
            &[
                ("../a", "..a"),
                ("a/../../b", "a/..b/c"),
                (".", ".a"),
                ("./a", "_/a"),
                ("a/..", "a/...a"),
                ("../", "..a/"),
            ],
        ),
        each(
            "name.trailing",
            &[
                ("a.", ".a"),
                ("a ", " a"),
                ("a./b", "a.b"),
                ("a /b", "a b"),
                ("a\u{3000}", "\u{3000}a"),
                ("....", "..._"),
            ],
        ),
        each(
            "name.version",
            &[
                ("plugin.json;1", "plugin;1.json"),
                ("a;", "a;b"),
                ("a;007", "a;007x"),
                ("a/b;1", "a/;1b"),
                ("a;1/", "a;1_/"),
            ],
        ),
        each(
            "name.device",
            &[
                ("con", "con_"),
                ("NUL.txt", "NULL.txt"),
                ("a/Aux/b", "a/Auxiliary/b"),
                ("com1", "com10"),
                ("LPT\u{b2}.x", "LPT.x"),
                ("prn .txt", "prn-.txt"),
                ("CONIN$", "CONIN"),
                ("com0/", "com/"),
            ],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn clashes() -> Vec<Pair> {
    let of = |names: &[&str]| package(names.iter().map(|name| named(name.as_bytes())));
    let rows: &[(&'static str, &[&str], &[&str])] = &[
        ("name.duplicate", &["a", "a"], &["a", "b"]),
        ("name.duplicate", &["plugin.json"], &["x/plugin.json"]),
        ("name.duplicate", &["a/b", "c", "a/b"], &["a/b", "c", "a/c"]),
        ("name.duplicate", &["a/", "a/b", "a/"], &["a/", "a/b", "a/c/"]),
        ("name.case", &["a.txt", "A.TXT"], &["a.txt", "B.TXT"]),
        ("name.case", &["Plugin.json"], &["Plugins.json"]),
        ("name.case", &["straße", "STRASSE"], &["straße", "STRASE"]),
        ("name.case", &["ΟΔΟΣ", "οδος"], &["ΟΔΟΣ", "οδο"]),
        ("name.case", &["É", "é"], &["É", "e"]),
        ("name.case", &["k/1", "K/2"], &["k/1", "k/2"]),
        ("name.case", &["Lib/a", "lib/b"], &["lib/a", "lib/b"]),
        ("name.case", &["LIB", "lib/b"], &["LIC", "lib/b"]),
        ("name.case", &["ﬁ", "FI"], &["ﬁ", "F"]),
        ("name.file-and-folder", &["a", "a/b"], &["a/", "a/b"]),
        ("name.file-and-folder", &["a/b", "a"], &["a/b", "ab"]),
        ("name.file-and-folder", &["a", "a/"], &["a", "b/"]),
        ("name.file-and-folder", &["plugin.json/x"], &["plugin/x"]),
        ("name.file-and-folder", &["x/y/z/file", "x/y"], &["x/y/z/file", "x/y/"]),
    ];
    rows.iter().map(|(rule, broken, twin)| pair(rule, format!("{broken:?}"), of(broken), of(twin))).collect()
}
