//! Servers that mean no good: lists without an end, places elsewhere, answers that are too long or no text.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::client_commands::Person;

/// Status, further header lines, and body.
type Reply = (String, String, Vec<u8>);

/// A server that answers as it is told to, until the test ends.
pub struct Stub {
    pub url: String,
}

impl Stub {
    /// `answer` is asked with the path and query of each request.
    pub fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let answer: Arc<dyn Fn(&str) -> Reply + Send + Sync> = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = answer.clone();
                // A client that has seen enough closes the connection.
                std::thread::spawn(move || serve(stream, &*answer));
            }
        });
        Self { url }
    }

    /// One that gives the same list to everybody.
    fn of(headers: &str, body: impl Into<Vec<u8>>) -> Self {
        let reply: Reply = ("200 OK".into(), headers.to_owned(), body.into());
        Self::start(move |_| reply.clone())
    }

    fn person(&self) -> Person {
        Person::with_token(&self.url, "quire_somebody-0123456789")
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&str) -> Reply) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        stream.read_line(&mut first).ok()?;
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
        }
        let (status, headers, body) = answer(first.split(' ').nth(1)?);
        let mut reply =
            format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
        reply.extend(body);
        stream.get_mut().write_all(&reply).ok()?;
    }
}

fn plugin(pid: &str) -> Value {
    json!({
        "id": "01976f4e-0000-7000-8000-000000000000", "pid": pid, "version": "1.0", "name": pid,
        "is_latest": true, "enabled": true, "yanked": null, "deprecated": null, "blocked": null,
        "logo_image": null, "readme": null, "source": "org", "digest": "sha256:0", "manifest_digest": "sha256:0",
        "size": 1, "url": "/blobs", "created_at": "2026-01-01T00:00:00.000Z",
    })
}

/// A list of one plugin on each page, and always one more page.
fn endless() -> Stub {
    Stub::start(|path| {
        let number = path.rsplit_once("after=").and_then(|(_, number)| number.parse().ok()).unwrap_or(0_u64);
        let link = format!("link: </api/orgs/acme/plugins?after={}>; rel=\"next\"\r\n", number + 1);
        ("200 OK".into(), link, json!([plugin(&format!("com.acme.p{number}"))]).to_string().into_bytes())
    })
}

#[test]
fn a_list_without_an_end_is_left() {
    let stub = endless();
    let ended = stub.person().run("plugins list --org acme");
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("too many pages (unexpected_answer)"), "{}", ended.err);
    assert!(ended.out.lines().count() > 1000, "what came was printed");
}

#[test]
fn a_list_is_printed_as_it_comes() {
    let stub = endless();
    for (line, lines) in [("plugins list --org acme", 2), ("plugins list --org acme --output json", 15)] {
        let mut child = stub.person().command(line).spawn().expect("the program runs");
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let mut text = String::new();
        for _ in 0..lines {
            out.read_line(&mut text).expect("a line");
        }
        assert!(text.contains("com.acme.p0"), "{text}");
        drop(out);
        // Whoever reads has seen enough, which is no failure.
        assert_eq!(child.wait().expect("its end").code(), Some(0), "{line}");
    }
}

#[test]
fn a_list_goes_on_at_no_other_server() {
    let list = json!([plugin("com.acme.hello")]).to_string();
    for target in ["http://registry.test/api", "//registry.test/api", "https://127.0.0.1/", "http://["] {
        let stub = Stub::of(&format!("link: <{target}>; rel=\"next\"\r\n"), list.clone());
        for line in ["plugins list", "plugins versions com.acme.hello", "blocked"] {
            let refused = stub.person().problem(line);
            assert_eq!(refused.0, Some(2), "{target} {line}");
            assert_eq!(refused.1, "unexpected_answer", "{target} {line}");
        }
    }
    let away =
        Stub::start(|_| ("302 Found".into(), "location: http://registry.test/\r\n".into(), Vec::new()));
    for line in [
        "plugins show com.acme.hello",
        "plugins files com.acme.hello 1.0",
        "plugins diff com.acme.hello 1.0 2.0",
        "plugins set com.acme.hello 1.0 --enabled false",
        "enable com.acme.hello --org acme",
        "disable com.acme.hello --org acme",
        "plan --org acme",
    ] {
        assert_eq!(away.person().problem(line), (Some(2), "unexpected_answer".into()), "{line}");
    }
}

#[test]
fn what_came_before_a_failure_is_printed_and_the_exit_code_tells() {
    let stub = Stub::start(|path| match path.contains("after=") {
        true => ("503 Service Unavailable".into(), String::new(), Vec::new()),
        false => {
            let list = json!([plugin("com.acme.hello")]).to_string().into_bytes();
            ("200 OK".into(), "link: <?after=1>; rel=\"next\"\r\n".into(), list)
        }
    });
    let ended = stub.person().run("plugins list --org acme");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.out.contains("com.acme.hello") && ended.err.contains("(http_503)"), "{ended:?}");
    let json = stub.person().run("plugins list --org acme --output json");
    assert_eq!(json.code, Some(3), "{json:?}");
    assert!(serde_json::from_str::<Value>(&json.out).is_err(), "half a list is none: {json:?}");
}

