//! `quire check-config`: every setting, its value, and where that came from.

use std::io::Write;

use clap::{ArgMatches, Command};
use serde_json::json;

use super::{CommandError, output_flag, resolve, secrets_help, setting_flags, wants_json};
use crate::app::{self, StartError};
use crate::config::{Environment, Resolved};
use crate::issuers::Issuers;
use crate::telemetry;

pub fn command() -> Command {
    Command::new("check-config")
        .about("Print every resolved setting and where it came from; secrets stay hidden")
        .args(setting_flags())
        .arg(output_flag())
        .after_help(secrets_help())
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let resolution = resolve(matches, environment)?;
    let mut out = anstream::stdout().lock();
    if wants_json(matches) {
        let settings = resolution.settings.iter().map(|resolved| {
            let origin = resolved.origin.to_string();
            json!({ "name": resolved.setting.name, "value": shown(resolved), "origin": origin })
        });
        let strays = resolution.stray_variables.iter().map(|(name, _)| name);
        let report = json!({
            "settings": settings.collect::<Vec<_>>(),
            "unknown_variables": strays.collect::<Vec<_>>(),
        });
        writeln!(out, "{report:#}")?;
    } else {
        for resolved in &resolution.settings {
            let value = shown(resolved).unwrap_or_else(|| "-".into());
            writeln!(out, "{:<16} {value:<28} {}", resolved.setting.name, resolved.origin)?;
        }
    }
    let mut err = anstream::stderr().lock();
    for (variable, suggestion) in &resolution.stray_variables {
        let suggestion = suggestion.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        writeln!(err, "warning: {variable} is not a setting{suggestion}")?;
    }
    // Shown first, so that a value that can't be used is seen beside the others.
    let config = resolution.config()?;
    telemetry::log_filter(&config).map_err(CommandError::Logging)?;
    if let Some(path) = &config.issuers {
        Issuers::load(path).map_err(StartError::Issuers)?;
    }
    app::check(&config)?;
    Ok(0)
}

fn shown(resolved: &Resolved) -> Option<String> {
    let value = resolved.value.as_ref()?;
    Some(if resolved.setting.secret { "(secret)".into() } else { value.clone() })
}
