//! Uploading plugins by the API: what comes in, what is refused in which order, and that a refusal leaves nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use quire::digest::Sha256;
use serde_json::{Value, json};
use zip::CompressionMethod;

use crate::disk;
use crate::harness::package::{Package, annotated, zip_of};
use crate::harness::plugin_api::{ACME, SYSTEM, each, form};
use crate::harness::{Answer, Client, Server};
use crate::uploads::sha512;
use crate::wire::Wire;

const PID: &str = "com.acme.mail";

fn package(version: &str) -> Package {
    Package::new(PID, version)
}

/// The same version with other bytes.
fn altered(version: &str, note: &str) -> Vec<u8> {
    package(version).file("note", note).bytes()
}

/// The rules of the findings that a refusal lists.
fn rules(answer: &Answer) -> Vec<String> {
    each(&answer.json()["errors"], "rule").into_iter().map(str::to_owned).collect()
}

/// What a server has stored, so that a test can say that a refusal added nothing.
struct Stored<'a> {
    server: &'a Server,
    blobs: Vec<PathBuf>,
}

impl<'a> Stored<'a> {
    fn now(server: &'a Server) -> Self {
        Self { server, blobs: disk::blobs(server) }
    }

    async fn is_the_same(&self, what: &str) {
        disk::staging_is_empty(self.server).await;
        assert_eq!(disk::blobs(self.server), self.blobs, "{what}");
    }
}

