//! `quire pack`: the same folder gives the same bytes, every reader sees the same files, and what cannot go in is told.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use quire::digest::Sha256;
use quire::package::{Limits, Tree, check, pack};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const METADATA: &str =
    r#"{"pid": "com.acme.hello", "name": "Hello", "version": "1.2", "description": "Says hello."}"#;

/// A folder with files; a `/` at the end makes a folder, a `*` an executable.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path(), files);
    folder
}

fn fill(root: &Path, files: &[(&str, &[u8])]) {
    for (name, content) in files {
        let path = root.join(name.trim_end_matches('*'));
        if name.ends_with('/') {
            fs::create_dir_all(path).expect("a folder");
            continue;
        }
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        if name.ends_with('*') {
            fs::set_permissions(path, Permissions::from_mode(0o700)).expect("its permissions");
        }
    }
}

/// Text that deflate makes smaller, and bytes that it does not.
fn plugin() -> Vec<(&'static str, Vec<u8>)> {
    let lines = (0..20_000).map(|line| format!("{line}: packages are read and never run\n"));
    let text = lines.collect::<String>().into_bytes();
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let noise = (0..70_000).map(|_| noise()).collect();
    vec![
        ("README.md", b"# Hello\n".to_vec()),
        ("plugin.json", METADATA.into()),
        ("bin/run*", b"#!/bin/sh\nexec true\n".to_vec()),
        ("data/noise", noise),
        ("data/text", text),
        ("data/blank", vec![0; 3 << 20]),
        ("data/empty", Vec::new()),
        ("s\u{fc}\u{df}/\u{65e5}\u{672c}.txt", "\u{1f44d}".into()),
        ("Zebra", b"before a".to_vec()),
        ("a-b", b"before a/b".to_vec()),
        ("a/b", b"after a-b".to_vec()),
    ]
}

fn plugin_folder() -> TempDir {
    let files = plugin();
    folder(&files.iter().map(|(name, content)| (*name, content.as_slice())).collect::<Vec<_>>())
}

fn quire(arguments: &[&str], at: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
    command.args(arguments).current_dir(at).output().expect("its end")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("a text")
}

/// Packs what has to be accepted, into a folder of its own.
fn packed(root: &Path) -> (TempDir, Value) {
    let at = tempfile::tempdir().expect("a folder");
    let said = quire(&["pack", "--output", "json", root.to_str().expect("a text")], at.path());
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    (at, serde_json::from_slice(&said.stdout).expect("JSON"))
}

fn digest(root: &Path) -> String {
    packed(root).1["digest"].as_str().expect("a digest").to_owned()
}

/// The rules of the findings of a folder that is refused, and their paths.
fn refused(root: &Path) -> Vec<(String, Option<String>)> {
    let at = tempfile::tempdir().expect("a folder");
    let said = quire(&["pack", "--output", "json", root.to_str().expect("a text")], at.path());
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert_eq!(fs::read_dir(at.path()).expect("a folder").count(), 0, "nothing is left behind");
    let report: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!((&report["accepted"], &report["plugin"]), (&json!(false), &Value::Null));
    let findings = report["findings"].as_array().expect("a list").iter();
    findings
        .map(|finding| {
            let path = finding["path"].as_str().map(str::to_owned);
            (finding["rule"].as_str().expect("a rule").to_owned(), path)
        })
        .collect()
}

fn names(path: &Path) -> Vec<String> {
    let zip = zip::ZipArchive::new(File::open(path).expect("a file")).expect("an archive");
    (0..zip.len())
        .map(|index| zip.name_for_index(index).expect("a name").expect("a text").into_owned())
        .collect()
}

#[test]
fn the_digest_of_a_folder_is_fixed() {
    let folder = plugin_folder();
    let (at, report) = packed(folder.path());
    let bytes = fs::read(at.path().join("com.acme.hello-1.2.zip")).expect("a file");
    assert_eq!(report["digest"], Sha256::of(&bytes).to_string());
    assert_eq!(report["size"], bytes.len());
    // Another digest here is another digest for the same folder everywhere: docs/adr/0013-canonical-packages.md.
    assert_eq!(
        (report["digest"].as_str(), report["manifest_digest"].as_str()),
        (
            Some("sha256:55f0306d724e1db68425f144f4e03fc55eb4d95c54b5cd4caf1ec76f0e36f5ec"),
            Some("sha256:b397e906603f981b1fc1471de7903e588541a91fd90358ca9ec536b3fcabd5e2"),
        )
    );
}

