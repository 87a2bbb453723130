//! The commands that ask a registry: what they do there, print, keep, and how they end.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Server};

/// Somebody who runs commands: a registry, a home of their own, and nothing else in the environment.
pub struct Person {
    home: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Person {
    /// Somebody without a credential.
    pub fn at(url: &str) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        Self { home, variables: vec![("QUIRE_URL".to_owned(), url.to_owned())] }
    }

    /// Somebody with a token in a variable.
    pub fn with_token(url: &str, token: &str) -> Self {
        Self::at(url).with("QUIRE_TOKEN", token)
    }

    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn run(&self, line: &str) -> Ended {
        self.run_with_input(line, "")
    }

    /// The words of a line stand between blanks.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
        command.args(line.split_whitespace()).env_clear().current_dir(self.home.path());
        command.env("HOME", self.home.path()).env("PATH", std::env::var("PATH").unwrap_or_default());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run_with_input(&self, line: &str, input: &str) -> Ended {
        let mut child = self.command(line).spawn().expect("the program runs");
        // A command that reads no input may have closed it.
        let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("its end");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let ended = Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        let secrets = self.variables.iter().filter(|(name, _)| name == "QUIRE_TOKEN");
        let mut secrets = secrets.map(|(_, value)| value.as_str()).chain([ADMIN_TOKEN]);
        assert!(!secrets.any(|secret| ended.err.contains(secret)), "a secret in {ended:?}");
        ended
    }

    /// Runs a command that has to succeed, and returns what it printed on standard output.
    pub fn done(&self, line: &str) -> String {
        let ended = self.run(line);
        assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
        ended.out
    }

    pub fn done_json(&self, line: &str) -> Value {
        let text = self.done(&format!("{line} --output json"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
    }

    /// The code of the problem that a command tells in JSON, and its exit code.
    pub fn problem(&self, line: &str) -> (Option<i32>, String) {
        let ended = self.run(&format!("{line} --output json"));
        let problem: Value =
            serde_json::from_str(&ended.err).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        assert!(problem["detail"].is_string(), "{problem}");
        assert_eq!(ended.out, "", "{line}");
        (ended.code, problem["code"].as_str().expect("a code").to_owned())
    }
}

fn server() -> (Server, Person) {
    let server = Server::start(&[]);
    let admin = Person::with_token(&server.url(""), ADMIN_TOKEN);
    (server, admin)
}

/// The address of a server that gives one answer, and what it was asked.
fn answers_once(answer: String) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a request");
            request.extend(byte);
        }
        stream.write_all(answer.as_bytes()).expect("an answer");
        String::from_utf8(request).expect("a text")
    });
    (url, asked)
}

/// Another process writes the program: were it open for writing here, a test that starts a process at that
/// moment would hold it open, and it could not be run.
fn make_program(path: &Path, script: &str) {
    let mut install = Command::new("install");
    install.args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped());
    let mut install = install.spawn().expect("a program that starts");
    install.stdin.take().expect("its input").write_all(script.as_bytes()).expect("a script");
    assert!(install.wait().expect("its end").success());
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

#[test]
fn organisations_are_made_shown_changed_and_deleted() {
    let (_server, admin) = server();
    let made = admin.done_json("org create globex --name Globex --domain globex.test");
    assert_eq!((&made["id"], &made["name"]), (&"globex".into(), &"Globex".into()));
    assert_eq!(admin.problem("org create globex"), (Some(1), "org_exists".into()));
    admin.done("org create initech");

    assert_eq!(admin.done_json("org show globex"), made);
    let list = admin.done_json("org list");
    let ids: Vec<_> = list.as_array().expect("a list").iter().map(|org| &org["id"]).collect();
    assert!(ids.contains(&&json!("globex")) && ids.contains(&&json!("initech")), "{list}");
    let text = admin.done("org list");
    assert!(text.lines().any(|line| line.starts_with("globex ") && line.contains("globex.test")), "{text}");

    let changed = admin
        .done_json("org update globex --no-domain --name Better --quota-bytes 1000 --quota-repositories 2");
    assert_eq!((&changed["name"], &changed["domain"]), (&"Better".into(), &Value::Null));
    assert_eq!(changed["quota"], json!({ "bytes": 1000, "repositories": 2 }));
    let changed = admin.done_json("org update globex --quota-bytes none");
    assert_eq!(changed["quota"], json!({ "bytes": null, "repositories": 2 }));
    let text = admin.done("org show globex");
    assert!(text.contains("Better") && text.contains("0 of 2"), "{text}");

    assert_eq!(admin.done("org delete globex"), "");
    assert_eq!(admin.problem("org show globex").0, Some(1));
    assert_eq!(admin.problem("org delete globex").0, Some(1));
}

