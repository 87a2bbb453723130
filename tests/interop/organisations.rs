//! Organisations as real clients meet them: what a token may push and pull, and what its client says otherwise.

use serde_json::json;

use crate::harness::Server;
use crate::layout;
use crate::tools::Desk;

#[path = "../suite/issuing.rs"]
#[allow(dead_code, reason = "one kind of token is enough here")]
mod issuing;

use self::issuing::{Issuing, Kind, grants};

/// The clients, each with its own way to push and pull.
const CLIENTS: [&str; 3] = ["oras", "podman", "skopeo"];

/// A desk with something to push for each of the clients.
fn desk(server: &Server) -> Option<Desk> {
    let desk = Desk::new(server, &[&CLIENTS[..], &["umoci"]].concat())?;
    layout::add_image(&desk, "made", "1.0", "amd64");
    desk.run("podman pull --quiet --arch amd64 oci:made:1.0");
    let images = desk.run("podman images --quiet --no-trunc");
    desk.run(&format!("podman tag {} localhost/made:1.0", images.trim().trim_start_matches("sha256:")));
    desk.write("tool.txt", "Played by ear.\n");
    Some(desk)
}

fn log_in(server: &Server, program: &str) -> String {
    let plain = if program == "oras" { "--plain-http" } else { "--tls-verify=false" };
    format!("{program} login {plain} --username anyone --password-stdin {}", server.address)
}

fn push(server: &Server, program: &str, name: &str) -> String {
    let target = format!("{}/{name}", server.address);
    match program {
        "oras" => format!("oras push --plain-http {target} tool.txt:text/plain"),
        "podman" => format!("podman push --quiet localhost/made:1.0 {target}"),
        _ => format!("skopeo copy --quiet oci:made:1.0 docker://{target}"),
    }
}

fn pull(server: &Server, program: &str, name: &str) -> String {
    let source = format!("{}/{name}", server.address);
    match program {
        "oras" => format!("oras pull --plain-http --output pulled {source}"),
        "podman" => format!("podman pull --quiet --arch amd64 {source}"),
        _ => format!("skopeo copy --quiet docker://{source} oci:pulled-image:1.0"),
    }
}

/// Asserts that a client is refused by what its token may not, and tells its user so.
fn assert_denied(desk: &Desk, line: &str) {
    let complaint = desk.fail(line).to_lowercase();
    assert!(complaint.contains("denied") || complaint.contains("403"), "{line}: {complaint}");
}

#[tokio::test]
async fn a_publisher_pushes_to_one_organisation_and_no_other() {
    let server = Server::start(&[]);
    let Some(desk) = desk(&server) else { return };
    let token = server.token(&[("acme", "publisher")], json!({})).await;
    let foreign = server.admin().push_artifact("corp/theirs", "1.0", "theirs").await;
    for program in CLIENTS {
        desk.run_with_input(&log_in(&server, program), &token);
        let own = format!("acme/{program}:1.0");
        desk.run(&push(&server, program, &own));
        desk.run(&pull(&server, program, &own));
        let manifest = server.admin().head(&format!("/v2/acme/{program}/manifests/1.0")).await;
        assert_eq!(manifest.status, 200, "{program}");
        for name in [format!("corp/{program}:1.0"), format!("system/{program}:1.0")] {
            assert_denied(&desk, &push(&server, program, &name));
        }
        // What is there and what is not look the same.
        assert_denied(&desk, &pull(&server, program, "corp/theirs:1.0"));
        assert_denied(&desk, &pull(&server, program, "corp/nothing:1.0"));
        assert_denied(&desk, &push(&server, program, "corp/theirs:1.0"));
    }
    let names = server.admin().get("/v2/_catalog").await.json()["repositories"].clone();
    assert_eq!(names, json!(["acme/oras", "acme/podman", "acme/skopeo", "corp/theirs"]));
    let manifest = server.admin().head("/v2/corp/theirs/manifests/1.0").await;
    assert_eq!(manifest.header("docker-content-digest"), foreign);
}

