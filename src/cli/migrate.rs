//! `quire migrate`: what the schema of the database lacks, and running that.

use std::io::Write;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use serde_json::json;

use super::{CommandError, EXIT_NO, output_flag, resolve, secrets_help, setting_flags, wants_json};
use crate::app;
use crate::config::Environment;
use crate::telemetry;

pub fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("migrate")
        .about("Show or run the steps that the schema of the database lacks; `serve` runs them by itself")
        .arg(flag("check").help("Change nothing; exit code 1 when something is pending"))
        .arg(flag("apply").help("Run what is pending"))
        .group(ArgGroup::new("action").args(["check", "apply"]).required(true))
        .args(setting_flags())
        .arg(output_flag())
        .after_help(format!(
            "Exit code 0: nothing is pending. 1: something is (--check). 2: the database cannot be used like \
             this, or by this program. 3: it could not be reached.\n\n{}",
            secrets_help()
        ))
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let config = resolve(matches, environment)?.config()?;
    telemetry::start_logging(&config).map_err(CommandError::Logging)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = anstream::stdout().lock();
    if matches.get_flag("apply") {
        let ran = runtime.block_on(app::migrate(&config))?;
        let steps = ran.iter().map(|step| (step.version, step.name));
        tell(&mut out, matches, "ran", steps.collect())?;
        return Ok(0);
    }
    let schema = runtime.block_on(app::schema(&config))?;
    let steps = schema.pending.iter().map(|step| (step.version, step.name));
    tell(&mut out, matches, "pending", steps.collect())?;
    Ok(if schema.pending.is_empty() { 0 } else { EXIT_NO })
}

fn tell(
    out: &mut impl Write,
    matches: &ArgMatches,
    what: &str,
    steps: Vec<(i64, &str)>,
) -> Result<(), CommandError> {
    if wants_json(matches) {
        let steps = steps.iter().map(|(version, name)| json!({ "version": version, "name": name }));
        let steps: Vec<_> = steps.collect();
        writeln!(out, "{:#}", json!({ what: steps }))?;
    } else if steps.is_empty() {
        writeln!(out, "nothing is pending")?;
    } else {
        for (version, name) in steps {
            writeln!(out, "{what} {version} {name}")?;
        }
    }
    Ok(())
}