#[tokio::test]
async fn an_organisation_with_repositories_stays() {
    let (server, admin) = server();
    admin.done("org create globex");
    server.admin().push_artifact("globex/tool", "1.0", "layer").await;
    assert_eq!(admin.problem("org delete globex"), (Some(1), "org_not_empty".into()));
    assert_eq!(admin.done_json("org show globex")["usage"]["repositories"], 1);
}

#[test]
fn lists_go_on_over_all_pages() {
    let (_server, admin) = server();
    let ids: Vec<String> = (0..120).map(|number| format!("org{number:03}")).collect();
    for id in &ids {
        admin.done(&format!("org create {id}"));
    }
    let list = admin.done_json("org list");
    let listed: Vec<_> =
        list.as_array().expect("a list").iter().filter_map(|org| org["id"].as_str()).collect();
    assert!(ids.iter().all(|id| listed.contains(&id.as_str())), "{listed:?}");
}

#[test]
fn a_token_works_until_it_is_revoked() {
    let (server, admin) = server();
    admin.done("org create globex");
    let made = admin.run(
        "token create --name ci --grant globex:publisher --grant system:orchestrator --expires-in 12h \
         --repository globex/com.globex.*",
    );
    assert_eq!(made.code, Some(0), "{made:?}");
    let secret = made.out.trim_end();
    assert!(!secret.contains(char::is_whitespace) && secret.len() >= 20, "the secret alone: {made:?}");
    assert!(!made.err.contains(secret) && made.err.contains("globex:publisher"), "{made:?}");

    let list = admin.done_json("token list --catalog globex");
    let listed = list.as_array().and_then(|list| list.iter().find(|token| token["name"] == "ci"));
    let listed = listed.unwrap_or_else(|| panic!("{list}"));
    assert_eq!(listed["token"], Value::Null);
    assert_eq!(listed["repositories"], json!(["globex/com.globex.*"]));
    assert!(listed["expires_at"].is_string(), "{listed}");
    let id = listed["id"].as_str().expect("an id");
    let text = admin.done("token list");
    assert!(text.contains(id) && !text.contains(secret), "{text}");

    let machine = Person::with_token(&server.url(""), secret);
    let me = machine.done_json("whoami");
    assert!(me["subject"].is_string(), "{me}");
    let grants: Vec<_> =
        me["grants"].as_array().expect("a list").iter().map(|grant| &grant["name"]).collect();
    assert!(grants.contains(&&json!("publisher")), "{me}");
    assert_eq!(machine.problem("org create more").0, Some(1), "it is no admin");

    admin.done(&format!("token revoke {id}"));
    assert_eq!(admin.problem(&format!("token revoke {id}")).0, Some(1));
    let refused = machine.run("whoami");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.starts_with("error: ") && refused.out.is_empty(), "{refused:?}");
}

#[test]
fn a_new_token_in_json_is_whole() {
    let (_server, admin) = server();
    admin.done("org create globex");
    let made = admin.done_json("token create --name ci --grant globex:org_member");
    assert!(made["token"].is_string(), "{made}");
    assert_eq!(made["grants"], json!([{ "catalog": "globex", "role": "org_member" }]));
    assert_eq!((&made["repositories"], &made["expires_at"]), (&Value::Null, &Value::Null));
}

#[test]
fn may_i_is_answered_by_the_exit_code() {
    let (server, admin) = server();
    admin.done("org create globex");
    let secret = admin.done("token create --name robot --grant globex:orchestrator");
    let robot = Person::with_token(&server.url(""), secret.trim_end());
    let yes = robot.run("can-i pull globex/tool");
    assert_eq!((yes.code, yes.out.as_str()), (Some(0), "yes: orchestrator on globex\n"), "{yes:?}");
    let no = robot.run("can-i push globex/tool");
    assert_eq!((no.code, no.err.as_str()), (Some(1), ""), "{no:?}");
    assert!(no.out.starts_with("no: "), "{no:?}");
    let no = robot.run("can-i pull initech/tool --output json");
    assert_eq!(no.code, Some(1));
    let no: Value = serde_json::from_str(&no.out).expect("JSON");
    assert!(no["allowed"] == false && no["rule"].is_string(), "{no}");
    assert_eq!(admin.run("can-i delete globex/tool").code, Some(0));
    for wrong in ["can-i fly globex/tool", "can-i pull Globex/tool", "can-i pull globex"] {
        assert_eq!(admin.run(wrong).code, Some(2), "{wrong}");
    }
}

