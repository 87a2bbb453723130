//! The worst archives that there may be: none takes more than ten seconds or 64 MiB to be judged.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use quire::digest::Sha256;
use serde_json::Value;

use crate::archive_corpus::limits::noise;
use crate::archive_corpus::writer::{Entry, Zip, field};
use crate::archive_corpus::{METADATA, package};
use crate::tools::{find, have};

const SECONDS: f64 = 10.0;
const KIBIBYTES: u64 = 64 << 10;

/// As large as an archive may be when it comes.
const LARGEST: usize = 50 << 20;
/// As large as `plugin.json` and `plugin.py` may be.
const LARGEST_TEXT: usize = 1 << 20;
/// As many entries as there may be, without the metadata.
const MOST_ENTRIES: usize = 9_999;
/// The longest name of an entry, and the most folders that it may have.
const LONGEST_NAME: usize = 1_024;

/// Runs a program from a small process, and prints what it took. `ru_maxrss` counts what the process had in
/// front of its `exec` too, so the one that starts it must be small itself.
const MEASURE: &str = "
import json, os, sys, time
begin = time.monotonic()
answer = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
child = os.posix_spawn(sys.argv[2], sys.argv[2:], {}, file_actions=[(os.POSIX_SPAWN_DUP2, answer, 1)])
status, usage = os.wait4(child, 0)[1:]
print(json.dumps({
    'code': os.waitstatus_to_exitcode(status),
    'seconds': time.monotonic() - begin,
    'busy': usage.ru_utime + usage.ru_stime,
    'kibibytes': usage.ru_maxrss,
}))
";

