//! `quire login`: checks a credential and keeps it where podman, skopeo, oras and docker find it too.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::json;

use super::{CommandError, remote, wants_json};
use crate::client::{ClientError, Connection, CredentialStore, Identity, Login, RegistryUrl, Secret, read};
use crate::config::Environment;

/// The server does not look at the name, but auth files have one.
const DEFAULT_USER: &str = "quire";
/// The longest secret in bytes.
const SECRET_LIMIT: u64 = 64 << 10;

pub fn command() -> Command {
    let username = Arg::new("username").long("username").short('u').value_name("NAME");
    let stdin = Arg::new("password-stdin").long("password-stdin").action(ArgAction::SetTrue);
    remote::command("login", "Check a token or password, and keep it for this and other container tools")
        .arg(registry_argument())
        .arg(username.default_value(DEFAULT_USER).help("The user name that is kept beside it"))
        .arg(stdin.help("Read the token or password from standard input, and not from the terminal"))
        .arg(authfile_flag())
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let registry = named_registry(matches, environment)?;
    let user = matches.get_one::<String>("username").map_or(DEFAULT_USER, String::as_str);
    if user.is_empty() || user.contains(':') {
        return Err(CommandError::Usage("a user name has no colon and is not empty".into()));
    }
    let login = Login { user: user.to_owned(), secret: secret(matches, &registry)? };
    let store = CredentialStore::of(environment, authfile(matches));
    remote::block_on(async {
        let connection = Connection::new(registry.clone(), Some(&login.secret))?;
        let identity: Identity = read(&registry, &connection.get("/api/whoami", &[]).await?)?;
        // Before the login is kept: a file that cannot be read would make the next command fail.
        let hidden_by = store.hidden_by(&registry).await?;
        let place = store.store(&registry, &login).await?;
        let (host, subject) = (registry.host(), identity.subject);
        if wants_json(matches) {
            let report = json!({ "registry": host, "subject": subject, "kept_in": place });
            writeln!(anstream::stdout().lock(), "{report:#}")?;
        }
        remote::note(matches, &format!("logged in to {host} as {subject}; the credential is in {place}"))?;
        if let Some(path) = hidden_by {
            let path = path.display();
            remote::note(
                matches,
                &format!("warning: {path} has another login for {host}, and is read first"),
            )?;
        }
        for variable in ["QUIRE_TOKEN", "QUIRE_TOKEN_FILE"] {
            if environment.get(variable).is_some_and(|value| !value.is_empty()) {
                remote::note(
                    matches,
                    &format!("warning: {variable} is set, and is used in place of logins"),
                )?;
            }
        }
        Ok(0)
    })
}

/// `[REGISTRY]`, which `login` and `logout` take as those of other tools do.
pub fn registry_argument() -> Arg {
    Arg::new("registry")
        .value_name("REGISTRY")
        .conflicts_with("url")
        .help("The registry, as host[:port]: with https, on this machine with http [default: that of --url]")
}

/// `--authfile FILE`
pub fn authfile_flag() -> Arg {
    Arg::new("authfile").long("authfile").value_name("FILE").value_parser(value_parser!(PathBuf)).help(
        "The auth file to change [REGISTRY_AUTH_FILE, default: config.json in DOCKER_CONFIG or ~/.docker]",
    )
}

pub fn authfile(matches: &ArgMatches) -> Option<&Path> {
    matches.get_one::<PathBuf>("authfile").map(PathBuf::as_path)
}

/// The registry that the command names, or the one of `--url`.
pub fn named_registry(matches: &ArgMatches, environment: &Environment) -> Result<RegistryUrl, ClientError> {
    match matches.get_one::<String>("registry") {
        Some(host) => RegistryUrl::of_host(host),
        None => remote::registry(matches, environment),
    }
}

fn secret(matches: &ArgMatches, registry: &RegistryUrl) -> Result<Secret, CommandError> {
    let stdin = std::io::stdin();
    let mut text = String::new();
    if matches.get_flag("password-stdin") {
        stdin.lock().take(SECRET_LIMIT).read_to_string(&mut text)?;
    } else if stdin.is_terminal() {
        text = rpassword::prompt_password(format!("token or password for {}: ", registry.host()))?;
    } else {
        let reason = "standard input is no terminal: give the token or password to --password-stdin";
        return Err(CommandError::Usage(reason.into()));
    }
    let secret = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    if secret.is_empty() {
        return Err(CommandError::Usage("the token or password is empty".into()));
    }
    Ok(Secret::new(secret))
}
