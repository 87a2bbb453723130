//! What a node remembers of callers: no read while it is warm, revocations in time, and service without a database.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quire::app::App;
use quire::config;
use quire::digest::Sha256;
use quire::fault::Fault;
use quire::meta::MetaStore;
use quire::meta::faulty::FaultyMeta;
use rusqlite::Connection;
use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::attacks::issuer;
use crate::harness::store::{Place, Stores};
use crate::harness::{ADMIN_TOKEN, Client, Server};
use crate::issuing::{Kind, grants};
use crate::matrix::made;

/// Within this time every node knows of a revocation anywhere.
const IN_TIME: Duration = Duration::from_secs(2);
/// How often a test looks again.
const AGAIN: Duration = Duration::from_millis(20);

/// Paths below which the same bytes of `acme` are found.
fn paths(repository: &str, digest: &str) -> [String; 2] {
    let hex = digest.trim_start_matches("sha256:");
    [format!("/v2/{repository}/blobs/{digest}"), format!("/blobs/sha256/{hex}")]
}

async fn status(client: &Client, path: &str) -> u16 {
    client.get(path).await.status.as_u16()
}

/// Waits until the server has looked at the access version since now, and so forgets nothing more.
async fn settled(client: &Client) {
    let polls = async || {
        let metrics = client.metrics().await;
        *metrics.get("quire_metadata_operations_total{kind=\"poll\"}").expect("a counter of polls")
    };
    let before = polls().await;
    let begun = Instant::now();
    // The first may have begun before, the second has, the third tells that the second came to its end.
    while polls().await < before + 3.0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the server looks at the access version");
        tokio::time::sleep(AGAIN).await;
    }
}

async fn reads(server: &Server) -> f64 {
    let metrics = server.anonymous().metrics().await;
    *metrics.get("quire_metadata_operations_total{kind=\"read\"}").expect("a counter of reads")
}

/// P5, P6: who has a credential that is known costs no read, on the same connection and on others.
#[tokio::test]
async fn a_warm_credential_costs_no_read() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let admin = server.admin();
    let digest = admin.push_blob("acme/tool", "private").await;
    let api = server.token(&[("acme", "org_member")], json!({})).await;
    let asked = "/token?scope=repository:acme/tool:pull";
    let short = Client::new(server.address, Some(&api)).get(asked).await;
    let short = short.json()["token"].as_str().expect("a token").to_owned();
    let jwt = issuing.token(Kind::Es256, grants(&[("acme", "org_member")]));
    settled(&admin).await;
    for (what, token) in [("API token", &api), ("short token", &short), ("JWT", &jwt)] {
        let client = || Client::new(server.address, Some(token));
        for path in paths("acme/tool", &digest) {
            let same = client();
            let cold = reads(&server).await;
            assert_eq!(status(&same, &path).await, 200, "{what} {path}");
            let warm = reads(&server).await;
            assert!(what != "API token" || warm > cold, "the counter counts: {path}");
            for _ in 0..50 {
                assert_eq!(status(&same, &path).await, 200, "{what} {path}");
            }
            assert_eq!(reads(&server).await, warm, "{what} {path} on one connection");
            for _ in 0..50 {
                assert_eq!(status(&client(), &path).await, 200, "{what} {path}");
            }
            assert_eq!(reads(&server).await, warm, "{what} {path} on fresh connections");
        }
    }
}

/// What another node would do to the database, in one transaction.
fn elsewhere(server: &Server, statement: &str, id: &str) {
    if Stores::asked() == Stores::Far {
        let statement = statement.replace("?1", &format!("'{id}'"));
        server
            .place
            .sql(&[&statement, "UPDATE access_version SET version = version + 1"])
            .expect("a database");
        return;
    }
    let mut database = Connection::open(server.data.join("quire.db")).expect("a database");
    database.busy_timeout(Duration::from_secs(5)).expect("patience");
    let transaction = database.transaction().expect("a transaction");
    let id = Uuid::parse_str(id).expect("an id");
    assert_eq!(transaction.execute(statement, (id.as_bytes(),)).expect("a change"), 1, "{statement}");
    let raised = transaction.execute("UPDATE access_version SET version = version + 1", ());
    assert_eq!(raised.expect("a change"), 1);
    transaction.commit().expect("a commit");
}