/// What is to become of an archive.
enum Fate {
    Accepted,
    /// Refused, with this rule among the findings.
    Refused(&'static str),
}

use Fate::{Accepted, Refused};

/// Judges an archive, and asserts what it took.
fn judge(what: &str, archive: impl Into<Vec<u8>>, fate: Fate) {
    if let Some(kibibytes) = weigh(what, &archive.into(), fate) {
        assert!(kibibytes < KIBIBYTES, "{what}: {kibibytes} KiB");
    }
}

/// Judges an archive, and returns how much memory that took. `None`: it cannot be measured here.
fn weigh(what: &str, archive: &[u8], fate: Fate) -> Option<u64> {
    if !have("python3", find("python3").is_some()) {
        return None;
    }
    assert!(archive.len() <= LARGEST, "{what}: {} bytes are refused unread", archive.len());
    // Not the system's temporary folder: that may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (file, answer) = (folder.path().join("plugin.zip"), folder.path().join("answer"));
    fs::write(&file, archive).expect("room on the disk");

    let measured = measure(&file, &answer);
    let number = |key: &str| measured[key].as_f64().expect("a number");
    let (seconds, busy, kibibytes) = (number("seconds"), number("busy"), number("kibibytes") as u64);
    let told: Value = serde_json::from_slice(&fs::read(&answer).expect("a file")).expect("JSON");
    let findings = told["findings"].as_array().expect("findings");
    println!(
        "{what}: {} bytes, {busy:.1} of {seconds:.1} s, {} MiB, {} findings",
        archive.len(),
        kibibytes >> 10,
        findings.len()
    );
    let rules: Vec<&str> = findings.iter().filter_map(|finding| finding["rule"].as_str()).collect();
    match fate {
        Accepted => assert_eq!(
            (measured["code"].as_i64(), &told["accepted"]),
            (Some(0), &true.into()),
            "{what}: {rules:?}"
        ),
        Refused(rule) => {
            assert_eq!((measured["code"].as_i64(), &told["accepted"]), (Some(1), &false.into()), "{what}");
            assert!(rules.contains(&rule), "{what}: {rules:?}");
        }
    }
    assert!(!rules.contains(&"limit.time"), "{what}: it was not read to its end");
    // Others may be at work on this machine, so what counts is how long a processor was busy.
    assert!(busy < SECONDS, "{what}: {busy} s");
    Some(kibibytes)
}

fn measure(file: &Path, answer: &Path) -> Value {
    let mut command = Command::new(find("python3").expect("python3"));
    command.args(["-I", "-c", MEASURE]).arg(answer).arg(env!("CARGO_BIN_EXE_quire"));
    let output =
        command.args(["lint", "--output", "json"]).arg(file).output().expect("a program that starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A name of the greatest length and depth, whose every part is its own.
fn longest_name(number: usize, filler: &str) -> String {
    let mut name = format!("{number:05}");
    // 64 parts of 15 bytes and a slash; the first one has the number.
    for part in 0..64 {
        let end = (part + 1) * 16 - 1;
        while name.len() + filler.len() <= end {
            name.push_str(filler);
        }
        while name.len() < end {
            name.push('x');
        }
        if part < 63 {
            name.push('/');
        }
    }
    assert_eq!(name.len(), LONGEST_NAME - 1);
    name
}

/// Bits of a deflate stream, the lowest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    pending: u64,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, length: u32) {
        self.pending |= u64::from(value) << self.count;
        self.count += length;
        while self.count >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// A code of Huffman's, which is written from its highest bit on.
    fn code(&mut self, code: u32, length: u32) {
        self.put(code.reverse_bits() >> (32 - length), length);
    }

    /// An empty block with the fixed codes.
    fn fixed_block(&mut self, last: bool) {
        self.put(u32::from(last) | 1 << 1, 3);
        self.put(0, 7);
    }

    /// An empty block that brings as many codes as there may be.
    fn dynamic_block(&mut self) {
        self.put(2 << 1, 3);
        // 286 literals and lengths, 30 distances, lengths of 19 code lengths.
        self.put(29, 5);
        self.put(29, 5);
        self.put(15, 4);
        // One bit for "as before", three for each of 4, 5, 8 and 9, in the order of the format.
        for length in [1, 0, 0, 0, 3, 0, 3, 0, 0, 3, 0, 3, 0, 0, 0, 0, 0, 0, 0] {
            self.put(length, 3);
        }
        // 226 of 8 bits and 60 of 9, 2 of 4 bits and 28 of 5: both codes are complete.
        for (code, count) in [(0b110, 226), (0b111, 60), (0b100, 2), (0b101, 28)] {
            self.code(code, 3);
            let mut left = count - 1;
            while left >= 3 {
                let again = left.min(6);
                self.code(0, 1);
                self.put(again - 3, 2);
                left -= again;
            }
            for _ in 0..left {
                self.code(code, 3);
            }
        }
        // The end of the block is the 257th symbol, the 31st of those of 9 bits.
        self.code(226 * 2 + 30, 9);
    }

    fn finish(mut self) -> Vec<u8> {
        self.fixed_block(true);
        self.put(0, 7);
        self.bytes
    }
}

/// An entry without content, of which deflate makes this.
fn empty_of(packed: Vec<u8>) -> Entry {
    Entry::stored("empty", b"").packed_as(8, packed)
}

/// Noise in a sea of zeros, packed.
fn bomb(mebibytes: usize, noisy: usize) -> Entry {
    let mut block = noise(noisy);
    block.resize(1 << 20, 0);
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    let mut hasher = crc32fast::Hasher::new();
    for _ in 0..mebibytes {
        encoder.write_all(&block).expect("memory takes everything");
        hasher.update(&block);
        // The next one is beyond the 32 KiB that deflate remembers: it packs as badly.
    }
    let packed = encoder.finish().expect("memory takes everything");
    Entry::stored("bomb", b"").packed_as(8, packed).both(|head| {
        head.crc32 = hasher.clone().finalize();
        head.size = (mebibytes << 20) as u32;
    })
}

#[test]
fn as_many_entries_as_there_may_be() {
    let names = |filler: &str| -> Zip {
        package((0..MOST_ENTRIES).map(|number| Entry::stored(longest_name(number, filler), b"")))
    };
    judge("longest names", names("x"), Accepted);
    // Folding makes three letters of this one.
    judge("longest names that fold", names("ΐ"), Accepted);
    let folders = (0..MOST_ENTRIES).map(|number| Entry::folder(&longest_name(number, "y")));
    judge("folders with longest names", package(folders), Accepted);
    let directory = (0..MOST_ENTRIES).map(|number| {
        let entry = Entry::stored(number.to_string(), b"");
        entry.with(|entry| entry.comment = vec![b'c'; 5_000])
    });
    judge("a huge central directory", package(directory), Refused("zip.entry-comment"));
    let extra = (0..MOST_ENTRIES).map(|number| {
        let entry = Entry::stored(number.to_string(), b"");
        entry.extra(&field(0x5455, &[1, 0, 0, 0, 0]).repeat(200))
    });
    judge("many extra fields", package(extra), Refused("zip.extra"));
}

#[test]
fn much_comes_out_of_little() {
    judge("a bomb below the ratio", package([bomb(255, 4_400)]), Accepted);
    judge("a bomb above the ratio", package([bomb(255, 0)]), Refused("limit.ratio"));
    judge("as much in as out", package([bomb(255, 200_000)]), Accepted);
}

#[test]
fn nothing_comes_out_of_much() {
    let room = LARGEST - 1_000;
    let mut fixed = Bits::default();
    while fixed.bytes.len() < room {
        fixed.fixed_block(false);
    }
    judge("empty blocks", package([empty_of(fixed.finish())]), Accepted);
    let mut dynamic = Bits::default();
    while dynamic.bytes.len() < room {
        dynamic.dynamic_block();
    }
    judge("empty blocks with codes", package([empty_of(dynamic.finish())]), Accepted);
    let stored = [0, 0, 0, 0xff, 0xff].repeat(room / 5);
    let stored = [&stored[..], &[3, 0]].concat();
    judge("empty stored blocks", package([empty_of(stored)]), Accepted);
}

#[test]
fn noise_and_small_streams() {
    let content = noise(LARGEST - 1_000);
    judge("noise", package([Entry::stored("noise", &content)]), Accepted);
    let small = 5_000;
    let streams = content.chunks_exact(small).take(MOST_ENTRIES).enumerate();
    let streams = streams.map(|(number, part)| Entry::deflated(number.to_string(), part));
    judge("small streams", package(streams), Accepted);
    let streams =
        (0..MOST_ENTRIES).map(|number| Entry::stored(number.to_string(), b"").packed_as(8, vec![3, 0]));
    judge("smallest streams", package(streams), Accepted);
}

#[test]
fn as_many_findings_as_there_may_be() {
    let clashes = (0..MOST_ENTRIES).map(|number| {
        let name = longest_name(number / 2, "ﬃ");
        Entry::stored(if number % 2 == 0 { name } else { name.to_uppercase() }, b"")
    });
    judge("names that clash", package(clashes), Refused("name.case"));
    let names = (0..MOST_ENTRIES).map(|number| {
        // Neither relative nor normalised, with what hides, a device, and no composed form.
        let name = format!("/{number}/../\u{202e}/con/a\u{301}:*./{}", "\u{1}".repeat(900));
        Entry::stored(name, b"").with(|entry| entry.external = 0o120_777 << 16).both(|head| {
            head.method = 97;
            head.flags |= 1 << 13 | 1 << 7;
            head.extra = field(0x7075, &[7; 900]);
        })
    });
    let deep = (0..MOST_ENTRIES).map(|number| Entry::stored(format!("{number:04}{}", "/a".repeat(510)), b""));
    judge("names too deep", package(deep), Refused("name.depth"));
    judge("everything wrong", package(names), Refused("limit.findings"));
    let bytes = (0..MOST_ENTRIES / 2).map(|number| {
        let name = [&number.to_le_bytes()[..], &[0xff; 5_000]].concat();
        Entry::stored(name, b"")
    });
    judge("names of bytes", package(bytes), Refused("name.length"));
}

/// A package of which one text is as large as it may be.
fn with_text(name: &str, head: &str, piece: &str, tail: &str) -> Zip {
    let count = (LARGEST_TEXT - head.len() - tail.len()) / piece.len();
    with_pieces(name, head, piece, count, tail)
}

fn with_pieces(name: &str, head: &str, piece: &str, count: usize, tail: &str) -> Zip {
    let text = format!("{head}{}{tail}", piece.repeat(count));
    Zip::of([Entry::stored(name, text.as_bytes())])
}

/// `plugin.json` without its last brace, and a field that is not closed yet.
fn json(field: &str) -> String {
    let metadata = std::str::from_utf8(METADATA).expect("a text");
    format!("{}, \"{field}\": [", metadata.trim_end_matches('}'))
}

#[test]
fn the_largest_plugin_json() {
    let deep = format!("{}0{},", "[".repeat(62), "]".repeat(62));
    let shallow = format!("{}{},", "[".repeat(30), "]".repeat(30));
    let objects = format!("{}0{},", "{\"\":".repeat(62), "}".repeat(62));
    for (what, piece, values) in [
        ("deep lists", &*deep, 63),
        ("lists", &*shallow, 30),
        ("deep objects", &*objects, 63),
        ("empty lists", "[],", 1),
        ("small lists", "[0],", 2),
        ("small objects", "{\"\":0},", 2),
        ("numbers", "0,", 1),
        ("fractions", "1e-9,", 1),
        ("texts", "\"\",", 1),
        ("long texts", &*format!("\"{}\",", "\\n".repeat(20)), 1),
    ] {
        // Just below 10,000 with those around it.
        let count = 9_980 / values;
        judge(
            &format!("JSON of {what}"),
            with_pieces("plugin.json", &json("more"), piece, count, "0]}"),
            Accepted,
        );
        let more = with_text("plugin.json", &json("more"), piece, "0]}");
        judge(&format!("JSON of more {what}"), more, Refused("plugin.json"));
    }
    let long = format!("\"{}\"", "\\n".repeat(500_000));
    judge("JSON of a long text", with_pieces("plugin.json", &json("more"), &long, 1, "]}"), Accepted);
    let keys = |count: usize| -> String { (0..count).map(|number| format!("\"{number}\":0,")).collect() };
    let object = |count: usize| format!("{{{}\"\":0}}", keys(count));
    judge("JSON of keys", with_pieces("plugin.json", &json("more"), &object(9_980), 1, "]}"), Accepted);
    judge(
        "JSON of more keys",
        with_pieces("plugin.json", &json("more"), &object(95_000), 1, "]}"),
        Refused("plugin.json"),
    );
    let duplicate = format!("{{{}\"5\":0}}", keys(95_000));
    judge(
        "JSON of a key twice",
        with_pieces("plugin.json", &json("more"), &duplicate, 1, "]}"),
        Refused("plugin.json"),
    );
    for (piece, values, rule) in [
        ("0,", 1, "settings.list"),
        ("{},", 1, "settings.key"),
        ("{\"\":0},", 2, "settings.key"),
        ("{\"key\":\"\",\"type\":\"\",\"default\":[{\"\":0}]},", 6, "settings.key"),
        (
            "{\"key\":\"a\",\"type\":\"str\",\"description\":\"\",\"default\":{\"\":[{\"\":0}]}},",
            8,
            "settings.default",
        ),
    ] {
        let settings = with_pieces("plugin.json", &json("settings_schema"), piece, 9_980 / values, "0]}");
        judge(&format!("JSON settings of {piece}"), settings, Refused(rule));
    }
    judge("JSON of open brackets", with_text("plugin.json", "", "[", ""), Refused("plugin.json"));
}

/// `plugin.py` without the end of its metadata.
const METADATA_PY: &str = "from sdk import BasePlugin, PluginMetadata\nclass P(BasePlugin):\n    def get_metadata(self):\n        return PluginMetadata(pid='com.acme.tool', name='Tool', version='1.0', description='A tool.'";

#[test]
fn the_largest_plugin_py() {
    let class = format!("{METADATA_PY})\n");
    // Less than 200,000 tokens, of pieces of so many.
    let of = |tokens: usize| 199_000 / tokens;
    let brackets = format!("x = {}0{}\n", "[".repeat(100), "]".repeat(100));
    let calls = format!("x = {}0{}\n", "f(".repeat(100), ")".repeat(100));
    let chain = format!("x = a{}\n", ".b".repeat(990));
    let signs = format!("x = {}0\n", "-".repeat(1_900));
    let sum = format!("x = 0{}\n", "+0".repeat(990));
    let lambdas = format!("x = {}0\n", "lambda:".repeat(900));
    let comparison = format!("x = 0{}\n", "<0".repeat(990));
    let blocks: String = (0..99).map(|depth| format!("{}if a:\n", " ".repeat(depth))).collect();
    let blocks = format!("{blocks}{}pass\n", " ".repeat(99));
    let strings = format!("x = f'{}'\n", "{a}".repeat(400));
    let comprehension = "x = {a: b for a in c for b in d if e}\n";
    for (what, piece, tokens) in [
        ("brackets", &*brackets, 204),
        ("calls", &*calls, 304),
        ("chains", &*chain, 1_984),
        ("signs", &*signs, 1_904),
        ("sums", &*sum, 1_984),
        ("lambdas", &*lambdas, 1_804),
        ("comparisons", &*comparison, 1_984),
        ("blocks", &*blocks, 700),
        ("formatted texts", &*strings, 1_205),
        ("comprehensions", comprehension, 18),
        ("small classes", "class A(B): c = 0\n", 12),
        ("small functions", "def a(b=0): pass\n", 12),
        ("names", "a\n", 2),
        ("imports", "import a\n", 3),
    ] {
        let count = of(tokens).min((LARGEST_TEXT - class.len()) / piece.len());
        judge(&format!("Python of {what}"), with_pieces("plugin.py", &class, piece, count, ""), Accepted);
    }
    judge("Python of blanks", with_pieces("plugin.py", &class, "    \n", 199_000, ""), Accepted);
    judge("Python of comments", with_pieces("plugin.py", &class, "#\n", 99_000, ""), Accepted);
    let text = format!("{class}x = '''");
    judge("Python of one text", with_text("plugin.py", &text, "\\x41\n", "'''"), Accepted);

    let literals = format!("{class}    def get_settings_schema(self):\n        return [");
    for (piece, tokens) in [("{'':0},", 6), ("[],", 3), ("0,", 2), ("'',", 2), ("{'':[{'':0}]},", 12)] {
        let archive = with_pieces("plugin.py", &literals, piece, of(tokens), "]\n");
        judge(&format!("Python settings of {piece}"), archive, Refused("python.expression"));
    }
    for (what, piece, tokens) in [
        ("assignments to nothing", "x =\n", 3),
        ("open texts", "'\n", 2),
        ("strange letters", "?\n", 2),
        ("open classes", "class\n", 2),
    ] {
        let archive = with_pieces("plugin.py", &class, piece, of(tokens), "");
        judge(&format!("Python with faults: {what}"), archive, Refused("python.syntax"));
    }
    // Names that stand for more than is written, beside as much code as there may be.
    let nested = format!("VALUE = {}0{}\n", "{'':".repeat(50), "}".repeat(50));
    let metadata = format!("{nested}{METADATA_PY}, more=[{}])\n", "VALUE,".repeat(90));
    let code = with_pieces("plugin.py", &metadata, &signs, of(1_920), "");
    judge("Python of names for values", code, Accepted);
    let metadata = format!("{nested}{METADATA_PY}, more=[{}])\n", "VALUE,".repeat(2_000));
    let code = with_pieces("plugin.py", &metadata, &signs, of(1_980), "");
    judge("Python of more names for values", code, Accepted);
    // Where a fault is has to be looked for.
    let many = with_pieces("plugin.py", &class, "a = b\n", 45_000, &"(".repeat(101));
    judge("Python too deep at its end", many, Refused("python.depth"));
    judge("Python of too many tokens", with_text("plugin.py", &class, "a\n", ""), Refused("python.size"));
}

#[test]
fn everything_at_once() {
    let count = 9_980 / 63;
    let objects = format!("{}0{},", "{\"\":".repeat(62), "}".repeat(62)).repeat(count);
    let metadata = format!("{}{objects}0]}}", json("more"));
    let code = format!("{METADATA_PY})\n{}", "class\n".repeat(99_000));
    let code = Entry::deflated("plugin.py", code.as_bytes());
    let names = (2..MOST_ENTRIES).map(|number| Entry::stored(longest_name(number, "x"), b""));
    let entries = [Entry::deflated("plugin.json", metadata.as_bytes()), code].into_iter().chain(names);
    // Three of the worst in one: here the program's own pages, of which a debug build has many, don't count.
    let own = weigh("next to nothing", &package([]).bytes(), Accepted);
    let all = weigh("everything at once", &Zip::of(entries).bytes(), Accepted);
    if let (Some(own), Some(all)) = (own, all) {
        assert!(all - own < KIBIBYTES, "{all} and {own} KiB");
    }
}

#[test]
fn the_codes_of_an_empty_block_are_what_others_read() {
    let mut bits = Bits::default();
    bits.dynamic_block();
    bits.fixed_block(false);
    bits.dynamic_block();
    let packed = bits.finish();
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::DeflateDecoder::new(&packed[..]), &mut out)
        .expect("a stream");
    assert_eq!(Sha256::of(&out), Sha256::of(b""));
}