#[tokio::test]
async fn what_is_uploaded_is_a_plugin_and_an_artifact() {
    let server = Server::start(&[]);
    let publisher = server.caller(&[("acme", "publisher")]).await;
    let settings = json!([
        {"key": "host", "type": "str", "description": "Where.", "default": "localhost"},
        {"key": "port", "type": "int", "description": "Which.", "required": true},
    ]);
    let package = package("1.0").settings(settings).field("capabilities", json!(["send"]));
    let zip = package
        .field("tag", json!("mail"))
        .file("logo.png", b"\x89PNG\r\n\x1a\n")
        .file("data", "more")
        .bytes();
    let digest = Sha256::of(&zip).to_string();

    let answer = publisher.upload(ACME, zip.clone()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    let plugin = answer.json();
    let id = plugin["id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), format!("{ACME}/{id}"));
    let url = format!("/blobs/{}", digest.replace(':', "/"));
    for (field, value) in [
        ("pid", json!(PID)),
        ("version", json!("1.0")),
        ("org_id", json!("acme")),
        ("source", json!("org")),
        ("digest", json!(digest)),
        ("size", json!(zip.len())),
        ("url", json!(url)),
        ("tag", json!("mail")),
        ("capabilities", json!(["send"])),
        ("default_settings", json!({"host": "localhost"})),
        ("is_latest", json!(true)),
        ("enabled", json!(true)),
        ("yanked", Value::Null),
        ("stateless", json!(true)),
        ("settings_change", Value::Null),
    ] {
        assert_eq!(plugin[field], value, "{field}");
    }
    assert_eq!(each(&plugin["settings_schema"], "key"), ["host", "port"]);
    let same = publisher.read(answer.header("location")).await;
    for (field, value) in same.as_object().expect("an object") {
        assert_eq!(&plugin[field], value, "{field}");
    }

    // The bytes are those that were uploaded, by every way to them.
    let layer = format!("/v2/acme/{PID}/blobs/{digest}");
    for path in [&url, &layer] {
        let pulled = publisher.get(path).await;
        assert_eq!((pulled.status.as_u16(), &pulled.body[..]), (200, &zip[..]), "{path}");
    }
    for tag in ["1.0", "latest"] {
        let manifest = publisher.get(&format!("/v2/acme/{PID}/manifests/{tag}")).await;
        assert_eq!(manifest.header("docker-content-digest"), plugin["manifest_digest"], "{tag}");
        let manifest = manifest.json();
        assert_eq!(manifest["artifactType"], "application/vnd.quire.plugin.v1");
        assert_eq!(manifest["layers"][0]["digest"], json!(digest), "{tag}");
        let config = manifest["config"]["digest"].as_str().expect("a digest");
        let config = publisher.read(&format!("/v2/acme/{PID}/blobs/{config}")).await;
        assert_eq!((&config["pid"], &config["tag"]), (&json!(PID), &json!("mail")));
    }
    disk::staging_is_empty(&server).await;
}

#[tokio::test]
async fn a_form_and_chunks_carry_the_same() {
    let server = Server::start(&[]);
    let admin = server.admin();
    for (version, file_name) in [("1.0", "mail.zip"), ("1.1", "MAIL.ZIP"), ("1.2", "C:\\\\tmp\\\\mail.zip")] {
        let zip = package(version).bytes();
        let answer = admin.upload_form(ACME, file_name, &zip).await;
        assert_eq!(answer.status, 201, "{file_name} {answer:?}");
        assert_eq!(answer.json()["digest"], Sha256::of(&zip).to_string(), "{file_name}");
    }
    for (version, in_form) in [("2.0", false), ("2.1", true)] {
        let zip = package(version).file("random", noise(100_000)).bytes();
        let (content_type, body) =
            if in_form { form("mail.zip", &zip) } else { ("application/zip", zip.clone()) };
        let headers = [("content-type", content_type), ("transfer-encoding", "chunked")];
        let mut wire = Wire::admin(&server, &format!("POST {ACME}/upload"), &headers).await;
        // So that pieces end inside of boundaries, too.
        for piece in body.chunks(977) {
            wire.chunk(piece).await;
        }
        wire.chunk(b"").await;
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 201, "{version} {answer:?}");
        let digest = Sha256::of(&zip).to_string();
        assert_eq!(answer.json()["digest"], digest, "{version}");
        let pulled = admin.get(&format!("/blobs/{}", digest.replace(':', "/"))).await;
        assert_eq!(&pulled.body[..], zip, "{version}");
    }
    let zip = package("2.2").bytes();
    assert_eq!(admin.http2().upload_form(ACME, "mail.zip", &zip).await.status, 201);
    // As curl sends what is large: it waits to be asked.
    let zip = package("3.0").bytes();
    let length = zip.len().to_string();
    let headers = [
        ("content-type", "application/zip"),
        ("content-length", length.as_str()),
        ("expect", "100-continue"),
    ];
    let mut wire = Wire::admin(&server, &format!("POST {ACME}/upload"), &headers).await;
    assert_eq!(wire.head_of_answer().await, "HTTP/1.1 100 Continue\r\n\r\n");
    wire.write(&zip).await;
    assert_eq!(wire.answer().await.expect("an answer").status, 201);
}

/// Bytes that do not compress, always the same.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..count.div_ceil(8)).flat_map(|_| next()).take(count).collect()
}

const LIMIT: usize = 60_000;

/// Announces a body and waits to be asked for it, which must not happen.
async fn announce(server: &Server, token: Option<&str>, content_type: &str, length: usize) -> Answer {
    let mut wire = Wire::open(server).await;
    let (length, token) = (length.to_string(), token.map(|token| format!("Bearer {token}")));
    let mut headers =
        vec![("content-type", content_type), ("content-length", &*length), ("expect", "100-continue")];
    headers.extend(token.as_deref().map(|token| ("authorization", token)));
    wire.head(&format!("POST {ACME}/upload"), &headers).await;
    wire.answer().await.expect("an answer before the body")
}