#[test]
fn nothing_but_the_files_counts() {
    let first = plugin_folder();
    let expected = digest(first.path());
    assert_eq!(digest(first.path()), expected, "again");

    let later = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(1_000_000));
    for name in ["plugin.json", "data/text", "data"] {
        let file = File::open(first.path().join(name)).expect("a file");
        file.set_times(later).expect("its times");
    }
    assert_eq!(digest(first.path()), expected, "other times");

    // Made the other way round, elsewhere, with other permissions, with folders that hold nothing.
    let second = tempfile::tempdir().expect("a folder");
    let root = second.path().join("deep/er");
    let files = plugin();
    let files: Vec<_> = files.iter().rev().map(|(name, content)| (*name, content.as_slice())).collect();
    fill(&root, &files);
    fill(&root, &[("nothing/", b""), ("a/nothing/", b"")]);
    for (name, _) in &files {
        let path = root.join(name.trim_end_matches('*'));
        let mode = if name.ends_with('*') { 0o755 } else { 0o460 };
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("its permissions");
    }
    assert_eq!(digest(&root), expected, "another order, other permissions");

    for (at, line) in [
        (&root, "umask 077; exec \"$0\" pack . -o ../a.zip"),
        (&root, "umask 000; exec \"$0\" pack ./../er/ -o ../b.zip"),
    ] {
        let said =
            Command::new("sh").args(["-c", line, env!("CARGO_BIN_EXE_quire")]).current_dir(at).output();
        let said = said.expect("its end");
        assert!(said.status.success() && text(&said.stdout).contains(&expected), "{line}: {said:?}");
    }
    let mode =
        |name: &str| fs::metadata(second.path().join("deep").join(name)).expect("a file").mode() & 0o777;
    assert_eq!((mode("a.zip"), mode("b.zip")), (0o600, 0o666), "as any new file");

    symlink(&root, second.path().join("link")).expect("a link");
    assert_eq!(digest(&second.path().join("link")), expected, "by way of a link");

    fs::set_permissions(root.join("bin/run"), Permissions::from_mode(0o677)).expect("its permissions");
    assert_ne!(digest(&root), expected, "the owner may not execute it");
}