#[tokio::test]
async fn members_and_orchestrators_pull_from_their_organisation_and_system_and_push_nowhere() {
    let server = Server::start(&[]);
    let Some(desk) = desk(&server) else { return };
    let admin = server.token(&[("system", "sys_admin")], json!({})).await;
    let member = server.token(&[("acme", "org_member")], json!({})).await;
    let orchestrator = server.token(&[("acme", "orchestrator")], json!({})).await;
    let everything = server.admin();
    for program in CLIENTS {
        desk.write("tool.txt", "Played by ear.\n");
        desk.run_with_input(&log_in(&server, program), &admin);
        let names = ["acme", "system", "corp"].map(|catalog| format!("{catalog}/{program}:1.0"));
        for name in &names {
            desk.run(&push(&server, program, name));
        }
        let [acme, system, corp] = &names;
        let there = async || {
            let manifest = everything.head(&format!("/v2/acme/{program}/manifests/1.0")).await;
            manifest.header("docker-content-digest").to_owned()
        };
        let before = there().await;
        assert!(before.starts_with("sha256:"), "{before}");

        desk.write("tool.txt", "Played otherwise.\n");
        for token in [&member, &orchestrator] {
            desk.run_with_input(&log_in(&server, program), token);
            for name in [acme, system] {
                desk.run(&pull(&server, program, name));
            }
            assert_denied(&desk, &pull(&server, program, corp));
            for name in [acme, system, corp, &format!("acme/new-{program}:1.0")] {
                assert_denied(&desk, &push(&server, program, name));
            }
        }
        assert_eq!(there().await, before, "{program}");
        let new = everything.get(&format!("/v2/acme/new-{program}/tags/list")).await;
        assert_eq!(new.status, 404, "{program}");
    }
    assert_eq!(desk.read("pulled/tool.txt"), b"Played by ear.\n");
    assert_eq!(layout::blobs(&desk, "pulled-image"), layout::blobs(&desk, "made"));
}

#[tokio::test]
async fn a_revoked_token_pulls_no_longer() {
    let server = Server::start(&[]);
    let Some(desk) = desk(&server) else { return };
    let admin = server.admin();
    for program in CLIENTS {
        let request = json!({"name": "short-lived", "grants": [{"catalog": "acme", "role": "publisher"}]});
        let made = admin.send("POST", "/api/tokens", &[], request.to_string()).await.json();
        let [id, token] = ["id", "token"].map(|key| made[key].as_str().expect("a text"));
        desk.run_with_input(&log_in(&server, program), token);
        let name = format!("acme/{program}:1.0");
        desk.run(&push(&server, program, &name));
        desk.run(&pull(&server, program, &name));
        assert_eq!(admin.delete(&format!("/api/tokens/{id}")).await.status, 204);
        for line in [pull(&server, program, &name), push(&server, program, &name)] {
            let complaint = desk.fail(&line).to_lowercase();
            assert!(complaint.contains("unauthorized") || complaint.contains("401"), "{line}: {complaint}");
        }
        desk.fail_with_input(&log_in(&server, program), token);
    }
}

#[tokio::test]
async fn the_token_of_an_issuer_is_a_password_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let issuing = Issuing::new(folder.path());
    let server = issuing.start(&[]);
    let Some(desk) = desk(&server) else { return };
    let token = issuing.token(Kind::Hs256, grants(&[("acme", "publisher")]));
    let stale = json!({"exp": issuing::seconds(-600), "quire": grants(&[("acme", "publisher")])["quire"]});
    let stale = issuing.token(Kind::Hs256, stale);
    for program in CLIENTS {
        desk.run_with_input(&log_in(&server, program), &token);
        let name = format!("acme/{program}:1.0");
        desk.run(&push(&server, program, &name));
        desk.run(&pull(&server, program, &name));
        let manifest = server.admin().head(&format!("/v2/acme/{program}/manifests/1.0")).await;
        assert_eq!(manifest.status, 200, "{program}");
        assert_denied(&desk, &push(&server, program, &format!("corp/{program}:1.0")));
        desk.fail_with_input(&log_in(&server, program), &stale);
    }
}