#[tokio::test]
async fn refusals_come_in_their_order_and_before_the_body() {
    let server = Server::start(&[("MAX_PLUGIN_UPLOAD_BYTES", &LIMIT.to_string())]);
    let stored = Stored::now(&server);
    let token = async |catalog, role| server.token(&[(catalog, role)], json!({})).await;
    let (reader, stranger) = (token("acme", "org_member").await, token("corp", "publisher").await);
    let publisher = token("acme", "publisher").await;
    let zip = "application/zip";
    for (who, token, content_type, length, expected) in [
        ("anonymous", None, zip, LIMIT + 1, (401, "unauthorized")),
        ("bad", Some("quire_wrong"), zip, LIMIT + 1, (401, "unauthorized")),
        ("a reader", Some(&*reader), zip, LIMIT + 1, (403, "permission_missing")),
        ("a stranger", Some(&*stranger), zip, LIMIT + 1, (403, "not_a_member")),
        ("who may", Some(&*publisher), zip, LIMIT + 1, (413, "package_too_large")),
        // What is around the file in a form may take 64 KiB.
        (
            "by a form",
            Some(&*publisher),
            "multipart/form-data; boundary=x",
            LIMIT + 65_537,
            (413, "package_too_large"),
        ),
        ("another type", Some(&*publisher), "text/plain", 10, (400, "unsupported")),
    ] {
        let answer = announce(&server, token, content_type, length).await;
        assert_eq!(answer.problem(), (expected.0, expected.1.to_owned()), "{who}");
    }

    // Who does not say how much comes is stopped on the way.
    let too_much = noise(LIMIT + 1);
    for (content_type, body) in [(zip, too_much.clone()), form("a.zip", &too_much)] {
        let headers = [("content-type", content_type), ("transfer-encoding", "chunked")];
        let mut wire = Wire::admin(&server, &format!("POST {ACME}/upload"), &headers).await;
        for piece in body.chunks(10_000) {
            wire.chunk(piece).await;
        }
        // No end follows, and the answer comes all the same.
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.problem(), (413, "package_too_large".to_owned()), "{content_type}");
    }
    stored.is_the_same("after refusals").await;

    let room = LIMIT - package("1.0").file("noise", "").stored().bytes().len();
    let filled = |more: usize| package("1.0").file("noise", noise(room + more)).stored().bytes();
    let (fits, exceeds) = (filled(0), filled(1));
    assert_eq!((fits.len(), exceeds.len()), (LIMIT, LIMIT + 1));
    let publisher = Client::new(server.address, Some(&publisher));
    assert_eq!(publisher.upload(ACME, exceeds.clone()).await.status, 413);
    assert_eq!(publisher.upload_form(ACME, "mail.zip", &exceeds).await.status, 413);
    stored.is_the_same("one byte too many").await;
    assert_eq!(publisher.upload_form(ACME, "mail.zip", &fits).await.status, 201, "as many as may be");
    assert_eq!(publisher.upload(ACME, fits).await.status, 200);
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let stored = Stored::now(&server);

    let answer = admin.upload_form(ACME, "mail.tar.gz", b"\x1f\x8b\x08 no zip").await;
    assert_eq!(answer.problem(), (400, "package_invalid".to_owned()));
    let found = rules(&answer);
    assert_eq!(found[0], "upload.extension");
    assert!(found.len() > 1 && found[1..].iter().all(|rule| rule.starts_with("zip.")), "{found:?}");
    assert!(answer.json()["errors"][0]["message"].as_str().is_some_and(|text| text.contains("mail.tar.gz")));

    let wrong = Package::new("Not_A_Pid", "v1").field("description", json!("")).field("name", json!(7));
    let wrong = wrong.settings(json!([
        {"key": "a", "type": "int", "description": "x", "default": "no number"},
        {"key": "a", "type": "no type", "description": "x"},
        {"key": "b", "type": "str", "description": "x"},
        {"key": "b", "type": "str", "description": "x"},
    ]));
    for answer in
        [admin.upload(ACME, wrong.bytes()).await, admin.upload_form(ACME, "a.txt", &wrong.bytes()).await]
    {
        assert_eq!(answer.problem(), (400, "package_invalid".to_owned()));
        let found = rules(&answer);
        for rule in [
            "plugin.pid",
            "plugin.version",
            "plugin.description",
            "plugin.name",
            "settings.default",
            "settings.key",
            "settings.type",
        ] {
            assert!(found.iter().any(|found| found == rule), "{rule} {found:?}");
        }
        for error in answer.json()["errors"].as_array().expect("a list") {
            assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
            assert!(["error", "warning"].contains(&error["severity"].as_str().expect("a text")), "{error}");
            assert!(error.get("path").is_some() && error.get("hint").is_some(), "{error}");
        }
    }

    let zip = package("1.0").bytes();
    let mut damaged = zip.clone();
    // Inside of the content of the one file.
    damaged[60] ^= 1;
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("cut short", zip[..zip.len() - 1].to_vec()),
        ("with more behind it", [&zip[..], b"x"].concat()),
        ("with more before it", [b"x", &zip[..]].concat()),
        ("damaged", damaged),
    ] {
        let answer = admin.upload(ACME, bytes).await;
        assert_eq!(answer.problem(), (400, "package_invalid".to_owned()), "{what}");
    }

    let (content_type, whole) = form("mail.zip", &zip);
    let other = String::from_utf8_lossy(&whole).replace("name=\"file\"", "name=\"other\"").into_bytes();
    let twice = {
        let second =
            b"--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b.zip\"\r\n\r\nx\r\n";
        let end = whole.len() - b"--frontier--\r\n".len();
        [&whole[..end], second, b"--frontier--\r\n"].concat()
    };
    for (what, content_type, body) in [
        ("no file", content_type, other),
        ("two files", content_type, twice),
        ("no end", content_type, whole[..whole.len() - 6].to_vec()),
        ("no boundary", "multipart/form-data", whole.clone()),
        ("another boundary", "multipart/form-data; boundary=else", whole.clone()),
    ] {
        let headers = [("content-type", content_type)];
        let answer = admin.send("POST", &format!("{ACME}/upload"), &headers, body).await;
        assert_eq!(answer.problem(), (400, "invalid".to_owned()), "{what}");
        assert_eq!(answer.json()["errors"][0]["code"], "form", "{what}");
    }
    stored.is_the_same("after refusals").await;
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let server = Server::start(&[]);
    let stored = Stored::now(&server);
    let zip = package("1.0").file("noise", noise(50_000)).bytes();
    for (content_type, body) in [("application/zip", zip.clone()), form("mail.zip", &zip)] {
        let headers = [("content-type", content_type), ("transfer-encoding", "chunked")];
        let mut wire = Wire::admin(&server, &format!("POST {ACME}/upload"), &headers).await;
        wire.chunk(&body[..30_000]).await;
        wire.close_writing().await;
        drop(wire);
        stored.is_the_same(content_type).await;
    }
    assert_eq!(server.admin().read(ACME).await, json!([]));
}

