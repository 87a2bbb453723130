//! `quire serve`: the server itself.

use std::io::Write;

use clap::{ArgMatches, Command};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::{CommandError, resolve, secrets_help, setting_flags};
use crate::app::App;
use crate::config::Environment;
use crate::telemetry;

pub fn command() -> Command {
    Command::new("serve")
        .about("Serve the registry; needs nothing but a folder to write to")
        .args(setting_flags())
        .after_help(secrets_help())
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let resolution = resolve(matches, environment)?;
    let config = resolution.config()?;
    telemetry::start_logging(&config).map_err(CommandError::Logging)?;
    for (variable, suggestion) in &resolution.stray_variables {
        tracing::warn!(variable, suggestion, "this variable is not a setting");
    }
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let lock = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let app = App::start(&config).await?;
        announce(&app)?;
        notify(NotifyState::Ready);
        let lock = app.run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            notify(NotifyState::Stopping);
        });
        Ok::<_, CommandError>(lock.await)
    })?;
    // Waits for what still writes on blocking threads; only then may another server have the folder.
    drop(runtime);
    drop(lock);
    Ok(0)
}

fn announce(app: &App) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    if let Some((token, path)) = app.new_admin_token() {
        writeln!(out, "admin token (shown once, kept in {}): {token}", path.display())?;
    }
    writeln!(out, "quire {} listens on http://{}", env!("CARGO_PKG_VERSION"), app.address()?)?;
    out.flush()
}

/// Tells systemd, when it started us.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// Each connection and each cached file is a descriptor; the soft limit is often 1,024.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}