#[test]
fn every_reader_sees_the_same_files() {
    let folder = plugin_folder();
    let (at, _) = packed(folder.path());
    let path = at.path().join("com.acme.hello-1.2.zip");

    let linted = quire(&["lint", path.to_str().expect("a text")], at.path());
    assert_eq!(text(&linted.stdout), "com.acme.hello 1.2 would be accepted\n", "{linted:?}");
    let expected = ["plugin.json", "README.md", "Zebra", "a-b", "a/b", "bin/run", "data/blank", "data/empty"];
    let names = names(&path);
    assert_eq!(names[..8], expected);
    assert_eq!(names.len(), plugin().len());

    let mut zip = zip::ZipArchive::new(File::open(&path).expect("a file")).expect("an archive");
    for (name, content) in plugin() {
        let mut entry = zip.by_name(name.trim_end_matches('*')).expect("an entry");
        let mode = if name.ends_with('*') { 0o100_755 } else { 0o100_644 };
        assert_eq!(entry.unix_mode(), Some(mode), "{name}");
        // Blanks would be refused for their ratio, and the rest gains nothing.
        let deflated = ["plugin.json", "data/text"].contains(&name);
        let method = if deflated { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
        assert_eq!(entry.compression(), method, "{name}");
        assert!(
            entry.extra_data().is_none_or(|extra| extra.is_empty()) && entry.comment().is_empty(),
            "{name}"
        );
        let mut read = Vec::new();
        entry.read_to_end(&mut read).expect("its content");
        assert!(read == content, "{name}");
    }

    // What these two take out is compared with what went in.
    let script = "import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
assert all(i.date_time == (1980, 1, 1, 0, 0, 0) for i in z.infolist())
z.extractall(sys.argv[2])";
    let [by_python, by_unzip] = ["python", "unzip"].map(|name| at.path().join(name));
    let zip = path.to_str().expect("a text");
    for (program, arguments, out) in [
        ("python3", vec!["-c", script, zip, by_python.to_str().expect("a text")], &by_python),
        ("unzip", vec!["-q", zip, "-d", by_unzip.to_str().expect("a text")], &by_unzip),
    ] {
        let mut command = Command::new(program);
        match command.args(arguments).env("LC_ALL", "C.UTF-8").output() {
            Ok(said) => assert!(said.status.success(), "{program}: {said:?}"),
            Err(error) => {
                assert!(std::env::var("CI").is_err_and(|_| true), "{program}: {error}");
                println!("SKIPPED {program}: install {program}");
                continue;
            }
        }
        for (name, content) in plugin() {
            let read = fs::read(out.join(name.trim_end_matches('*')));
            assert!(read.is_ok_and(|read| read == content), "{program}: {name}");
        }
    }
    let executable = fs::metadata(by_unzip.join("bin/run")).map(|file| file.mode() & 0o777);
    assert!(executable.is_ok_and(|mode| mode == 0o755) || !by_unzip.exists());
}

#[test]
fn what_tools_leave_behind_stays_out() {
    let junk = [
        ".git/HEAD",
        "lib/.git",
        ".hg/x",
        ".venv/bin/python",
        "lib/__pycache__/a.cpython-313.pyc",
        "lib/a.pyc",
        ".DS_Store",
        "__MACOSX/._plugin.json",
        "lib/._a.py",
        "lib/.a.py.swp",
        "lib/a.py~",
        "#a.py#",
        ".#a.py",
        "com.acme.hello-1.1.zip",
        "com.acme.hello-1.2.zip",
        ".quire-pack-xyz",
    ];
    let kept = [
        "plugin.json",
        "com.acme.hello-.zip",
        "com.acme.other-1.0.zip",
        "lib/a.py",
        "lib/com.acme.hello-1.1.zip",
    ];
    let with = |names: &[&'static str]| -> TempDir {
        let content =
            |name: &&'static str| (*name, if *name == "plugin.json" { METADATA } else { "x" }.as_bytes());
        folder(&names.iter().map(content).collect::<Vec<_>>())
    };
    let clean = with(&kept);
    let full = with(&[&junk[..], &kept[..]].concat());
    // A link that stays out does no harm.
    symlink("/", full.path().join(".jj")).expect("a link");
    let (at, report) = packed(full.path());
    assert_eq!(report["digest"], digest(clean.path()));
    assert_eq!(names(&at.path().join("com.acme.hello-1.2.zip")), kept);
    let left_out: BTreeMap<&str, &str> = report["left_out"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|out| (out["path"].as_str().expect("a path"), out["reason"].as_str().expect("a reason")))
        .collect();
    assert_eq!(left_out.len(), junk.len() + 1, "{left_out:#?}");
    for (path, reason) in [
        (".git/", ".git"),
        ("lib/__pycache__/", "__pycache__"),
        ("lib/.a.py.swp", "*.sw[op]"),
        (".jj", ".jj"),
        ("com.acme.hello-1.1.zip", "a package of this plugin"),
    ] {
        assert_eq!(left_out.get(path), Some(&reason), "{left_out:#?}");
    }
    let said = quire(&["pack", "--verbose", "."], full.path());
    assert!(text(&said.stderr).contains("left out: lib/a.pyc [*.py[co]]\n"), "{said:?}");
    assert_eq!(text(&quire(&["pack", ".", "-o", "x.zip"], full.path()).stderr), "");
    // Neither of the two is part of what comes next.
    let again = quire(&["pack", ".", "-o", "x.zip", "--force", "--output", "json"], full.path());
    let again: Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!((&again["digest"], &again["written"]), (&report["digest"], &json!(false)));
}

#[test]
fn a_file_names_what_else_stays_out() {
    let ignored = "# a comment\n\n*.log\n!keep.log\n/top\ndata/*/raw\n!*.pyc\ncache/\r\n";
    let folder = folder(&[
        ("plugin.json", METADATA.as_bytes()),
        (".quireignore", ignored.as_bytes()),
        ("a.log", b""),
        ("keep.log", b""),
        ("top", b""),
        ("sub/top", b""),
        ("data/x/raw", b""),
        ("data/raw", b""),
        ("lib/a.pyc", b""),
        ("cache/x", b""),
        ("sub/cache", b""),
    ]);
    let (at, _) = packed(folder.path());
    let expected = ["plugin.json", "data/raw", "keep.log", "lib/a.pyc", "sub/cache", "sub/top"];
    assert_eq!(names(&at.path().join("com.acme.hello-1.2.zip")), expected);

    fs::write(folder.path().join(".quireignore"), "fine\n[z-a]\n").expect("a file");
    let said = quire(&["pack", "."], folder.path());
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    assert!(text(&said.stderr).contains(".quireignore: line 2: "), "{said:?}");
}

#[test]
fn everything_that_cannot_go_in_is_told_at_once() {
    let folder = folder(&[
        ("plugin.json", br#"{"pid": "Hello", "version": "1.0"}"#),
        ("a:b", b""),
        ("Case", b""),
        ("case", b""),
    ]);
    symlink("plugin.json", folder.path().join("link")).expect("a link");
    symlink("/", folder.path().join("root")).expect("a link");
    let _socket = UnixListener::bind(folder.path().join("socket")).expect("a socket");
    let made = Command::new("mkfifo").arg(folder.path().join("pipe")).status().expect("a pipe");
    assert!(made.success());
    let bytes = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff");
    fs::write(folder.path().join::<&std::ffi::OsStr>(bytes), "").expect("a file");
    let found = refused(folder.path());
    for (rule, path) in [
        ("zip.link", "link"),
        ("zip.link", "root"),
        ("zip.special", "pipe"),
        ("zip.special", "socket"),
        ("name.character", "a:b"),
        ("name.case", "case"),
        ("name.utf8", "\\xff"),
        ("plugin.pid", "plugin.json"),
        ("plugin.name", "plugin.json"),
    ] {
        assert!(found.contains(&(rule.to_owned(), Some(path.to_owned()))), "{rule} {path}: {found:#?}");
    }
    let said = quire(&["pack", "."], folder.path());
    assert!(text(&said.stdout).contains("error: link: a symbolic link [zip.link]\n  hint: "), "{said:?}");

    let empty = tempfile::tempdir().expect("a folder");
    let rules: Vec<String> = refused(empty.path()).into_iter().map(|(rule, _)| rule).collect();
    assert_eq!(rules, ["zip.empty", "plugin.metadata"]);
}

#[test]
fn a_folder_over_a_limit_is_not_written() {
    let folder = folder(&[("plugin.json", METADATA.as_bytes()), ("a", &[1; 1_000]), ("b/c", b"")]);
    for (limits, rule) in [
        (Limits { entries: 3, ..Limits::default() }, "limit.entries"),
        (Limits { unpacked: 1_000, ..Limits::default() }, "limit.unpacked"),
    ] {
        let file = tempfile::tempfile().expect("a file");
        let tree = Tree::read(folder.path(), None, &limits).expect("a folder");
        let packed = pack(&tree, &file, &limits, Duration::from_secs(10)).expect("a result");
        assert!(packed.plugin.is_none());
        let rules: Vec<_> = packed.findings.iter().map(|finding| finding.rule).collect();
        assert!(rules.contains(&rule), "{rules:?}");
        assert_eq!(file.metadata().expect("a file").len(), 0);
    }
}

#[test]
fn what_is_there_is_kept() {
    let folder = folder(&[("plugin.json", METADATA.as_bytes())]);
    let at = tempfile::tempdir().expect("a folder");
    let root = folder.path().to_str().expect("a text");
    let path = at.path().join("com.acme.hello-1.2.zip");
    let run = |arguments: &[&str]| {
        let said = quire(&[&["pack", root], arguments].concat(), at.path());
        (said.status.code(), text(&said.stdout), text(&said.stderr))
    };
    let (code, out, _) = run(&[]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("file      com.acme.hello-1.2.zip\n"), "{out}");
    let inode = fs::metadata(&path).expect("a file").ino();
    let (code, out, _) = run(&[]);
    assert!(code == Some(0) && out.contains("was there already"), "{out}");
    assert_eq!(fs::metadata(&path).expect("a file").ino(), inode);

    fs::write(&path, "mine").expect("a file");
    let (code, out, err) = run(&[]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("com.acme.hello-1.2.zip") && err.contains("--force"), "{err}");
    assert_eq!(fs::read(&path).expect("a file"), b"mine");
    assert_eq!(run(&["--force"]).0, Some(0));
    assert!(
        check(
            &File::open(&path).expect("a file"),
            &Limits::default(),
            std::time::Instant::now() + Duration::from_secs(10)
        )
        .is_ok_and(|package| package.plugin.is_some())
    );

    fs::create_dir(at.path().join("out")).expect("a folder");
    assert_eq!(run(&["-o", "out"]).0, Some(0));
    assert!(at.path().join("out/com.acme.hello-1.2.zip").is_file());
    for to in ["no/such/x.zip", "out/com.acme.hello-1.2.zip/x.zip"] {
        let (code, _, err) = run(&["-o", to]);
        assert_eq!(code, Some(2), "{err}");
    }
    let left: Vec<PathBuf> =
        fs::read_dir(at.path()).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let said = quire(&["pack", "no/such/folder"], at.path());
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    assert!(text(&said.stderr).contains("no/such/folder"), "{said:?}");
}