/// Asserts that all of these are refused in time, counted from `begun`, and in the way given.
async fn assert_refused_in_time(clients: &[&Client], path: &str, expected: u16, begun: Instant) {
    for client in clients {
        let refused = loop {
            match status(client, path).await {
                200 => assert!(begun.elapsed() < IN_TIME, "it is served for too long: {path}"),
                other => break other,
            }
            tokio::time::sleep(AGAIN).await;
        };
        assert!(begun.elapsed() < IN_TIME, "it took {:?}", begun.elapsed());
        assert_eq!(refused, expected, "{path}");
        assert_eq!(status(client, path).await, expected, "it stays so: {path}");
    }
}

/// P6: another node revokes a token, or takes a grant from it.
#[tokio::test]
async fn p6_what_another_node_takes_away_is_seen_in_time() {
    let revoke = "UPDATE api_tokens SET revoked_at = 1 WHERE id = ?1";
    let drop_grant = "DELETE FROM token_grants WHERE token = ?1 AND catalog = 'acme'";
    let server = Server::start(&[]);
    let admin = server.admin();
    let digest = admin.push_blob("acme/tool", "private").await;
    let [path, _] = paths("acme/tool", &digest);
    let other = server.caller(&[("acme", "org_member")]).await;
    let others_short = other.short(&["acme/tool:pull"]).await;
    settled(&admin).await;
    for (statement, expected) in [(revoke, 401), (drop_grant, 403)] {
        let (id, token) = made(&admin, "acme", "org_member", json!({})).await;
        let api = Client::new(server.address, Some(&token));
        let idle = Client::new(server.address, Some(&token));
        let short = api.short(&["acme/tool:pull"]).await;
        for client in [&api, &idle, &short, &other, &others_short] {
            assert_eq!(status(client, &path).await, 200, "before: {statement}");
        }
        let begun = Instant::now();
        elsewhere(&server, statement, &id);
        assert_refused_in_time(&[&api, &short, &idle], &path, expected, begun).await;
        let again = Client::new(server.address, Some(&token));
        assert_eq!(status(&again, &path).await, expected, "on a new connection: {statement}");
        // A token without grants is still known; what it is given is worth nothing.
        let known = status(&again, "/token?scope=repository:acme/tool:pull").await;
        assert_eq!(known, if expected == 401 { 401 } else { 200 }, "{statement}");
        for client in [&other, &others_short] {
            assert_eq!(status(client, &path).await, 200, "others: {statement}");
        }
    }
}

/// P6: a token that loses one grant elsewhere keeps what the others allow.
#[tokio::test]
async fn p6_one_grant_less_leaves_the_others() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let [acme, corp] = ["acme/tool", "corp/tool"];
    let (acme, corp) = (
        paths(acme, &admin.push_blob(acme, "private").await),
        paths(corp, &admin.push_blob(corp, "private").await),
    );
    let body = json!({"name": "both", "grants": [
        {"catalog": "acme", "role": "org_member"}, {"catalog": "corp", "role": "org_member"},
    ]});
    let made = admin.send("POST", "/api/tokens", &[], body.to_string()).await.json();
    let api = Client::new(server.address, made["token"].as_str());
    let short = api.short(&["acme/tool:pull", "corp/tool:pull"]).await;
    for client in [&api, &short] {
        assert_eq!((status(client, &acme[0]).await, status(client, &corp[0]).await), (200, 200));
    }
    let begun = Instant::now();
    let drop_grant = "DELETE FROM token_grants WHERE token = ?1 AND catalog = 'acme'";
    elsewhere(&server, drop_grant, made["id"].as_str().expect("an id"));
    assert_refused_in_time(&[&api, &short], &acme[0], 403, begun).await;
    for client in [&api, &short] {
        assert_eq!(status(client, &corp[0]).await, 200, "what it still has");
        assert_eq!(status(client, &corp[1]).await, 200, "the same bytes through what it still has");
    }
}

