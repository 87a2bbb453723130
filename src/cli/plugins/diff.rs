//! `quire plugins diff`: what became of a plugin from one version to another.

use std::io::{self, Write};

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::cli::text::plain;
use crate::cli::{CommandError, EXIT_NO, EXIT_USAGE, plugin_flags, remote};
use crate::client::{VersionDiff, read};
use crate::config::Environment;
use crate::version::Version;

pub fn command() -> Command {
    let exit_code = Arg::new("exit-code").long("exit-code").action(ArgAction::SetTrue);
    remote::command("diff", "Compare two versions of a plugin: metadata, settings and files")
        .arg(plugin_flags::pid())
        .arg(plugin_flags::version("from", "FROM").help("The earlier version"))
        .arg(plugin_flags::version("to", "TO").help("The later version"))
        .arg(exit_code.help(
            "Exit with 1 when the settings of TO break with those of FROM; without this flag a comparison ends with 0",
        ))
        .arg(plugin_flags::org())
        .arg(plugin_flags::source())
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let version = |name: &str| matches.get_one::<Version>(name).map(Version::to_string);
    let (Some(from), Some(to)) = (version("from"), version("to")) else { return Ok(EXIT_USAGE) };
    let mut query = plugin_flags::source_query(matches);
    query.extend([("from", from), ("to", to)]);
    remote::ask(matches, environment, async |registry| {
        let answer = registry.get(&format!("{}/diff", plugin_flags::path(matches)), &query).await?;
        remote::show(matches, registry, &answer, |out, diff: VersionDiff| {
            tell(out, plugin_flags::text(matches, "pid"), &diff)
        })?;
        let diff: VersionDiff = read(registry.registry(), &answer)?;
        let breaks = diff.settings_schema.verdict != "compatible";
        Ok(if breaks && matches.get_flag("exit-code") { EXIT_NO } else { 0 })
    })
}

fn tell(out: &mut dyn Write, pid: &str, diff: &VersionDiff) -> io::Result<()> {
    let mut line = |text: String| writeln!(out, "{}", plain(&text));
    let VersionDiff { from, to, metadata, settings_schema, files } = diff;
    line(format!("{pid} {} -> {}", from.version, to.version))?;
    if from.digest == to.digest {
        return line("the same package".to_owned());
    }
    for (name, changed) in metadata {
        line(format!("~ {name}: {} -> {}", changed.from, changed.to))?;
    }
    line(format!("settings: {}", settings_schema.verdict))?;
    for reason in &settings_schema.reasons {
        line(format!("  {reason}"))?;
    }
    line(format!(
        "files: {} added, {} removed, {} changed",
        files.added.len(),
        files.removed.len(),
        files.changed.len()
    ))?;
    for file in &files.added {
        line(format!("+ {} ({} bytes)", file.path, file.size))?;
    }
    for file in &files.removed {
        line(format!("- {} ({} bytes)", file.path, file.size))?;
    }
    for file in &files.changed {
        line(format!("~ {} ({} -> {} bytes)", file.path, file.from.size, file.to.size))?;
    }
    Ok(())
}
