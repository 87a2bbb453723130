//! Archives that are no packages: each is refused with a finding that helps, and following its hint helps.

use std::fs;
use std::path::Path;

use quire::package::Finding;

use super::{Workshop, errors, plugin, testdata};
use crate::archive_corpus::writer::{Entry, Zip, field};
use crate::archive_corpus::{METADATA, package};
use crate::tools::have;

/// That a file is refused by a rule, with words that say why; and that everything that is said helps.
#[track_caller]
fn refused(bytes: &[u8], rule: &str, words: &str) -> Vec<Finding> {
    let found = plugin(bytes).expect_err("a refusal");
    let told = errors(&found).find(|finding| finding.rule == rule && finding.message.contains(words));
    assert!(told.is_some(), "{rule} with {words:?} is not among {found:#?}");
    for finding in &found {
        let hint = finding.hint.as_deref().unwrap_or_default();
        assert!(finding.message.len() > 15 && hint.len() > 15, "{finding:#?}");
    }
    found
}

/// Refused by one rule and nothing else.
#[track_caller]
fn refused_only(bytes: &[u8], rule: &str, words: &str) {
    let found = refused(bytes, rule, words);
    assert!(found.iter().all(|finding| finding.rule == rule), "{found:#?}");
}

/// The files of an ending that `tests/install-tools.sh` downloaded.
fn downloaded(ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/foreign");
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let named = entries.filter(|path| path.extension().is_some_and(|found| found == ending));
    named.map(|path| fs::read(path).expect("a file")).collect()
}

#[test]
fn wheels() {
    let wheels = downloaded("whl");
    if !have("two wheels of the package index", wheels.len() >= 2) {
        return;
    }
    for bytes in wheels {
        refused_only(&bytes, "plugin.metadata", "this looks like a Python wheel");
    }
}

#[test]
fn java_archives() {
    let archives = downloaded("jar");
    if !have("a Java archive of Debian", !archives.is_empty()) {
        return;
    }
    for bytes in archives {
        refused_only(&bytes, "plugin.metadata", "this looks like a Java archive");
    }
}

fn xml(name: &str) -> Entry {
    Entry::deflated(name, b"<?xml version=\"1.0\"?><x/>")
}

#[test]
fn documents_and_apps() {
    let office = Zip::of(["[Content_Types].xml", "_rels/.rels", "word/document.xml"].map(xml));
    refused_only(&office.bytes(), "plugin.metadata", "an Office document");

    let mimetype = Entry::stored("mimetype", b"application/vnd.oasis.opendocument.text");
    let text = Zip::of([mimetype, xml("content.xml"), xml("META-INF/manifest.xml")]);
    refused_only(&text.bytes(), "plugin.metadata", "an OpenDocument file");

    let app = || {
        [xml("META-INF/MANIFEST.MF"), xml("AndroidManifest.xml"), Entry::deflated("classes.dex", b"dex\n035")]
    };
    refused_only(&Zip::of(app()).bytes(), "plugin.metadata", "an Android app");
    // Signed: a block before the central directory, and zeros in extra fields so that data is aligned.
    let signed = Zip::of(app()).framed(|zip| zip.before_directory = b"APK Sig Block 42".repeat(20));
    refused_only(&signed.bytes(), "zip.gap", "320 bytes");
    let aligned = Zip::of(app().map(|entry| entry.local(|head| head.extra = vec![0; 3])));
    refused_only(&aligned.bytes(), "zip.extra", "extra fields are cut");
    // `jar` marks its first entry, which does no harm.
    let marked = Zip::of([Entry::folder("META-INF").extra(&field(0xcafe, b"")), xml("META-INF/MANIFEST.MF")]);
    refused_only(&marked.bytes(), "plugin.metadata", "a Java archive");
}

#[test]
fn plugins_in_wrong_places() {
    for (paths, near) in [
        (&["a/plugin.json", "b/x"][..], Some("a/plugin.json")),
        (&["src/plugin/plugin.json", "setup.py"], Some("src/plugin/plugin.json")),
        (&["Plugin.JSON"], Some("Plugin.JSON")),
        (&["__MACOSX/plugin.json", "x"], None),
    ] {
        let zip = Zip::of(paths.iter().map(|path| Entry::deflated(path, METADATA)));
        let found = refused(&zip.bytes(), "plugin.metadata", "no plugin.json and no plugin.py");
        let hint = found[0].hint.as_deref().unwrap_or_default();
        assert_eq!(found[0].path.as_deref(), near);
        assert!(near.is_none_or(|near| hint.starts_with(near)), "{hint}");
    }
}

