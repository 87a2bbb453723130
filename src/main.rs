//! The program: arguments and environment in, exit code out.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo, clippy::unimplemented)
)]

use std::process::ExitCode;

use anyhow::Context;
use quire::cli::CommandError;
use quire::config::FOREIGN_VARIABLES;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code.into(),
        Err(error) => {
            anstream::eprintln!("quire: {error:#}");
            let code = error.downcast_ref().map_or(quire::cli::EXIT_USAGE, CommandError::exit_code);
            code.into()
        }
    }
}

fn run() -> anyhow::Result<u8> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| name.into_string().ok().map(|name| (name, value)))
        .filter(|(name, _)| name.starts_with("QUIRE_") || FOREIGN_VARIABLES.contains(&name.as_str()))
        .map(|(name, value)| {
            let value = value.into_string().ok().with_context(|| format!("{name} is not UTF-8"))?;
            Ok((name, value))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(quire::cli::run(std::env::args_os(), &environment)?)
}