#[tokio::test]
async fn a_version_has_its_bytes_for_ever() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let zip = package("1.0").bytes();
    let first = admin.publish(ACME, &package("1.0")).await;
    let stored = Stored::now(&server);
    let again = admin.upload_form(ACME, "again.zip", &zip).await;
    assert_eq!((again.status.as_u16(), &again.json()["id"]), (200, &first["id"]));

    let other = altered("1.0", "other");
    let theirs = Sha256::of(&zip).to_string();
    let refused = async |zip: &[u8], version: &str| {
        let answer = admin.upload(ACME, zip.to_vec()).await;
        assert_eq!(answer.problem(), (409, "version_taken".to_owned()), "{answer:?}");
        let context = &answer.json()["context"];
        let named = (&context["package"], &context["refused"], &context["tag"]);
        assert_eq!(named, (&json!(theirs), &json!(Sha256::of(zip).to_string()), &json!(version)));
    };
    refused(&other, "1.0").await;
    // The same version in another spelling, with whatever bytes.
    refused(&package("1.0.0").bytes(), "1.0").await;
    stored.is_the_same("after refusals").await;

    // Also after it was deleted: only the same may come back.
    assert_eq!(admin.delete(&format!("/v2/acme/{PID}/manifests/1.0")).await.status, 202);
    assert_eq!(admin.read(ACME).await, json!([]));
    for zip in [&other, &package("1.0.0").bytes()] {
        let answer = admin.upload(ACME, zip.clone()).await;
        assert_eq!(answer.problem(), (409, "version_taken".to_owned()), "{answer:?}");
    }
    assert_eq!(admin.upload(ACME, zip.clone()).await.status, 201);

    // By an OCI client the same zip has another manifest, and is that version all the same.
    let pushed = package("2.0").bytes();
    assert_eq!(admin.push_annotated(&format!("acme/{PID}"), "2.0", &pushed, "by hand").await.status, 201);
    let same = admin.upload(ACME, pushed.clone()).await;
    assert_eq!(same.status, 200, "{same:?}");
    let manifest = Sha256::of(annotated(&pushed, "by hand").to_string().as_bytes()).to_string();
    assert_eq!(same.json()["manifest_digest"], manifest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_at_once_makes_a_version() {
    let server = Server::start(&[]);
    let upload = async |zips: Vec<Vec<u8>>| -> BTreeMap<u16, Vec<Value>> {
        let uploads = zips.into_iter().map(|zip| {
            let admin = server.admin();
            tokio::spawn(async move { admin.upload(ACME, zip).await })
        });
        let mut answers = BTreeMap::<u16, Vec<Value>>::new();
        for upload in uploads.collect::<Vec<_>>() {
            let answer = upload.await.expect("an answer");
            answers.entry(answer.status.as_u16()).or_default().push(answer.json());
        }
        answers
    };
    let different = upload((0..16).map(|number| altered("1.0", &number.to_string())).collect()).await;
    let counts: Vec<_> = different.iter().map(|(status, bodies)| (*status, bodies.len())).collect();
    assert_eq!(counts, [(201, 1), (409, 15)], "{different:?}");
    let won = &different[&201][0]["digest"];
    assert!(different[&409].iter().all(|body| &body["context"]["package"] == won), "{different:?}");
    let same = upload(vec![package("2.0").bytes(); 16]).await;
    let counts: Vec<_> = same.iter().map(|(status, bodies)| (*status, bodies.len())).collect();
    assert_eq!(counts, [(200, 15), (201, 1)], "{same:?}");
    assert!(same[&200].iter().all(|body| body["id"] == same[&201][0]["id"]), "{same:?}");
    let versions = server.admin().read(&format!("{ACME}/{PID}/versions")).await;
    assert_eq!(each(&versions, "version"), ["2.0", "1.0"]);
    disk::staging_is_empty(&server).await;
}

#[tokio::test]
async fn a_digest_that_is_given_has_to_be_right() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let stored = Stored::now(&server);
    let zip = package("1.0").bytes();
    let right = Sha256::of(&zip).to_string();
    let long = sha512(&zip);
    for (digest, code) in [
        (Sha256::of(b"other").to_string(), "digest_invalid"),
        (format!("sha512:{}", "0".repeat(128)), "digest_invalid"),
        ("sha256:short".to_owned(), "digest_invalid"),
        ("".to_owned(), "digest_invalid"),
    ] {
        let answer = admin.upload_with(ACME, &format!("?digest={digest}"), zip.clone()).await;
        assert_eq!(answer.problem(), (400, code.to_owned()), "{digest}");
    }
    stored.is_the_same("after refusals").await;
    assert_eq!(admin.upload_with(ACME, &format!("?digest={right}"), zip.clone()).await.status, 201);
    let answer = admin.upload_with(ACME, &format!("?digest={long}"), zip.clone()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["digest"]),
        (200, &json!(right)),
        "SHA-512 is as good"
    );
}