#[test]
fn whoami_tells_people_and_programs() {
    let (server, admin) = server();
    let me = admin.done_json("whoami");
    assert!(me["subject"].is_string() && me["grants"].is_array(), "{me}");
    let text = admin.done("whoami");
    assert!(text.contains(me["subject"].as_str().expect("a text")) && text.contains("sys_admin"), "{text}");
    let nobody = Person::at(&server.url("")).run("whoami");
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert!(nobody.err.contains("QUIRE_TOKEN"), "what to do about it: {nobody:?}");
}

#[test]
fn the_audit_log_is_json_lines() {
    let (_server, admin) = server();
    for id in ["globex", "initech"] {
        admin.done(&format!("org create {id}"));
        admin.done(&format!("org update {id} --name Better"));
    }
    let lines = |line: &str| -> Vec<Value> {
        let text = admin.done(line);
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let all = lines("audit");
    assert!(all.len() >= 4, "{all:?}");
    assert_eq!(lines("audit --limit 3"), all[..3]);
    let of_globex = lines("audit --catalog globex");
    assert!(!of_globex.is_empty() && of_globex.len() < all.len(), "{of_globex:?}");
    let id = match &all[0]["id"] {
        Value::String(id) => id.clone(),
        number => number.to_string(),
    };
    assert_eq!(lines(&format!("audit --after {id}")), all[1..]);
}

#[test]
fn a_login_is_checked_kept_used_and_forgotten() {
    let (server, _) = server();
    let person = Person::at(&server.url(""));
    let file = person.path(".docker/config.json");
    let other = json!({ "auths": { "other.test": { "auth": "YTpi" } }, "psFormat": "table" });
    std::fs::create_dir_all(person.path(".docker")).unwrap();
    std::fs::write(&file, other.to_string()).unwrap();

    let wrong = person.run_with_input("login --password-stdin", "quire_a-wrong-token-0123456789\n");
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.err.starts_with("error: ") && !wrong.err.contains("wrong-token"), "{wrong:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), other.to_string(), "nothing was kept");

    let host = server.address.to_string();
    let line = format!("login {host} --username me --password-stdin");
    let good = person.run_with_input(&line, &format!("{ADMIN_TOKEN}\n"));
    assert_eq!((good.code, good.out.as_str()), (Some(0), ""), "{good:?}");
    assert!(good.err.contains(&host), "{good:?}");
    let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(kept["auths"][&host]["auth"].is_string() && kept["auths"]["other.test"]["auth"] == "YTpi");
    assert_eq!(kept["psFormat"], "table");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    person.done("whoami");

    assert_eq!(person.done_json("logout"), json!({ "registry": host, "removed": true }));
    assert_eq!(person.run("whoami").code, Some(1));
    let again = person.run(&format!("logout {host}"));
    assert_eq!(again.code, Some(0));
    assert!(again.err.contains("not logged in"), "{again:?}");
    let left: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(left, other);
}

#[test]
fn a_login_goes_where_it_is_sent() {
    let (server, _) = server();
    let person = Person::at(&server.url(""));
    let login = |person: &Person, more: &str| {
        let ended = person.run_with_input(&format!("login --password-stdin {more}"), ADMIN_TOKEN);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    };
    login(&person, "--authfile named.json");
    assert!(person.path("named.json").is_file() && !person.path(".docker").exists());
    let named = person.path("named.json").display().to_string();
    let person = person.with("REGISTRY_AUTH_FILE", &named);
    person.done("whoami");
    person.done("logout");
    assert_eq!(person.run("whoami").code, Some(1));
    login(&person, "");
    person.done("whoami");

    // Another tool's login that is read first is told, or the new one would seem to be without effect.
    let person = Person::at(&server.url(""));
    std::fs::create_dir_all(person.path(".config/containers")).unwrap();
    let auths = json!({ "auths": { server.address.to_string(): { "auth": "bWU6b2xk" } } });
    std::fs::write(person.path(".config/containers/auth.json"), auths.to_string()).unwrap();
    let told = login(&person, "");
    assert!(told.err.contains("warning") && told.err.contains("containers/auth.json"), "{told:?}");
}

#[test]
fn a_helper_keeps_the_login() {
    let (server, _) = server();
    let person = Person::at(&server.url(""));
    let programs = person.path("programs");
    std::fs::create_dir_all(&programs).unwrap();
    std::fs::create_dir_all(person.path(".docker")).unwrap();
    let script = "#!/bin/sh\ncd \"$HOME\" || exit 2\ncase \"$1\" in\nstore) cat > kept ;;\nerase) rm kept ;;\n\
        get) test -f kept && exec cat kept; echo 'credentials not found in native keychain'; exit 1 ;;\nesac\n";
    make_program(&programs.join("docker-credential-test"), script);
    std::fs::write(person.path(".docker/config.json"), r#"{"credsStore": "test"}"#).unwrap();
    let search = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let person = person.with("PATH", &search);

    let login = person.run_with_input("login --password-stdin", ADMIN_TOKEN);
    assert_eq!(login.code, Some(0), "{login:?}");
    assert!(login.err.contains("docker-credential-test"), "{login:?}");
    let config = std::fs::read_to_string(person.path(".docker/config.json")).unwrap();
    assert!(!config.contains("\"auth\""), "{config}");
    assert!(std::fs::read_to_string(person.path("kept")).unwrap().contains(ADMIN_TOKEN));
    person.done("whoami");
    person.done("logout");
    assert!(!person.path("kept").exists());
    assert_eq!(person.run("whoami").code, Some(1));
}

#[test]
fn wrong_usage_and_configuration_end_with_2() {
    let (_server, admin) = server();
    for line in [
        "org",
        "org create",
        "org show ../tokens",
        "org update globex",
        "org update globex --domain a.test --no-domain",
        "token create --name ci",
        "token create --name ci --grant globex:king",
        "token create --name ci --grant globex:sys_admin",
        "token create --name ci --grant globex:publisher --expires-in soon",
        "audit --limit 0",
        "whoami --url registry.test",
        "whoami --url http://user:word@registry.test",
        "login",
        "login --username a:b --password-stdin",
        "login --password-stdin",
        "login registry.test --url http://registry.test --password-stdin",
    ] {
        let ended = admin.run(line);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{line}: {ended:?}");
        assert!(!ended.err.is_empty() && !ended.err.contains("user:word@"), "{line}: {ended:?}");
    }
    let person = Person::at("http://registry.test");
    std::fs::create_dir_all(person.path(".docker")).unwrap();
    std::fs::write(person.path(".docker/config.json"), "{").unwrap();
    let broken = person.run("whoami");
    assert_eq!(broken.code, Some(2), "{broken:?}");
    assert!(broken.err.contains(".docker/config.json") && broken.err.contains("(auth_file)"), "{broken:?}");
    assert_eq!(person.problem("whoami"), (Some(2), "auth_file".into()));
}

#[test]
fn a_registry_that_cannot_be_reached_ends_with_3() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let person = Person::with_token(&url, "quire_somebody-0123456789");
    let ended = person.run("whoami");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.err.starts_with("error: ") && ended.err.contains("(unreachable)"), "{ended:?}");
    assert_eq!(person.problem("org list"), (Some(3), "unreachable".into()));

    let (url, _) = answers_once(answer("503 Service Unavailable", "", "<html>"));
    assert_eq!(Person::at(&url).problem("whoami"), (Some(3), "http_503".into()));
    let (url, _) = answers_once("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".into());
    assert_eq!(Person::at(&url).problem("whoami"), (Some(3), "unreachable".into()));
}

