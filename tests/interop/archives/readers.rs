//! Readers of zips: ours, Python's zipfile, Go's archive/zip and Info-ZIP, each over many archives at once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use quire::digest::Sha256;
use quire::package::{Kind, Limits, check};

use super::{Workshop, in_a_minute, testdata};
use crate::tools::{finish, transcript};

/// Name, size and SHA-256 of each entry, sorted. Folders end with a slash.
type Listing = Vec<(String, u64, String)>;

/// Archives by the names of their files.
pub type Archives = BTreeMap<String, Vec<u8>>;

/// What the programs must be there for.
pub const PROGRAMS: [&str; 3] = ["python3", "unzip", "go"];

/// Every way in which another reader reads one of these archives differently.
pub fn differences(workshop: &Workshop, archives: &Archives) -> Vec<String> {
    for (name, bytes) in archives {
        workshop.write(&format!("archives/{name}"), bytes);
    }
    let folder = workshop.path("archives").display().to_string();
    let python = workshop.run("", &format!("python3 {} {folder}", testdata("zips.py")));
    let go = workshop.run("", &format!("go run {} read {folder}", testdata("zips.go")));
    let (python, go) = (reports(&python), reports(&go));
    workshop.folder("extracted");
    let mut wrong = Vec::new();
    for (name, bytes) in archives {
        let ours = ours(bytes);
        let theirs = [("zipfile", python(name)), ("Go", go(name)), ("unzip", unzip(workshop, name))];
        for (reader, theirs) in theirs {
            if let Some(difference) = difference(&ours, &theirs) {
                wrong.push(format!("{name}: {reader}: {difference}"));
            }
        }
    }
    wrong
}

fn difference(ours: &Listing, theirs: &Result<Listing, String>) -> Option<String> {
    let theirs = match theirs {
        Ok(theirs) if theirs == ours => return None,
        Ok(theirs) => theirs,
        Err(why) => return Some(why.clone()),
    };
    let only = |these: &Listing, others: &Listing| -> Listing {
        these.iter().filter(|entry| !others.contains(entry)).cloned().collect()
    };
    Some(format!("only here {:?}, only there {:?}", only(ours, theirs), only(theirs, ours)))
}

/// What we read of an archive that we accept.
fn ours(bytes: &[u8]) -> Listing {
    let package = check(&bytes, &Limits::default(), in_a_minute()).expect("bytes in memory");
    let archive = package.archive.unwrap_or_else(|| panic!("refused: {:#?}", package.findings));
    let mut listing: Listing = Vec::new();
    for entry in archive.entries() {
        let name = match entry.kind {
            Kind::File => entry.path.clone(),
            Kind::Folder => format!("{}/", entry.path),
        };
        let content = archive.read(&entry.path, u64::MAX).expect("bytes in memory").unwrap_or_default();
        assert_eq!(Sha256::of(&content), entry.sha256, "{name}");
        listing.push((name, entry.size, Sha256::of(&content).hex()));
    }
    listing.sort();
    listing
}

/// The reports of a program that printed them as JSON, by archive.
fn reports(json: &[u8]) -> impl Fn(&str) -> Result<Listing, String> {
    let reports: serde_json::Value = serde_json::from_slice(json).expect("JSON");
    move |name| {
        let report = reports.get(name).ok_or("no report")?;
        let mut listing: Listing = serde_json::from_value(report.clone()).map_err(|_| report.to_string())?;
        listing.sort();
        Ok(listing)
    }
}

/// The names that Info-ZIP lists, with the contents that it extracts.
fn unzip(workshop: &Workshop, name: &str) -> Result<Listing, String> {
    let run = |line: String| {
        let output = finish(workshop.command("", &line), "");
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).expect("a text")),
            false => Err(transcript(&output)),
        }
    };
    let names = run(format!("unzip -Z1 archives/{name}"))?;
    run(format!("unzip -qq -o archives/{name} -d extracted/{name}"))?;
    let mut extracted = BTreeMap::new();
    let root = workshop.path("extracted").join(name);
    walk(&root, "", &mut extracted);
    fs::remove_dir_all(root).expect("a folder");
    let mut listing = Listing::new();
    for name in names.lines() {
        let content = extracted.remove(name).ok_or_else(|| format!("{name} is listed and not extracted"))?;
        listing.push((name.to_owned(), content.len() as u64, Sha256::of(&content).hex()));
    }
    // Folders that are only in the names of their files come into being as well.
    extracted.retain(|name, _| !name.ends_with('/'));
    if !extracted.is_empty() {
        return Err(format!("{:?} are extracted and not listed", extracted.keys()));
    }
    listing.sort();
    Ok(listing)
}

fn walk(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    // An archive may say that nobody reads its files.
    let readable = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a file of ours");
    };
    readable(folder, 0o755);
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = format!("{prefix}{}", entry.file_name().into_string().expect("UTF-8"));
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            walk(&entry.path(), &format!("{name}/"), found);
            found.insert(format!("{name}/"), Vec::new());
        } else {
            assert!(kind.is_file(), "{name} is {kind:?}");
            readable(&entry.path(), 0o644);
            found.insert(name, fs::read(entry.path()).expect("a file"));
        }
    }
}