/// Where a tag points to.
async fn tag(client: &Client, tag: &str) -> Value {
    let answer = client.head(&format!("/v2/acme/{PID}/manifests/{tag}")).await;
    match answer.status.as_u16() {
        200 => json!(answer.header("docker-content-digest")),
        _ => Value::Null,
    }
}

#[tokio::test]
async fn channels_come_with_their_version() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let contributor = server.caller(&[("acme", "contributor")]).await;
    let query = "?channel=stable&channel=beta&channel=stable";
    let first = contributor.upload_with(ACME, query, package("1.0").bytes()).await;
    assert_eq!(first.status, 201, "{first:?}");
    let first = first.json()["manifest_digest"].clone();
    for channel in ["stable", "beta", "latest", "1.0"] {
        assert_eq!(tag(&admin, channel).await, first, "{channel}");
    }
    let stored = Stored::now(&server);

    // Who may only create moves no channel, and nothing of such an upload stays.
    let answer = contributor.upload_with(ACME, "?channel=new&channel=stable", package("2.0").bytes()).await;
    assert_eq!(answer.problem(), (409, "create_only".to_owned()));
    let answer = admin.upload_with(ACME, "?channel=new&channel=3.0", package("2.0").bytes()).await;
    assert_eq!(rules(&answer), ["upload.channel"], "what is written as a version is no channel");
    stored.is_the_same("after refusals").await;
    assert_eq!((tag(&admin, "new").await, tag(&admin, "2.0").await), (Value::Null, Value::Null));
    assert_eq!(admin.upload_with(ACME, "?channel=v3", package("2.0").bytes()).await.status, 201);
    for query in ["?channel=-x", "?channel=", "?channel=a%2Fb"] {
        assert_eq!(admin.upload_with(ACME, query, package("3.0").bytes()).await.status, 400, "{query}");
    }
    let many: Vec<String> = (0..17).map(|number| format!("channel=c{number}")).collect();
    let answer = admin.upload_with(ACME, &format!("?{}", many.join("&")), package("3.0").bytes()).await;
    assert_eq!(answer.problem(), (414, "unsupported".to_owned()));

    // The same bytes again move what they are told to.
    let again = admin.upload_with(ACME, "?channel=stable&channel=old", package("1.0").bytes()).await;
    assert_eq!(again.status, 200, "{again:?}");
    let second = admin.upload_with(ACME, "?channel=stable", package("2.1").bytes()).await;
    assert_eq!(second.status, 201, "{second:?}");
    assert_eq!(tag(&admin, "stable").await, second.json()["manifest_digest"]);
    assert_eq!((tag(&admin, "old").await, tag(&admin, "beta").await), (first.clone(), first.clone()));
    let back = contributor.upload_with(ACME, "?channel=stable", package("1.0").bytes()).await;
    assert_eq!(back.problem(), (409, "create_only".to_owned()));
    assert_eq!(tag(&admin, "stable").await, second.json()["manifest_digest"]);

    // `latest` is no channel that anybody sets.
    let older = admin.upload_with(ACME, "?channel=latest", package("1.5").bytes()).await;
    assert_eq!(older.status, 201, "{older:?}");
    assert_eq!(tag(&admin, "latest").await, second.json()["manifest_digest"]);
}