#[test]
fn answers_that_are_too_long_or_no_registrys_are_left() {
    let long = Stub::of("", vec![b' '; (32 << 20) + 1]);
    let no_text = Stub::of("", b"[{\"pid\": \"\xff\"}]".to_vec());
    let html = Stub::of("", "<html>");
    for stub in [&long, &no_text, &html] {
        for line in ["plugins list", "plugins show com.acme.hello", "plan --org acme", "blocked"] {
            assert_eq!(stub.person().problem(line), (Some(2), "unexpected_answer".into()), "{line}");
        }
    }
    // JSON, and not what was asked for.
    let other = Stub::of("", "[{\"pid\": 7}]");
    for line in ["plugins list", "plugins show com.acme.hello", "plan --org acme", "blocked"] {
        let ended = other.person().run(line);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{line}: {ended:?}");
    }
    let mut broken = plugin("com.acme.hello");
    broken["id"] = json!("../../tokens/1");
    let broken = Stub::of("", broken.to_string());
    let set = broken.person().problem("plugins set com.acme.hello 1.0 --enabled false");
    assert_eq!(set, (Some(2), "unexpected_answer".into()), "an id that leads elsewhere");
    let mut nowhere = plugin("com.acme.hello");
    nowhere["source"] = json!("../x");
    let nowhere = Stub::of("", nowhere.to_string());
    let enable = nowhere.person().problem("enable com.acme.hello --org acme");
    assert_eq!(enable, (Some(2), "unexpected_answer".into()), "a source that leads elsewhere");
}

#[test]
fn texts_of_others_do_not_command_the_terminal() {
    let evil = "\u{1b}]0;x\u{7}\u{9b}2J\nnext\u{7f}";
    let mut one = plugin(evil);
    for field in ["version", "source", "digest", "manifest_digest", "url", "created_at", "id", "readme"] {
        one[field] = json!(evil);
    }
    for field in ["name", "description", "tag", "capabilities", "entrypoint"] {
        one[field] = json!([evil]);
    }
    one["yanked"] = json!({"reason": evil});
    one["deprecated"] = json!({"message": evil, "successor": evil});
    one["settings_schema"] =
        json!([{"key": evil, "type": evil, "description": evil, "default": {evil: evil}}]);
    let side = json!({"version": evil, "digest": evil});
    let other_side = json!({"version": evil, "digest": "other"});
    let file = json!({"path": evil, "size": 1, "digest": evil, "executable": true});
    let planned = json!({"source": evil, "pid": evil, "version": evil, "channel": evil, "digest": evil,
        "yanked": evil, "deprecated": evil,
        "held": {"code": evil, "message": evil, "reasons": [evil], "version": evil}});
    let missing = json!({"source": evil, "pid": evil, "version": evil, "channel": null, "code": evil,
        "message": evil, "reasons": [evil]});
    let diff = json!({"from": side, "to": other_side, "metadata": {evil: {"from": evil, "to": [evil]}},
        "settings_schema": {"verdict": evil, "reasons": [evil]},
        "files": {"added": [file], "removed": [file], "changed": [{"path": evil, "from": file, "to": file}]}});
    let blocked = json!([{"digest": evil, "reason": evil, "blocked_by": evil, "created_at": evil,
        "digests": 1}]);
    let problem = json!({"code": evil, "detail": evil, "errors": [{"detail": evil, "pointer": evil}]});
    for (status, line, body) in [
        ("200 OK", "plugins list", json!([one])),
        ("200 OK", "plugins versions com.acme.hello", json!([one])),
        ("200 OK", "plugins show com.acme.hello", one.clone()),
        ("200 OK", "plugins files com.acme.hello 1.0", json!([file])),
        ("200 OK", "plugins diff com.acme.hello 1.0 2.0", diff),
        ("200 OK", "plan --org acme", json!({"plugins": [planned], "unavailable": [missing]})),
        ("200 OK", "blocked", blocked),
        ("409 Conflict", "plugins show com.acme.hello", problem),
    ] {
        let body = body.to_string();
        let stub = Stub::start(move |_| (status.into(), String::new(), body.clone().into_bytes()));
        for line in [line.to_owned(), format!("{line} --output json")] {
            let ended = stub.person().run(&line);
            let printed = format!("{}{}", ended.out, ended.err);
            assert!(printed.contains("next"), "{line}: {printed:?}");
            let commands = |char: char| char.is_control() && char != '\n';
            assert!(!printed.contains(commands), "{line}: {printed:?}");
        }
    }
}
