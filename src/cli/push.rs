//! `quire push`: a plugin's package into a registry, checked first, and going on where an earlier run was interrupted.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::text::{plain, record};
use super::{CommandError, EXIT_NO, findings, remote, wants_json};
use crate::client::{ClientError, Event, Push, Pushed, RegistryUrl, UploadMemory, Watch};
use crate::config::Environment;
use crate::name::{RepositoryName, Tag};
use crate::package::{ArchiveError, Artifact, Finding, Limits, Plugin, check};
use crate::version::Version;

/// Longest time that reading the package takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// The catalog that belongs to no organisation.
const SYSTEM: &str = "system";
const BAR: &str = "{bar:24} {bytes} of {total_bytes}  {binary_bytes_per_sec}  {eta} left";

pub fn command() -> Command {
    remote::command("push", "Push the package of a plugin")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The zip of the plugin, as quire pack makes it"),
        )
        .arg(
            Arg::new("org")
                .long("org")
                .value_name("ORG")
                .value_parser(remote::id)
                .help("The organisation that it goes to [default: the catalog system]"),
        )
        .arg(
            Arg::new("channel")
                .long("channel")
                .value_name("CHANNEL")
                .action(ArgAction::Append)
                .value_parser(channel)
                .help("A tag that is to point to this version, as in stable; may be given several times"),
        )
}

/// A tag that can move: versions stay what they are.
fn channel(text: &str) -> Result<String, String> {
    if text.parse::<Version>().is_ok() {
        return Err("this is a version, and a package has one already".into());
    }
    text.parse::<Tag>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let path = matches.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    let in_file = |error| CommandError::File { path: path.clone(), error };
    let zip = File::open(&path).map_err(in_file)?;
    let package = check(&zip, &Limits::default(), Instant::now() + PATIENCE);
    let package = package.map_err(|ArchiveError::Io(error)| in_file(error))?;
    let found = package.findings;
    let Some(plugin) = package.plugin else {
        refuse(matches, json!(found), |out| findings::tell(out, &found))?;
        return Ok(EXIT_NO);
    };
    let artifact = Artifact::of(&plugin, &zip).map_err(in_file)?;
    let catalog = matches.get_one::<String>("org").map_or(SYSTEM, String::as_str);
    let repository = format!("{catalog}/{}", plugin.pid);
    repository
        .parse::<RepositoryName>()
        .map_err(|error| CommandError::Usage(format!("{repository}: {error}")))?;
    let channels: Vec<String> = matches.get_many("channel").into_iter().flatten().cloned().collect();
    let quiet = wants_json(matches);
    remote::ask(matches, environment, async |connection| {
        let registry = connection.registry();
        let bar = progress_bar(artifact.zip_size);
        let push = Push {
            repository: &repository,
            version: plugin.version.as_str(),
            channels: &channels,
            artifact: &artifact,
            zip: &zip,
            memory: &UploadMemory::of(environment, registry, &repository, &artifact.zip_digest),
            watch: watch(&bar, quiet),
        };
        let pushed = push.run(connection).await;
        bar.finish_and_clear();
        match pushed {
            Ok(pushed) => {
                let done = Done { registry, repository: &repository, channels: &channels, pushed };
                done.show(matches, &plugin, &artifact, &found)?;
                Ok(0)
            }
            Err(ClientError::Problem(problem)) if problem.more()["findings"].is_array() => {
                let found = &problem.more()["findings"];
                let list = found.as_array().map_or(&[][..], Vec::as_slice);
                refuse(matches, found.clone(), |out| findings::tell_foreign(out, list))?;
                Ok(EXIT_NO)
            }
            Err(error) => Err(error.into()),
        }
    })
}

fn refuse(
    matches: &ArgMatches,
    found: Value,
    tell: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    if wants_json(matches) { writeln!(out, "{:#}", findings::refusal(found)) } else { tell(&mut out) }
}

/// Shown on a terminal and nowhere else. It has no colours.
fn progress_bar(size: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn watch(bar: &ProgressBar, quiet: bool) -> Watch {
    let bar = bar.clone();
    let note = move |bar: &ProgressBar, text: String| {
        if !quiet {
            // Standard error may be closed; the push goes on.
            bar.suspend(|| writeln!(anstream::stderr().lock(), "{}", plain(&text)).unwrap_or_default());
        }
    };
    Arc::new(move |event| match event {
        Event::At(bytes) => {
            // What is there from an earlier run was not sent by this one.
            if bar.position() == 0 {
                bar.reset_eta();
            }
            bar.set_position(bytes);
        }
        Event::Pausing(error) => note(&bar, format!("{error}; trying again")),
        Event::NotRemembered(error) => {
            note(
                &bar,
                format!("an interrupted push would begin again, as its state cannot be kept: {error}"),
            );
        }
    })
}

struct Done<'a> {
    registry: &'a RegistryUrl,
    repository: &'a str,
    channels: &'a [String],
    pushed: Pushed,
}

impl Done<'_> {
    fn show(
        &self,
        matches: &ArgMatches,
        plugin: &Plugin,
        artifact: &Artifact,
        found: &[Finding],
    ) -> io::Result<()> {
        let already_there = self.pushed == Pushed::AlreadyThere;
        let reference = format!("{}/{}:{}", self.registry.host(), self.repository, plugin.version.as_str());
        let url = format!("{}/blobs/sha256/{}", self.registry, artifact.zip_digest.hex());
        let (digest, manifest) = (artifact.zip_digest.to_string(), artifact.manifest_digest.to_string());
        let mut out = anstream::stdout().lock();
        if wants_json(matches) {
            let report = json!({ "accepted": true, "findings": found, "reference": reference,
                "channels": self.channels, "digest": digest, "manifest_digest": manifest, "url": url,
                "size": artifact.zip_size, "already_there": already_there });
            return writeln!(out, "{report:#}");
        }
        findings::tell(&mut out, found)?;
        let there = if already_there { " (was already there)" } else { "" };
        let mut parts = vec![("reference", format!("{reference}{there}"))];
        if !self.channels.is_empty() {
            parts.push(("channels", self.channels.join(" ")));
        }
        parts.extend([("digest", digest), ("manifest", manifest), ("url", url)]);
        record(&mut out, &parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_a_tag_and_no_version() {
        for good in ["stable", "latest", "v1", "1", "nightly-2"] {
            assert_eq!(channel(good).as_deref(), Ok(good));
        }
        for bad in ["", "1.0", "1.0.0-rc.1", "a/b", "-a", "ä"] {
            assert!(channel(bad).is_err(), "{bad}");
        }
    }
}