#[tokio::test]
async fn tokens_bring_in_what_they_cover() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let stored = Stored::now(&server);
    let narrow = server.token(&[("acme", "publisher")], json!({"repositories": ["acme/com.acme.m*"]})).await;
    let narrow = Client::new(server.address, Some(&narrow));
    let refused = narrow.upload(ACME, Package::new("com.acme.other", "1.0").bytes()).await;
    assert_eq!(refused.problem(), (403, "permission_missing".to_owned()));
    stored.is_the_same("beyond its globs").await;
    assert_eq!(narrow.upload(ACME, package("1.0").bytes()).await.status, 201);

    let contributor = server.caller(&[("acme", "contributor")]).await;
    let made = contributor.upload(ACME, package("2.0").bytes()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.header("location");
    for (method, body) in [("PATCH", "{\"enabled\": false}"), ("DELETE", "")] {
        let answer = contributor.send(method, path, &[], body).await;
        assert_eq!(answer.problem(), (403, "create_only".to_owned()), "{method}");
    }
    assert_eq!(admin.read(path).await["enabled"], true);
    for who in [&contributor, &narrow] {
        let answer = who.upload(SYSTEM, package("1.0").bytes()).await;
        assert_eq!(answer.problem(), (403, "permission_missing".to_owned()));
        let answer = who.upload("/api/orgs/corp/plugins", package("1.0").bytes()).await;
        assert_eq!(answer.problem(), (403, "not_a_member".to_owned()));
    }
    let system = admin.upload(SYSTEM, package("1.0").bytes()).await.json();
    assert_eq!((&system["org_id"], &system["source"]), (&Value::Null, &json!("system")));
}