#[test]
fn the_credential_goes_to_no_other_server() {
    let person = |url: &str| Person::with_token(url, "quire_somebody-0123456789");
    for (answer, line) in [
        (answer("302 Found", "location: http://registry.test/\r\n", ""), "whoami"),
        (answer("200 OK", "link: <http://registry.test/api/orgs>; rel=\"next\"\r\n", "[]"), "org list"),
        (answer("200 OK", "link: <http://registry.test/api/audit>; rel=\"next\"\r\n", ""), "audit"),
    ] {
        let (url, asked) = answers_once(answer);
        assert_eq!(person(&url).problem(line), (Some(2), "unexpected_answer".into()), "{line}");
        let asked = asked.join().unwrap().to_lowercase();
        assert!(asked.contains("authorization: bearer quire_somebody-0123456789\r\n"), "{asked}");
    }
}

#[test]
fn what_is_no_registry_of_ours_is_told_apart() {
    for (body, line) in [("<html>", "whoami"), ("{}", "org list"), ("<html>", "audit")] {
        let (url, _) = answers_once(answer("200 OK", "", body));
        assert_eq!(Person::at(&url).problem(line), (Some(2), "unexpected_answer".into()), "{line}");
    }
    let (url, _) = answers_once(answer("404 Not Found", "", "404 page not found"));
    assert_eq!(Person::at(&url).problem("whoami"), (Some(1), "http_404".into()));
}

#[test]
fn a_message_of_a_server_does_not_command_the_terminal() {
    let problem = json!({ "code": "invalid", "detail": "a\u{1b}[2Jb", "errors": [{ "code": "x",
        "detail": "too long", "pointer": "/name" }] });
    let (url, _) = answers_once(answer("400 Bad Request", "", &problem.to_string()));
    let ended = Person::at(&url).run("whoami");
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.err.lines().take(2).collect::<Vec<_>>(),
        ["error: a\u{fffd}[2Jb (invalid)", "  /name: too long"]
    );
}
