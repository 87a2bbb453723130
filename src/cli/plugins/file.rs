//! One file of a package, fetched, checked, and only then given its name or printed.

use std::fs::{File, Permissions};
use std::io::{self, IsTerminal, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use serde_json::json;

use crate::cli::text::{self, plain};
use crate::cli::{CommandError, remote, wants_json};
use crate::client::{CheckedFile, Connection};

/// Standard output holds a file or a report about it.
pub fn check_flags(matches: &ArgMatches) -> Result<(), CommandError> {
    if wants_json(matches) && matches.contains_id("path") && !matches.contains_id("to") {
        let message = "--path prints the file itself; name a file with -o to get a report in JSON";
        return Err(CommandError::Usage(message.into()));
    }
    Ok(())
}

/// Fetches a file of the version whose files are below `path`.
pub async fn fetch(
    matches: &ArgMatches,
    registry: &Connection,
    path: &str,
    query: &[(&str, String)],
    wanted: &str,
) -> Result<u8, CommandError> {
    let mut checked = CheckedFile::open(registry, path, query, wanted).await?;
    let Some(to) = matches.get_one::<PathBuf>("to") else {
        let mut whole = tempfile::tempfile()?;
        while let Some(part) = checked.next().await? {
            whole.write_all(&part)?;
        }
        whole.rewind()?;
        print(whole)?;
        return Ok(0);
    };
    let file = checked.listed.clone();
    let in_target = |error| CommandError::File { path: to.clone(), error };
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = if file.executable { 0o777 } else { 0o666 };
    // Beside its place, so that it gets its name in one step; with the permissions that any new file gets.
    let mut temporary = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(in_target)?;
    while let Some(part) = checked.next().await? {
        temporary.write_all(&part).map_err(in_target)?;
    }
    temporary.as_file().sync_all().map_err(in_target)?;
    temporary.persist(to).map_err(|error| in_target(error.error))?;
    if wants_json(matches) {
        let report = json!({ "path": file.path, "size": file.size, "digest": file.digest,
            "executable": file.executable, "written": to.to_string_lossy() });
        writeln!(anstream::stdout().lock(), "{}", text::json(&report))?;
    } else {
        remote::note(matches, &format!("wrote {}: {} bytes, {}", to.display(), file.size, file.digest))?;
    }
    Ok(0)
}

/// A pipe gets the bytes as they are, a terminal only what it can show.
fn print(mut whole: File) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        let mut bytes = Vec::new();
        whole.read_to_end(&mut bytes)?;
        let text = for_terminal(&bytes);
        let text = text.ok_or_else(|| CommandError::Usage("this is no text; name a file with -o".into()))?;
        out.write_all(text.as_bytes())?;
    } else {
        io::copy(&mut whole, &mut out)?;
    }
    Ok(out.flush()?)
}

/// `None`: it is no text.
fn for_terminal(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let shown = |line: &str| line.split('\t').map(plain).collect::<Vec<_>>().join("\t");
    let lines: Vec<String> = text.split('\n').map(|line| shown(line.trim_end_matches('\r'))).collect();
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_text_and_no_commands() {
        assert_eq!(for_terminal(b"a\tb\r\nc\n").as_deref(), Some("a\tb\nc\n"));
        assert_eq!(for_terminal("\u{1b}[2J\u{9b}ä".as_bytes()).as_deref(), Some("\u{fffd}[2J\u{fffd}ä"));
        assert_eq!(for_terminal(b""), Some(String::new()));
        assert_eq!(for_terminal(b"\x89PNG\xff"), None);
    }
}