#[tokio::test]
async fn organisations_have_their_domain_and_their_quota() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let set = async |change: Value| {
        let answer = admin.send("PATCH", "/api/orgs/acme", &[], change.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    set(json!({"domain": "acme.com"})).await;
    let stored = Stored::now(&server);
    for pid in ["com.acmee.mail", "org.acme.mail", "com.corp"] {
        let answer = admin.upload(ACME, Package::new(pid, "1.0").bytes()).await;
        assert_eq!(answer.problem(), (400, "package_invalid".to_owned()), "{pid}");
        assert_eq!(rules(&answer), ["plugin.domain"], "{pid}");
    }
    stored.is_the_same("beyond the domain").await;
    for pid in ["com.acme", "com.acme.mail.smtp"] {
        admin.publish_version(ACME, pid, "1.0").await;
    }
    admin.publish_version("/api/orgs/corp/plugins", "com.acme.mail", "1.0").await;

    let used = admin.read("/api/orgs/acme").await["usage"]["bytes"].as_u64().expect("a number");
    set(json!({"quota": {"bytes": used + 100}})).await;
    let stored = Stored::now(&server);
    let full = admin.upload(ACME, package("1.0").bytes()).await;
    assert_eq!(full.problem(), (413, "quota_bytes".to_owned()));
    assert_eq!(full.json()["context"]["limit"], used + 100);
    stored.is_the_same("over the bytes").await;
    set(json!({"quota": {"bytes": null, "repositories": 2}})).await;
    let full = admin.upload(ACME, package("1.0").bytes()).await;
    assert_eq!(full.problem(), (403, "quota_repositories".to_owned()));
    stored.is_the_same("over the repositories").await;
    assert_eq!(admin.upload(ACME, Package::new("com.acme", "2.0").bytes()).await.status, 201);
}

/// The vectors of the specification, by every zip of their files, and on servers that know nothing of each other.
#[tokio::test]
async fn the_same_zip_is_the_same_artifact_everywhere() {
    let vectors: Value = serde_json::from_str(include_str!("../testdata/plugin-vectors.json")).expect("JSON");
    let (one, two) = (Server::start(&[]), Server::start(&[]));
    let vectors = vectors["accepted"].as_array().expect("a list");
    // Each in a catalog of its own, as some are the same version.
    let organisations = ["a", "acme", "c", "conf", "corp", "other", "x"];
    assert!(vectors.len() > 2 && vectors.len() < organisations.len(), "another catalog for each");
    for (vector, pair) in vectors.iter().zip(organisations.windows(2)) {
        let name = vector["name"].as_str().expect("a name");
        let files = vector["files"].as_object().expect("files");
        let files = files.iter().map(|(path, text)| (&**path, text.as_str().expect("a text").as_bytes()));
        let zip = zip_of(files, CompressionMethod::Deflated);
        let plugins = |organisation: &str| format!("/api/orgs/{organisation}/plugins");
        let first = one.admin().upload(&plugins(pair[0]), zip.clone()).await;
        assert_eq!(first.status, 201, "{name} {first:?}");
        let second = two.admin().upload_form(&plugins(pair[1]), "another name.zip", &zip).await;
        assert_eq!(second.status, 201, "{name} {second:?}");
        let (first, second) = (first.json(), second.json());
        let digest = first["manifest_digest"].as_str().expect("a digest");
        assert_eq!(second["manifest_digest"], digest, "{name}");

        let text = |field: &str| vector[field].as_str().expect("a text").to_owned();
        let zip_digest = Sha256::of(&zip).to_string();
        let layer = |digest: &str, size: u64| {
            format!("\"digest\":\"{digest}\",\"mediaType\":\"application/zip\",\"size\":{size}")
        };
        let theirs = layer(&text("zip_digest"), vector["zip_size"].as_u64().expect("a size"));
        let manifest = text("manifest").replace(&theirs, &layer(&zip_digest, zip.len() as u64));
        assert!(manifest.contains(&zip_digest), "{name}: the vector has its zip in it");
        assert_eq!(Sha256::of(manifest.as_bytes()).to_string(), digest, "{name}");
        let pid = first["pid"].as_str().expect("a pid");
        let repository = format!("/v2/{}/{pid}", pair[0]);
        let pulled = one.admin().get(&format!("{repository}/manifests/{digest}")).await;
        assert_eq!(pulled.body, Bytes::from(manifest), "{name}");
        let config = one.admin().get(&format!("{repository}/blobs/{}", text("config_digest"))).await;
        assert_eq!(config.body, Bytes::from(text("config")), "{name}");
    }
}

#[tokio::test]
async fn a_read_only_server_takes_no_plugin() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), &[]);
    server.admin().publish_version(ACME, PID, "1.0").await;
    server.kill();
    let server = Server::start_in(folder.path(), &[("READ_ONLY", "true")]);
    for version in ["1.0", "2.0"] {
        let answer = server.admin().upload(ACME, package(version).bytes()).await;
        assert_eq!(answer.problem(), (405, "unsupported".to_owned()), "{version}");
    }
    assert_eq!(each(&server.admin().read(ACME).await, "version"), ["1.0"]);
}

