//! The command line: what it prints, its exit codes, first starts, and what systemd is told.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::store::has_no_file;
use crate::harness::{ADMIN_TOKEN, Server};

fn quire(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
    command.args(arguments).envs(variables.iter().copied());
    command.output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn sqlite_opens(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).expect("a database")
}

#[test]
fn check_config_tells_every_value_and_where_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quire.toml");
    std::fs::write(&file, "read_only = true\n").unwrap();
    let arguments = ["check-config", "--config", file.to_str().unwrap(), "--drain-timeout", "5"];
    let variables = [("QUIRE_ADMIN_TOKEN", ADMIN_TOKEN), ("QUIRE_DATA", "/somewhere")];

    let output = quire(&[&arguments[..], &["--output", "json"]].concat(), &variables);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let setting = |name: &str| {
        let settings = report["settings"].as_array().unwrap();
        let found = settings.iter().find(|setting| setting["name"] == name).unwrap();
        (found["value"].as_str().unwrap().to_owned(), found["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(setting("listen"), ("127.0.0.1:5000".into(), "default".into()));
    assert_eq!(setting("data"), ("/somewhere".into(), "variable QUIRE_DATA".into()));
    assert_eq!(setting("drain_timeout"), ("5".into(), "flag".into()));
    assert_eq!(setting("read_only"), ("true".into(), format!("file {}", file.display())));
    assert_eq!(setting("admin_token"), ("(secret)".into(), "variable QUIRE_ADMIN_TOKEN".into()));

    let plain = quire(&arguments, &variables);
    for stream in [&plain.stdout, &plain.stderr, &output.stdout] {
        assert!(!text(stream).contains(ADMIN_TOKEN), "secrets stay hidden");
    }
    assert!(!text(&plain.stdout).contains('\x1b'), "no colours into a pipe");
}

#[test]
fn a_bad_configuration_ends_with_2_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quire.toml");
    std::fs::write(&file, "lissten = '127.0.0.1:0'\n").unwrap();
    let unknown_key = quire(&["serve", "--config", file.to_str().unwrap()], &[]);
    assert_eq!(unknown_key.status.code(), Some(2));
    assert!(text(&unknown_key.stderr).contains("did you mean \"listen\"?"), "{unknown_key:?}");

    let bad_value = quire(&["check-config"], &[("QUIRE_READ_ONLY", "perhaps")]);
    assert_eq!(bad_value.status.code(), Some(2));
    assert!(text(&bad_value.stderr).contains("QUIRE_READ_ONLY"), "{bad_value:?}");

    let stray = quire(&["check-config"], &[("QUIRE_ANONYMOUS_PUL", "all")]);
    assert_eq!(stray.status.code(), Some(0));
    assert!(text(&stray.stderr).contains("did you mean anonymous_pull?"), "{stray:?}");

    for arguments in [&["serve", "--nonsense"][..], &["unknown"], &[]] {
        assert_eq!(quire(arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn version_completions_and_man_page_are_printed() {
    let version = quire(&["version", "--output", "json"], &[]);
    let version: serde_json::Value = serde_json::from_slice(&version.stdout).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&quire(&["completions", shell], &[]).stdout);
        assert!(script.contains("anonymous-pull"), "{shell}");
    }
    let page = text(&quire(&["man"], &[]).stdout);
    assert!(page.contains("QUIRE_ADMIN_TOKEN") && page.contains("check\\-config"), "the man page is whole");
}

#[test]
fn the_admin_token_is_shown_by_the_first_start_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data", data]).env("QUIRE_LOG", "warn");
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut printed = String::new();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
        while !printed.contains("listens on") {
            assert!(std::io::BufRead::read_line(&mut lines, &mut printed).unwrap() > 0, "{printed}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        printed
    };
    let first = start();
    let token = std::fs::read_to_string(folder.path().join("admin.token")).unwrap();
    assert!(first.contains(token.trim()), "{first}");
    let second = start();
    assert!(!second.contains(token.trim()), "{second}");
}

#[test]
fn two_servers_never_share_a_folder() {
    let server = Server::start(&[]);
    let data = server.data.to_str().unwrap();
    let second = quire(&["serve", "--listen", "127.0.0.1:0", "--data", data], &[]);
    assert_eq!(second.status.code(), Some(2));
    assert!(text(&second.stderr).contains("another quire is using this folder"), "{second:?}");
}

#[test]
fn a_folder_of_a_newer_release_is_refused() {
    if has_no_file("it writes to the SQLite file") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    drop(Server::start_in(folder.path(), &[]));
    let data = folder.path().join("data");
    let statement = "INSERT INTO schema_migrations VALUES (999, 'later', 'x', 0)";
    sqlite_opens(&data.join("quire.db")).execute(statement, ()).unwrap();
    let refused = quire(&["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()], &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("use a newer program"), "{refused:?}");
}

/// A program that was built without PostgreSQL says so, and does not fall back to a file.
#[cfg(not(feature = "postgres"))]
#[test]
fn a_database_url_needs_a_program_with_postgresql() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let done = quire(&serve, &[("QUIRE_DATABASE_URL", "postgres://quire:hunter2@localhost/quire")]);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("built without PostgreSQL") && !said.contains("hunter2"), "{said}");
    assert!(!data.exists());
}

/// The unit is `Type=notify`: it counts as started when the server says so, and is told when it stops.
#[test]
fn systemd_is_told_of_start_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let receive = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("a message");
        text(&buffer[..length])
    };
    let data = folder.path().join("data");
    let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    command.env("NOTIFY_SOCKET", &path).env("QUIRE_ADMIN_TOKEN", ADMIN_TOKEN).env("QUIRE_LOG", "warn");
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    assert!(receive().contains("READY=1"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(receive().contains("STOPPING=1"));
    assert!(child.wait().unwrap().success());
}

/// The JSON log can be read line by line, has the request id of the answer, and never the token.
#[tokio::test]
async fn logs_are_json_lines_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--log", "trace", "--log-format", "json", "--data"]);
    command.arg(data).env("QUIRE_ADMIN_TOKEN", ADMIN_TOKEN);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    let address = line.trim().rsplit("http://").next().unwrap().parse().unwrap();
    let client = crate::harness::Client::new(address, Some(ADMIN_TOKEN));
    let answer = client.get("/v2/a/b/tags/list").await;
    child.kill().unwrap();
    child.wait().unwrap();

    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(!log.contains(ADMIN_TOKEN));
    let access: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .filter(|line: &serde_json::Value| line["target"] == "quire::access")
        .collect();
    let told = access.iter().find(|line| line["request_id"] == answer.header("x-request-id")).unwrap();
    assert_eq!((&told["status"], &told["path"]), (&404.into(), &"/v2/a/b/tags/list".into()));
}
