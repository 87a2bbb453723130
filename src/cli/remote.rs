//! What the commands share that ask a registry: flags, the way in, and how errors are told.

use std::io::{self, Write};

use clap::{Arg, ArgMatches, Command};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::text::{self, Table, plain};
use super::{CommandError, output_flag, wants_json};
use crate::client::{self, ClientError, Connection, List, Problem, RegistryUrl};
use crate::config::Environment;

const DEFAULT_URL: &str = "http://127.0.0.1:5000";

const HELP: &str = "\
The credential comes from QUIRE_TOKEN, the file that QUIRE_TOKEN_FILE names, or a login: `quire login`, \
`podman login` and `docker login` all make one.

Exit codes: 0 done; 1 refused, or the answer is no; 2 wrong usage or configuration; 3 the registry could not \
be reached.";

/// A command with the flags of all that ask a registry.
pub fn command(name: &'static str, about: &'static str) -> Command {
    let url = Arg::new("url")
        .long("url")
        .value_name("URL")
        .help(format!("The registry, as http(s)://host[:port] [QUIRE_URL, default: {DEFAULT_URL}]"));
    Command::new(name).about(about).arg(url).arg(output_flag()).after_help(HELP)
}

/// The registry that flag or variable name.
pub fn registry(matches: &ArgMatches, environment: &Environment) -> Result<RegistryUrl, ClientError> {
    let variable = environment.get("QUIRE_URL").filter(|url| !url.is_empty());
    let url = matches.get_one::<String>("url").or(variable);
    RegistryUrl::parse(url.map_or(DEFAULT_URL, String::as_str))
}

/// Runs what asks a registry. One request follows the other, so one thread is enough.
pub fn block_on<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Asks the registry, with the credential that is known for it.
pub fn ask(
    matches: &ArgMatches,
    environment: &Environment,
    work: impl AsyncFnOnce(&Connection) -> Result<u8, CommandError>,
) -> Result<u8, CommandError> {
    let registry = registry(matches, environment)?;
    block_on(async {
        let credential = client::credential(environment, &registry).await?;
        let connection = Connection::new(registry, credential.as_ref())?;
        let result = work(&connection).await;
        if connection.is_anonymous() && result.as_ref().is_err_and(|error| status(error) == Some(401)) {
            let host = connection.registry().host();
            note(matches, &format!("there is no credential for {host}: log in, or set QUIRE_TOKEN"))?;
        }
        result
    })
}

/// Prints an answer: as it came, or as text for people.
pub fn show<T: DeserializeOwned>(
    matches: &ArgMatches,
    connection: &Connection,
    answer: &Value,
    tell: impl FnOnce(&mut dyn Write, T) -> io::Result<()>,
) -> Result<(), CommandError> {
    let mut out = anstream::stdout().lock();
    if wants_json(matches) {
        writeln!(out, "{}", text::json(answer))?;
    } else {
        tell(&mut out, client::read(connection.registry(), answer)?)?;
    }
    Ok(())
}

/// Prints a list as its pages come, which may be many: as one JSON list, or as rows of one table. When a page
/// fails, what came before it is printed already, and the exit code says that it is not all.
pub async fn show_pages<T: DeserializeOwned, const COLUMNS: usize>(
    matches: &ArgMatches,
    connection: &Connection,
    mut list: List<'_>,
    head: [&str; COLUMNS],
    row: impl Fn(T) -> [String; COLUMNS],
) -> Result<(), CommandError> {
    let mut table = Table::new(head);
    let mut begun = false;
    while let Some(items) = list.next_page().await? {
        let mut out = anstream::stdout().lock();
        if wants_json(matches) {
            for item in &items {
                let before = if begun { "," } else { "[" };
                begun = true;
                write!(out, "{before}\n  {}", text::json(item).replace('\n', "\n  "))?;
            }
        } else {
            let read = |item| client::read::<T>(connection.registry(), item).map(&row);
            let rows: Vec<_> = items.iter().map(read).collect::<Result<_, _>>()?;
            table.write(&mut out, rows)?;
        }
        out.flush()?;
    }
    if wants_json(matches) {
        let end = if begun { "\n]" } else { "[]" };
        writeln!(anstream::stdout().lock(), "{end}")?;
    }
    Ok(())
}

/// Tells what was done, beside the data on standard output.
pub fn note(matches: &ArgMatches, text: &str) -> io::Result<()> {
    if wants_json(matches) {
        return Ok(());
    }
    writeln!(anstream::stderr().lock(), "{}", plain(text))
}

/// An id that stands in a path as it is.
pub fn id(text: &str) -> Result<String, String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
    if starts_well && text.bytes().all(word) {
        Ok(text.to_owned())
    } else {
        Err("an id is made of letters, digits, '.', '_' and '-', and starts with a letter or digit".into())
    }
}

/// Tells the error of a command that asks a registry. The result is the exit code.
pub fn finish(matches: &ArgMatches, result: Result<u8, CommandError>) -> Result<u8, CommandError> {
    let error = match result {
        Ok(code) => return Ok(code),
        // Whoever read the output has seen enough.
        Err(CommandError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(0),
        Err(error) => error,
    };
    let mut command = matches;
    while let Some((_, inner)) = command.subcommand() {
        command = inner;
    }
    let mut err = anstream::stderr().lock();
    match (&error, wants_json(command)) {
        (CommandError::Client(ClientError::Problem(problem)), true) => {
            writeln!(err, "{}", text::json_line(&problem.document))?
        }
        (CommandError::Client(ClientError::Problem(problem)), false) => tell(&mut err, problem)?,
        (error, true) => {
            let (code, detail) = (code(error), error.to_string());
            let problem = json!({ "type": "about:blank", "title": "error", "code": code, "detail": detail });
            writeln!(err, "{problem}")?;
        }
        (error, false) => writeln!(err, "error: {} ({})", plain(&error.to_string()), code(error))?,
    }
    Ok(error.exit_code())
}

fn tell(err: &mut impl Write, problem: &Problem) -> io::Result<()> {
    writeln!(err, "error: {} ({})", plain(&problem.detail), plain(&problem.code))?;
    for (pointer, detail) in &problem.parts {
        // A problem of one part says it twice.
        if pointer.is_some() || *detail != problem.detail {
            let place = pointer.as_ref().map(|pointer| format!("{pointer}: ")).unwrap_or_default();
            writeln!(err, "  {}", plain(&format!("{place}{detail}")))?;
        }
    }
    Ok(())
}

fn code(error: &CommandError) -> &str {
    match error {
        CommandError::Client(error) => error.code(),
        CommandError::Usage(_) => "usage",
        CommandError::Io(_) | CommandError::File { .. } | CommandError::Pack(_) => "io",
        CommandError::Start(error) if error.is_unavailable() => "unreachable",
        CommandError::Config(_) | CommandError::Start(_) | CommandError::Logging(_) => "config",
    }
}

fn status(error: &CommandError) -> Option<u16> {
    match error {
        CommandError::Client(ClientError::Problem(problem)) => Some(problem.status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_lead_elsewhere() {
        for good in ["acme", "com.acme.tool", "01976f4e-0000-7000-8000-000000000000", "a_b"] {
            assert_eq!(id(good).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", "../tokens", "a/b", "a%2f", "a?b", "-a", "é"] {
            assert!(id(bad).is_err(), "{bad}");
        }
    }
}
