//! `quire plugins files`: lists of files, and files that are what the list says.

use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use quire::digest::Sha256;
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::strangers::Stub;
use super::{ACME, rows, server, upload_bytes};
use crate::client_commands::Person;

const SCRIPT: &str = "#!/bin/sh\necho hello\n";
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\x00\xff";

/// A package with a script that can be run, a picture, and a name with characters that URLs mean something by.
fn package() -> Vec<u8> {
    let metadata = json!({"pid": "com.acme.hello", "name": "Hello", "version": "1.0", "description": "x"});
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let plain = SimpleFileOptions::default();
    for (name, content, options) in [
        ("plugin.json", metadata.to_string().as_bytes(), plain),
        ("bin/run.sh", SCRIPT.as_bytes(), plain.unix_permissions(0o755)),
        ("img/logo.png", PICTURE, plain),
        ("docs/100%25 & more.txt", b"text", plain),
    ] {
        zip.start_file(name, options).expect("an entry");
        zip.write_all(content).expect("its content");
    }
    zip.finish().expect("an archive").into_inner()
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

#[tokio::test]
async fn files_are_listed_and_fetched() {
    let (server, admin) = server();
    upload_bytes(&server.admin(), ACME, package()).await;
    let line = "plugins files com.acme.hello 1.0 --org acme";
    let list = admin.done_json(line);
    let digest = Sha256::of(SCRIPT.as_bytes()).to_string();
    let script = json!({"path": "bin/run.sh", "size": SCRIPT.len(), "digest": digest, "executable": true});
    assert!(list.as_array().is_some_and(|list| list.len() == 4 && list.contains(&script)), "{list}");
    let text = rows(&admin.done(line));
    assert_eq!(text[0], "SIZE DIGEST PATH");
    assert!(text.contains(&format!("{} x {digest} bin/run.sh", SCRIPT.len())), "{text:?}");

    assert_eq!(admin.done(&format!("{line} --path bin/run.sh")), SCRIPT);
    let strange = super::run_with(&admin, &format!("{line} --path"), "docs/100%25 & more.txt");
    assert_eq!((strange.code, strange.out.as_str()), (Some(0), "text"), "{strange:?}");
    let picture = admin.command(&format!("{line} --path img/logo.png")).output().expect("the program runs");
    assert_eq!((picture.status.code(), &*picture.stdout), (Some(0), PICTURE));

    let out = admin.path("run.sh");
    std::fs::write(&out, "what was there").unwrap();
    let report = admin.done_json(&format!("{line} --path bin/run.sh -o run.sh"));
    assert_eq!((&report["digest"], &report["written"]), (&json!(digest), &json!("run.sh")));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), SCRIPT);
    assert_ne!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o100, 0, "it can be run");
    assert_eq!(admin.done(&format!("{line} --path img/logo.png --to logo.png")), "");
    assert_eq!(std::fs::read(admin.path("logo.png")).unwrap(), PICTURE);
    assert_eq!(std::fs::metadata(admin.path("logo.png")).unwrap().permissions().mode() & 0o111, 0);
    assert_eq!(entries(&admin.path("")), 2, "nothing else was left");

    let unknown = admin.run(&format!("{line} --path bin/none.sh"));
    assert_eq!((unknown.code, unknown.out.as_str()), (Some(1), ""), "{unknown:?}");
    assert!(unknown.err.contains("bin/none.sh") && unknown.err.contains("(not_found)"), "{unknown:?}");
    assert_eq!(admin.problem(&format!("{line} --path bin/none.sh -o new")), (Some(1), "not_found".into()));
    assert_eq!(admin.problem("plugins files com.acme.hello 2.0 --org acme").0, Some(1));
    let nowhere = admin.run(&format!("{line} --path bin/run.sh -o missing/run.sh"));
    assert_eq!(nowhere.code, Some(2), "{nowhere:?}");
    assert!(nowhere.err.contains("missing/run.sh"), "{nowhere:?}");
}

#[test]
fn a_file_that_is_not_what_the_list_says_is_not_written() {
    let good = Sha256::of(b"good bytes").to_string();
    let listed = |size: Value, digest: &str| {
        json!([{"path": "a.txt", "size": size, "digest": digest, "executable": false}]).to_string()
    };
    for (list, sent) in [
        (listed(json!(10), &good), "evil bytes"),
        (listed(json!(10), &good), "good bytes and more"),
        (listed(json!(10), &good), "good"),
        (listed(json!(4), &good), "good bytes"),
        (listed(json!(10), "sha256:good"), "good bytes"),
        (listed(json!(1_u64 << 40), &good), "good bytes"),
        (listed(json!(-1), &good), "good bytes"),
    ] {
        let told = list.clone();
        let stub = Stub::start(move |path| match path.contains("a.txt") {
            true => ("200 OK".into(), String::new(), sent.as_bytes().to_vec()),
            false => ("200 OK".into(), String::new(), list.clone().into_bytes()),
        });
        let person = Person::with_token(&stub.url, "quire_somebody-0123456789");
        std::fs::write(person.path("out"), "before").unwrap();
        let line = "plugins files com.acme.hello 1.0 --path a.txt";
        let to_file = person.problem(&format!("{line} -o out"));
        assert_eq!(to_file, (Some(2), "unexpected_answer".into()), "{told} {sent}");
        assert_eq!(std::fs::read_to_string(person.path("out")).unwrap(), "before");
        assert_eq!(entries(&person.path("")), 1, "no part of it is left");
        let printed = person.run(line);
        assert_eq!((printed.code, printed.out.as_str()), (Some(2), ""), "{told} {sent}: {printed:?}");
    }
}