/// P6: an expiry needs no poll; the short token ends with its owner.
#[tokio::test]
async fn p6_an_expired_token_ends_in_time_with_its_short_tokens() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let digest = admin.push_blob("acme/tool", "private").await;
    let [path, _] = paths("acme/tool", &digest);
    let other = server.caller(&[("acme", "org_member")]).await;
    let begun = Instant::now();
    let (_, token) = made(&admin, "acme", "org_member", json!({"expires_in": 2})).await;
    let api = Client::new(server.address, Some(&token));
    let short = api.short(&["acme/tool:pull"]).await;
    for client in [&api, &short] {
        assert_eq!(status(client, &path).await, 200);
    }
    let life = Duration::from_secs(2);
    assert_refused_in_time(&[&api, &short], &path, 401, begun + life).await;
    assert!(begun.elapsed() >= life, "not before its time: {:?}", begun.elapsed());
    assert_eq!(status(&Client::new(server.address, Some(&token)), &path).await, 401);
    assert_eq!(status(&other, &path).await, 200);
}

/// A server inside the test, whose metadata store can be told to fail.
struct Running {
    meta: Arc<FaultyMeta>,
    address: SocketAddr,
    admin: Client,
    stop: Option<oneshot::Sender<()>>,
    _folder: tempfile::TempDir,
    _place: Place,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

impl Running {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let flags = BTreeMap::from([
            ("listen", "127.0.0.1:0".to_owned()),
            ("data", folder.path().display().to_string()),
        ]);
        let own = [("ADMIN_TOKEN", ADMIN_TOKEN), ("FAILED_LOGINS", "1000000")];
        let place = Place::of(folder.path());
        let mut environment = place.environment();
        let told = own.iter().chain(settings);
        environment.extend(told.map(|(name, value)| (format!("QUIRE_{name}"), (*value).to_owned())));
        let config = config::resolve(&flags, &environment).expect("settings").config().expect("settings");
        let mut wrapped = None;
        let wrap = |opened: Arc<dyn MetaStore>| {
            let meta = Arc::new(FaultyMeta::new(opened));
            wrapped = Some(Arc::clone(&meta));
            meta as Arc<dyn MetaStore>
        };
        let app = App::start_with(&config, |store| store, wrap).await.expect("a server");
        let address = app.address().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let stop = async move { drop(stopped.await) };
            drop(app.run(stop).await);
        });
        let admin = Client::new(address, Some(ADMIN_TOKEN));
        let made = admin.send("POST", "/api/orgs", &[], json!({"id": "acme"}).to_string()).await;
        assert_eq!(made.status, 201, "{made:?}");
        Self {
            meta: wrapped.expect("a store"),
            address,
            admin,
            stop: Some(stop),
            _folder: folder,
            _place: place,
        }
    }

    fn client(&self, token: Option<&str>) -> Client {
        Client::new(self.address, token)
    }

    /// A new API token that may pull `acme`: its id, and a client with it.
    async fn member(&self) -> (String, Client) {
        let (id, token) = made(&self.admin, "acme", "org_member", json!({})).await;
        (id, self.client(Some(&token)))
    }
}

/// Asserts that these are served.
async fn assert_served(pulls: &[(&Client, &str)]) {
    for (client, path) in pulls {
        assert_eq!(status(client, path).await, 200, "{path}");
    }
}