#[test]
fn other_formats() {
    refused_only(b"", "zip.magic", "the file is empty");
    refused_only(METADATA, "zip.magic", "neither begin nor end like one");
    refused_only(b"<!DOCTYPE html><title>Not found</title>", "zip.magic", "this is not a zip");
    refused_only(b"7z\xbc\xaf\x27\x1c\0\x04\x8d\x9b\xd5\x0f\0\0\0\0", "zip.magic", "7z");
    refused_only(b"Rar!\x1a\x07\x01\0", "zip.magic", "rar");
    let Some(workshop) = Workshop::new(&["tar", "gzip"]) else { return };
    workshop.write("my_plugin/plugin.json", METADATA);
    refused_only(&workshop.run("", "tar -cf - my_plugin"), "zip.magic", "tar");
    refused_only(&workshop.run("", "tar -czf - my_plugin"), "zip.magic", "gzip");
    refused_only(&workshop.run("", "gzip -c my_plugin/plugin.json"), "zip.magic", "gzip");
}

/// A folder with a plugin, and the zip of it that a line makes.
fn zipped(workshop: &Workshop, line: &str) -> Vec<u8> {
    workshop.write("my_plugin/plugin.json", METADATA);
    workshop.run("", line);
    workshop.read("plugin.zip")
}

#[test]
fn encrypted() {
    let Some(workshop) = Workshop::new(&["zip"]) else { return };
    let bytes = zipped(&workshop, "zip -q -r -P secret plugin.zip my_plugin");
    refused(&bytes, "zip.encrypted", "encrypted");
}

#[test]
fn split() {
    let Some(workshop) = Workshop::new(&["zip"]) else { return };
    let noise: Vec<u8> =
        (0..150_000_u32).flat_map(|number| crc32fast::hash(&number.to_le_bytes()).to_le_bytes()).collect();
    workshop.write("my_plugin/noise", &noise[..150_000]);
    let last = zipped(&workshop, "zip -q -r -s 64k plugin.zip my_plugin");
    refused(&last, "zip.disk", "one of several disks");
    refused_only(&workshop.read("plugin.z01"), "zip.disk", "one part of a split archive");
    refused(&workshop.read("plugin.z02"), "zip.magic", "this is not a zip");
    fs::remove_file(workshop.path("plugin.zip")).expect("a file");
    plugin(&zipped(&workshop, "zip -q -r plugin.zip my_plugin")).expect("what the hint says");
}

#[test]
fn self_extracting() {
    let Some(workshop) = Workshop::new(&["zip"]) else { return };
    let plain = zipped(&workshop, "zip -q -r plugin.zip my_plugin");
    let program = [&b"#!/bin/sh\nexec unzip \"$0\"\n"[..], &plain].concat();
    refused_only(&program, "zip.prefix", "26 bytes stand before");
    workshop.write("program.zip", &program);
    workshop.run("", "zip -q -A program.zip");
    refused_only(&workshop.read("program.zip"), "zip.prefix", "26 bytes stand before");
    workshop.run("", "zip -q -J program.zip");
    plugin(&workshop.read("program.zip")).expect("what the hint says");
}

#[test]
fn links_comments_and_modes() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let Some(workshop) = Workshop::new(&["zip"]) else { return };
    let script = workshop.write("my_plugin/run.sh", b"#!/bin/sh\n");
    symlink("run.sh", workshop.path("my_plugin/link.sh")).expect("a link");
    refused_only(&zipped(&workshop, "zip -q -r -y plugin.zip my_plugin"), "zip.link", "symbolic link");
    fs::remove_file(workshop.path("plugin.zip")).expect("a file");
    plugin(&zipped(&workshop, "zip -q -r plugin.zip my_plugin")).expect("what the hint says");

    fs::set_permissions(script, fs::Permissions::from_mode(0o4_755)).expect("a mode");
    refused_only(&zipped(&workshop, "zip -q -r plugin.zip my_plugin"), "zip.setuid", "setuid");

    let long = package([]).framed(|zip| zip.comment = vec![b'x'; 2_000]);
    workshop.write("commented.zip", &long.bytes());
    refused_only(&long.bytes(), "zip.comment", "2000 bytes");
}

#[test]
fn names_that_zip_does_not_flag() {
    let Some(workshop) = Workshop::new(&["zip", "python3", "go"]) else { return };
    workshop.write("my_plugin/süß.txt", b"text");
    let found = plugin(&zipped(&workshop, "zip -q -r plugin.zip my_plugin")).expect_err("a refusal");
    let known = ["name.unflagged", "zip.second-name"];
    assert!(errors(&found).all(|finding| known.contains(&finding.rule)), "{found:#?}");
    assert!(found.iter().all(|finding| finding.hint.as_deref().is_some_and(|hint| hint.contains("ASCII"))));
    workshop.run("", "python3 -m zipfile -c flagged.zip my_plugin");
    plugin(&workshop.read("flagged.zip")).expect("what the hint says");
    workshop.run("", &format!("go run {} write my_plugin go.zip", testdata("zips.go")));
    plugin(&workshop.read("go.zip")).expect("what the hint says");
}