/// Uploads are written down as they come: what they need in memory does not grow with them.
#[cfg(feature = "interop")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_uploads_need_little_memory() {
    const SIZE: usize = 40 << 20;
    const MOST_IN_KIBIBYTES: u64 = 96 << 10;
    let server = Server::start(&[]);
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a server");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("kibibytes")
    };
    let zip = Bytes::from(package("1.0").file("noise", noise(SIZE)).stored().bytes());
    let catalogs =
        ["a", "acme", "c", "conf", "corp", "other", "x"].map(|id| format!("/api/orgs/{id}/plugins"));
    let uploads = catalogs.into_iter().chain([SYSTEM.to_owned()]).map(|plugins| {
        let (admin, zip) = (server.admin(), zip.clone());
        tokio::spawn(async move { admin.upload(&plugins, zip).await })
    });
    for upload in uploads.collect::<Vec<_>>() {
        let answer = upload.await.expect("an answer");
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    assert!(peak() < MOST_IN_KIBIBYTES, "{} KiB", peak());
    disk::staging_is_empty(&server).await;
}

/// A repository may have been used for something else before, and rules for tags may be stricter than versions.
#[tokio::test]
async fn other_tags_and_their_rules_stay() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let repository = format!("acme/{PID}");
    let image = admin.push_artifact(&repository, "1.0", "no plugin").await;
    for channel in ["latest", "old"] {
        assert_eq!(admin.push_artifact(&repository, channel, "no plugin").await, image);
    }
    let stored = Stored::now(&server);
    let contributor = server.caller(&[("acme", "contributor")]).await;
    let refused = contributor.upload(ACME, package("1.0").bytes()).await;
    assert_eq!(refused.problem(), (409, "create_only".to_owned()), "it would move a tag");
    stored.is_the_same("a tag that is there").await;
    assert_eq!(tag(&admin, "1.0").await, json!(image));
    let first = admin.publish(ACME, &package("1.0")).await;
    assert_eq!(tag(&admin, "1.0").await, first["manifest_digest"], "who may move tags may take it");
    let plugin = admin.publish(ACME, &package("1.1")).await;
    assert_eq!(tag(&admin, "latest").await, plugin["manifest_digest"], "latest is the plugin's now");
    assert_eq!(tag(&admin, "old").await, json!(image));

    let rules = json!({"immutable": [{"repositories": "acme/*", "tags": "*"}]}).to_string();
    assert_eq!(admin.send("PUT", "/api/catalogs/acme/tag-rules", &[], rules).await.status, 200);
    let stored = Stored::now(&server);
    let refused = admin.upload_with(ACME, "?channel=new&channel=old", package("1.2").bytes()).await;
    assert_eq!(refused.problem(), (409, "tag_immutable".to_owned()));
    assert_eq!(tag(&admin, "new").await, Value::Null);
    stored.is_the_same("an immutable channel").await;
    let answer = admin.upload_with(ACME, "?channel=new", package("1.2").bytes()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(tag(&admin, "latest").await, answer.json()["manifest_digest"], "no rule holds latest back");
}