/// Asserts that these are served again in time.
async fn assert_back(pulls: &[(&Client, &str)]) {
    let begun = Instant::now();
    for (client, path) in pulls {
        loop {
            let status = status(client, path).await;
            assert!(begun.elapsed() < IN_TIME, "still {status}: {path}");
            if status == 200 {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Asserts that a pull ends in a fault of the server.
async fn assert_broken(client: &Client, path: &str) {
    let answer = client.get(path).await;
    assert!(answer.status.is_server_error(), "{path}: {answer:?}");
    assert!(!String::from_utf8_lossy(&answer.body).contains("planned"), "{answer:?}");
}

/// P6: what is warm goes on for those who are known, and nothing else does.
#[tokio::test]
async fn p6_without_the_database_warm_pulls_go_on() {
    outage(Fault::Before).await;
}

/// P6: the same when the database does its work, and nobody hears of it.
#[tokio::test]
async fn p6_with_a_database_whose_answers_are_lost_warm_pulls_go_on() {
    outage(Fault::After).await;
}

async fn outage(fault: Fault) {
    let (_folder, issuing) = issuer();
    let own = issuing.settings();
    let settings: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = Running::start(&settings).await;
    let admin = &server.admin;
    let public = admin.push_artifact("system/tool", "1.0", "public").await;
    let public = format!("/v2/system/tool/manifests/{public}");
    let [private, immutable] = paths("acme/tool", &admin.push_blob("acme/tool", "private").await);
    let [cold, _] = paths("acme/tool", &admin.push_blob("acme/tool", "never asked for").await);
    let (tag, tags) = ("/v2/system/tool/manifests/1.0", "/v2/acme/tool/tags/list");
    let (_, api) = server.member().await;
    let short = api.short(&["acme/tool:pull"]).await;
    let (_, stranger) = server.member().await;
    let jwt = server.client(Some(&issuing.token(Kind::EdDsa, grants(&[("acme", "org_member")]))));
    let anonymous = server.client(None);
    let (private, public) = (private.as_str(), public.as_str());
    let pulls = [
        (&anonymous, public),
        (&api, public),
        (&api, private),
        (&api, &immutable),
        (&short, private),
        (&short, &immutable),
        (&jwt, private),
        (admin, private),
    ];
    settled(admin).await;
    assert_served(&pulls).await;

    server.meta.set(Some(fault));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        assert_served(&pulls).await;
        tokio::time::sleep(AGAIN).await;
    }
    // A short token needs no more than its owner, who is known.
    let meanwhile = api.short(&["acme/tool:pull"]).await;
    assert_served(&[(&meanwhile, private)]).await;

    for client in [&api, &short, &jwt, admin] {
        assert_broken(client, &cold).await;
        assert_broken(client, tags).await;
    }
    assert_broken(&anonymous, tag).await;
    for path in [private, public] {
        assert_broken(&stranger, path).await;
        assert_eq!(status(&server.client(Some("not-a-token")), path).await, 401);
    }
    assert_eq!(status(&anonymous, private).await, 401);
    assert_eq!((status(&anonymous, "/livez").await, status(&anonymous, "/readyz").await), (200, 503));
    let upload = format!("/v2/acme/tool/blobs/uploads/?digest={}", Sha256::of(b"lost"));
    let orgs = r#"{"id": "later"}"#;
    for (method, path, body) in
        [("POST", upload.as_str(), "lost"), ("POST", "/api/orgs", orgs), ("DELETE", &cold, "")]
    {
        let answer = admin.send(method, path, &[], body).await;
        assert!(answer.status.is_server_error(), "{method} {path}: {answer:?}");
    }

    server.meta.set(None);
    let again = [(&stranger, private), (&api, tags), (&short, tags), (&jwt, tags), (&anonymous, tag)];
    assert_back(&[&again[..], &pulls, &[(&anonymous, "/readyz")]].concat()).await;
    // Blobs are not written before the catalog was read; an organisation is, and only the answer was lost.
    let [lost, _] = paths("acme/tool", &Sha256::of(b"lost").to_string());
    assert_eq!((status(admin, &lost).await, status(admin, &cold).await), (404, 200));
    let organisation = admin.send("POST", "/api/orgs", &[], orgs).await.status;
    assert_eq!(organisation, if fault == Fault::Before { 201 } else { 409 });
}

/// P6: a node that has heard nothing for `auth_grace` trusts what it remembers no longer.
#[tokio::test]
async fn p6_the_grace_ends() {
    let (_folder, issuing) = issuer();
    let own = issuing.settings();
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let server = Running::start(&own.chain([("AUTH_GRACE", "2")]).collect::<Vec<_>>()).await;
    let admin = &server.admin;
    let public = admin.push_artifact("system/tool", "1.0", "public").await;
    let public = format!("/v2/system/tool/manifests/{public}");
    let [private, immutable] = paths("acme/tool", &admin.push_blob("acme/tool", "private").await);
    let (_, api) = server.member().await;
    let short = api.short(&["acme/tool:pull"]).await;
    let jwt = server.client(Some(&issuing.token(Kind::Hs256, grants(&[("acme", "org_member")]))));
    let anonymous = server.client(None);
    // Also what is public, when it is asked for with a credential that nobody can look up.
    let known: [(&Client, &str); 5] =
        [(&api, &public), (&api, &private), (&api, &immutable), (&short, &private), (&short, &immutable)];
    // These need no database to be known.
    let needless: [(&Client, &str); 4] =
        [(&anonymous, &public), (&jwt, &private), (admin, &private), (admin, &immutable)];
    settled(admin).await;
    assert_served(&[&known[..], &needless].concat()).await;

    let begun = Instant::now();
    server.meta.set(Some(Fault::Before));
    let mut served = Duration::ZERO;
    let mut ended = [false; 5];
    while begun.elapsed() < Duration::from_secs(4) {
        for ((client, path), ended) in known.iter().zip(&mut ended) {
            let asked = begun.elapsed();
            match status(client, path).await {
                200 => {
                    assert!(!*ended, "it has ended: {path}");
                    assert!(asked < Duration::from_millis(2500), "{path} after {asked:?}");
                    served = asked;
                }
                status => {
                    assert!(status >= 500, "{status} {path}");
                    *ended = true;
                }
            }
        }
        assert_served(&needless).await;
        tokio::time::sleep(AGAIN).await;
    }
    assert_eq!(ended, [true; 5]);
    assert!(served > Duration::from_millis(500), "the last contact was not long before: {served:?}");
    assert_broken(&api, "/token?scope=repository:acme/tool:pull").await;

    server.meta.set(None);
    assert_back(&[&known[..], &needless].concat()).await;
}

/// P6: what was revoked before the database went is not served without it, nor ever again.
#[tokio::test]
async fn p6_a_token_revoked_just_before_an_outage_is_never_served() {
    let server = Running::start(&[]).await;
    let admin = &server.admin;
    let public = admin.push_artifact("system/tool", "1.0", "public").await;
    let public = format!("/v2/system/tool/manifests/{public}");
    let [private, immutable] = paths("acme/tool", &admin.push_blob("acme/tool", "private").await);
    let (id, api) = server.member().await;
    let short = api.short(&["acme/tool:pull"]).await;
    let pulls: [(&Client, &str); 5] =
        [(&api, &public), (&api, &private), (&api, &immutable), (&short, &private), (&short, &immutable)];
    settled(admin).await;
    assert_served(&pulls).await;

    assert_eq!(admin.delete(&format!("/api/tokens/{id}")).await.status, 204);
    server.meta.set(Some(Fault::Before));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        for (client, path) in pulls {
            assert_broken(client, path).await;
        }
        tokio::time::sleep(AGAIN).await;
    }
    server.meta.set(None);
    for (client, path) in pulls {
        assert_eq!(status(client, path).await, 401, "{path}");
    }
}

/// P6: a revocation that was made, but whose answer was lost, is found by looking at the access version.
#[tokio::test]
async fn p6_a_revocation_whose_answer_was_lost_is_seen_in_time() {
    let server = Running::start(&[]).await;
    let admin = &server.admin;
    let [private, _] = paths("acme/tool", &admin.push_blob("acme/tool", "private").await);
    let (id, api) = server.member().await;
    let short = api.short(&["acme/tool:pull"]).await;
    let (_, other) = server.member().await;
    settled(admin).await;
    assert_served(&[(&api, &private), (&short, &private), (&other, &private)]).await;
    server.meta.set(Some(Fault::After));
    let begun = Instant::now();
    let answer = admin.delete(&format!("/api/tokens/{id}")).await;
    assert!(answer.status.is_server_error(), "{answer:?}");
    server.meta.set(None);
    assert_refused_in_time(&[&api, &short], &private, 401, begun).await;
    assert_served(&[(&other, &private)]).await;
}
