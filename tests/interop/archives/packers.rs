//! The same plugin, zipped by every tool that authors use, is the same plugin.

use std::fs;
use std::path::Path;

use super::plugins::{EXAMPLES, Example};
use super::readers::{Archives, differences};
use super::{Workshop, plugin, testdata};
use crate::archive_corpus::writer::{Entry, Zip, field};
use crate::tools::finish;

/// The top folder of packages that have one.
const TOP: &str = "my_plugin";

/// Zips what is in a folder of the workshop: a folder with the plugin in it.
type Packer = fn(&Workshop, &str) -> Vec<u8>;

/// What packs a plugin: from inside of its folder, or from outside with the folder at the top.
const PACKERS: &[(&str, Packer)] = &[
    ("zip -r .", |workshop, folder| zipped(workshop, &inside(folder), "zip -q -r OUT .")),
    ("zip -r FOLDER", |workshop, folder| zipped(workshop, folder, "zip -q -r OUT my_plugin")),
    ("zip -0", |workshop, folder| zipped(workshop, &inside(folder), "zip -q -0 -r OUT .")),
    ("zip -X -D", |workshop, folder| zipped(workshop, folder, "zip -q -9 -X -D -r OUT my_plugin")),
    ("zip into a pipe", |workshop, folder| workshop.run(folder, "zip -q -r - my_plugin")),
    ("zip into a pipe, flat", |workshop, folder| workshop.run(&inside(folder), "zip -q -r - .")),
    ("zip with forced ZIP64", |workshop, folder| zipped(workshop, folder, "zip -q -fz -r OUT my_plugin")),
    ("zip in two steps", |workshop, folder| {
        zipped(workshop, folder, "zip -q -r OUT my_plugin -x *.txt");
        zipped(workshop, folder, "zip -q -r OUT my_plugin")
    }),
    ("zipfile -c", |workshop, folder| zipped(workshop, folder, "python3 -m zipfile -c OUT my_plugin")),
    ("make_archive", |workshop, folder| made(workshop, folder, "r'OUT'[:-4], 'zip', 'my_plugin'")),
    ("make_archive with a base", |workshop, folder| {
        made(workshop, folder, "r'OUT'[:-4], 'zip', '.', 'my_plugin'")
    }),
    ("archive/zip", |workshop, folder| go(workshop, folder)),
    ("archive/zip, flat", |workshop, folder| go(workshop, &inside(folder))),
    ("Archive Utility", |workshop, folder| macos(&workshop.path(folder)).into()),
    ("Explorer", |workshop, folder| windows(&workshop.path(folder)).into()),
];

fn inside(folder: &str) -> String {
    format!("{folder}/{TOP}")
}

fn out(workshop: &Workshop, folder: &str) -> String {
    let plugin = folder.trim_end_matches(TOP).trim_end_matches('/');
    workshop.path(&format!("{plugin}.zip")).display().to_string()
}

/// Runs a command that writes `OUT`.
fn zipped(workshop: &Workshop, folder: &str, line: &str) -> Vec<u8> {
    let out = out(workshop, folder);
    workshop.run(folder, &line.replace("OUT", &out));
    fs::read(out).expect("a zip")
}

fn made(workshop: &Workshop, folder: &str, arguments: &str) -> Vec<u8> {
    let out = out(workshop, folder);
    let script = format!("import shutil; shutil.make_archive({})", arguments.replace("OUT", &out));
    let mut command = workshop.command(folder, "python3 -c");
    command.arg(script);
    assert!(finish(command, "").status.success());
    fs::read(out).expect("a zip")
}

fn go(workshop: &Workshop, folder: &str) -> Vec<u8> {
    zipped(workshop, folder, &format!("go run {} write . OUT", testdata("zips.go")))
}

/// Every file and folder below one, folders first, with its path from there.
fn tree(folder: &Path, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut names: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")).collect();
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.push((format!("{name}/"), Vec::new()));
            found.extend(tree(&entry.path(), &format!("{name}/")));
        } else {
            found.push((name, fs::read(entry.path()).expect("a file")));
        }
    }
    found
}

/// As macOS packs a folder: everything streamed, times and owner in an old field, and beside each file a
/// record of its extended attributes below `__MACOSX/`.
fn macos(folder: &Path) -> Zip {
    let mut entries = Vec::new();
    // An AppleDouble file without any attributes: magic, version, filler, no entries.
    let record = [&[0, 5, 22, 7, 0, 2, 0, 0][..], b"Mac OS X        ", &[0, 0]].concat();
    let by_ditto = |entry: Entry| {
        let mut entry = entry.both(|head| head.needed = if head.method == 8 { 20 } else { 10 });
        entry.made_by = 3 << 8 | 21;
        // Two times; in the local header the owner as well.
        entry.local.extra = field(0x5855, &[0, 0, 0x6d, 0x38, 0, 0, 0x6d, 0x38, 0xf5, 1, 20, 0]);
        entry.central.extra = field(0x5855, &[0, 0, 0x6d, 0x38, 0, 0, 0x6d, 0x38]);
        entry
    };
    for (name, content) in tree(folder, "") {
        if name.ends_with('/') || content.is_empty() {
            entries.push(by_ditto(Entry::stored(&name, b"")));
        } else {
            entries.push(by_ditto(Entry::deflated(&name, &content).streamed()));
        }
        let (parent, own) = match name.trim_end_matches('/').rsplit_once('/') {
            Some((parent, own)) => (format!("{parent}/"), own),
            None => (String::new(), name.trim_end_matches('/')),
        };
        let beside = format!("__MACOSX/{parent}._{own}");
        entries.push(by_ditto(Entry::deflated(beside, &record).streamed()));
    }
    Zip::of(entries)
}

/// As Windows packs a folder: attributes of MS-DOS only, and no entries for folders that have files.
fn windows(folder: &Path) -> Zip {
    let files = tree(folder, "").into_iter().filter(|(name, _)| !name.ends_with('/'));
    let entry = |(name, content): (String, Vec<u8>)| match content.is_empty() {
        true => Entry::stored(name, b""),
        false => Entry::deflated(name, &content),
    };
    Zip::of(files.map(entry).map(|entry| entry.with(|entry| (entry.made_by, entry.external) = (20, 0x20))))
}

#[test]
fn a_plugin_is_the_same_whatever_packs_it() {
    let Some(workshop) = Workshop::new(&["zip", "python3", "unzip", "go"]) else { return };
    let mut packages = Archives::new();
    for Example { name, files, says } in EXAMPLES {
        let mut first = None;
        for (index, (packer, pack)) in PACKERS.iter().enumerate() {
            let folder = format!("{name}/{index}");
            for (path, content) in *files {
                workshop.write(&format!("{folder}/{TOP}/{path}"), content.as_bytes());
            }
            let bytes = pack(&workshop, &folder);
            let mut read = plugin(&bytes).unwrap_or_else(|found| panic!("{name} by {packer}: {found:#?}"));
            says(&read);
            // Where in the archive they are is the one thing that may differ.
            for path in [&mut read.logo, &mut read.readme].into_iter().flatten() {
                *path = path.trim_start_matches("my_plugin/").to_owned();
            }
            let first = first.get_or_insert_with(|| read.clone());
            assert_eq!(&read, first, "{name} by {packer}");
            packages.insert(format!("{name}-{index}.zip"), bytes);
        }
    }
    assert_eq!(packages.len(), EXAMPLES.len() * PACKERS.len());
    let differences = differences(&workshop, &packages);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
