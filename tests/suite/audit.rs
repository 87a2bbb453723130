//! The audit log: a line for every change and every refusal by a rule, for those who may read it, and no secret.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::attacks::{client, index, issuer, of, put};
use crate::harness::package::{Package, artifact};
use crate::harness::store::has_no_file;
use crate::harness::{ADMIN_TOKEN, Answer, Client, Server, image};
use crate::issuing::{Key, Kind, grants};
use crate::matrix::{Ids, made, rows};

/// The lines that somebody reads.
async fn lines(client: &Client, query: &str) -> Vec<Value> {
    let answer = client.get(&format!("/api/audit{query}")).await;
    assert_eq!(answer.status, 200, "{query} {answer:?}");
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert_eq!(answer.header("cache-control"), "private, no-cache");
    let text = str::from_utf8(&answer.body).expect("a text");
    assert!(text.is_empty() || text.ends_with('\n'), "no line is cut off");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn ids(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["id"].as_u64().expect("an id")).collect()
}

/// Who does something, and the grant by which they may.
struct Actor {
    subject: String,
    rule: &'static str,
    client: Client,
}

impl Actor {
    async fn new(server: &Server, catalog: &str, role: &str, rule: &'static str) -> Self {
        let (id, token) = made(&server.admin(), catalog, role, json!({})).await;
        Self { subject: format!("token:{id}"), rule, client: client(server, &token) }
    }

    fn admin(server: &Server) -> Self {
        Self { subject: "admin".to_owned(), rule: "sys_admin on system", client: server.admin() }
    }

    fn as_client(&self, client: Client) -> Self {
        Self { subject: self.subject.clone(), rule: self.rule, client }
    }
}

/// The log as it grows.
struct Log {
    admin: Client,
    after: u64,
}

impl Log {
    async fn new(server: &Server) -> Self {
        let mut log = Self { admin: server.admin(), after: 0 };
        log.news().await;
        log
    }

    /// What came since the last time.
    async fn news(&mut self) -> Vec<Value> {
        let news = lines(&self.admin, &format!("?after={}", self.after)).await;
        for id in ids(&news) {
            assert!(id > self.after, "ids grow");
            self.after = id;
        }
        news
    }

    /// The request of this answer is told by these lines, each an action, a catalog and an object.
    async fn tells(
        &mut self,
        answer: &Answer,
        actor: &str,
        (outcome, rule): (&str, &str),
        expected: &[(&str, Option<&str>, &str)],
    ) {
        let mut news = self.news().await;
        for line in &mut news {
            let line = line.as_object_mut().expect("an object");
            line.remove("id");
            let at = line.remove("at").expect("a time");
            let at = at.as_str().expect("a text");
            assert_eq!((at.len(), at.ends_with('Z')), (24, true), "{at}: UTC in milliseconds");
            let age = jiff::Timestamp::now().duration_since(at.parse().expect("a time"));
            assert!(age.as_secs().abs() < 60, "{at}");
        }
        let request_id = answer.header("x-request-id");
        assert!(!request_id.is_empty());
        let line = |(action, catalog, object): &(&str, Option<&str>, &str)| {
            json!({
                "actor": actor, "action": action, "catalog": catalog, "object": object, "outcome": outcome,
                "rule": rule, "address": "127.0.0.1", "request_id": request_id,
            })
        };
        assert_eq!(news, expected.iter().map(line).collect::<Vec<_>>(), "{answer:?}");
    }

    /// A change was made, and told.
    async fn done(
        &mut self,
        actor: &Actor,
        answer: &Answer,
        status: u16,
        expected: &[(&str, Option<&str>, &str)],
    ) {
        assert_eq!(answer.status, status, "{answer:?}");
        self.tells(answer, &actor.subject, ("done", actor.rule), expected).await;
    }

    /// A request that is not told.
    async fn silent(&mut self, answer: &Answer, status: u16) {
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(self.news().await, [] as [Value; 0], "{answer:?}");
    }
}

const ACME: Option<&str> = Some("acme");

/// A manifest of nothing and its digest.
fn manifest(number: impl ToString) -> (Value, String) {
    let manifest = index(number);
    let digest = of(&manifest.to_string());
    (manifest, digest)
}

fn tag(tag: &str, digest: &str) -> Value {
    json!({"repository": "acme/tool", "tag": tag, "digest": digest})
}

async fn send(client: &Client, line: &str, body: &Value) -> Answer {
    let (method, path) = line.split_once(' ').expect("a method and a path");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    client.send(method, path, &[], body).await
}

#[tokio::test]
async fn each_change_of_a_blob_is_one_line() {
    let server = Server::start(&[]);
    let publisher = Actor::new(&server, "acme", "publisher", "publisher on acme").await;
    let mut log = Log::new(&server).await;
    let (a, b) = (of("a"), of("b"));
    let push = format!("/v2/acme/tool/blobs/uploads/?digest={a}");
    let answer = publisher.client.send("POST", &push, &[], "a").await;
    log.done(&publisher, &answer, 201, &[("blob.push", ACME, &format!("acme/tool@{a}"))]).await;
    log.silent(&publisher.client.send("POST", &push, &[], "a").await, 201).await;

    let through_session = async |client: &Client, log: &mut Log| {
        let opened = client.send("POST", "/v2/acme/tool/blobs/uploads/", &[], "").await;
        log.silent(&opened, 202).await;
        let session = opened.header("location");
        log.silent(&client.send("PATCH", session, &[], "b").await, 202).await;
        log.silent(&client.get(session).await, 204).await;
        client.send("PUT", &format!("{session}?digest={b}"), &[], "").await
    };
    // By a short token it is still who made it.
    let short = publisher.as_client(publisher.client.short(&["acme/tool:pull,push"]).await);
    let answer = through_session(&short.client, &mut log).await;
    log.done(&short, &answer, 201, &[("blob.push", ACME, &format!("acme/tool@{b}"))]).await;
    let answer = through_session(&publisher.client, &mut log).await;
    log.silent(&answer, 201).await;
    let session = publisher.client.open_session("acme/tool").await;
    log.silent(&publisher.client.delete(&session).await, 204).await;

    let mount = |from: &str| format!("/v2/acme/other/blobs/uploads/?mount={a}{from}");
    for (from, told) in [("&from=acme/nowhere", None), ("&from=acme/tool", Some(&a)), ("", None)] {
        let answer = publisher.client.send("POST", &mount(from), &[], "").await;
        match told {
            Some(digest) => {
                let object = format!("acme/other@{digest}");
                log.done(&publisher, &answer, 201, &[("blob.mount", ACME, &object)]).await;
            }
            None => log.silent(&answer, if from.is_empty() { 201 } else { 202 }).await,
        }
    }

    let blob = format!("/v2/acme/other/blobs/{a}");
    let answer = publisher.client.delete(&blob).await;
    log.done(&publisher, &answer, 202, &[("blob.delete", ACME, &format!("acme/other@{a}"))]).await;
    log.silent(&publisher.client.delete(&blob).await, 404).await;
}

#[tokio::test]
async fn each_change_of_a_manifest_or_tag_is_one_line() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let jwt = issuing.token(Kind::Hs256, grants(&[("acme", "publisher")]));
    let somebody = Actor {
        subject: "jwt:secret:somebody-Hs256".to_owned(),
        rule: "publisher on acme",
        client: client(&server, &jwt),
    };
    let mut log = Log::new(&server).await;
    let ((one, first), (two, second)) = (manifest(1), manifest(2));
    let at = |reference: &str, digest: &str| format!("acme/tool{reference}@{digest}");
    let pushes = |digest: &str| ("manifest.push", ACME, at("", digest));
    let sets = |tag: &str, digest: &str| ("tag.set", ACME, at(&format!(":{tag}"), digest));
    for (reference, manifest, expected) in [
        (first.clone(), &one, vec![pushes(&first)]),
        ("latest".to_owned(), &one, vec![sets("latest", &first)]),
        (
            "latest?tag=1&tag=stable&tag=1".to_owned(),
            &two,
            vec![pushes(&second), sets("1", &second), sets("stable", &second), sets("latest", &second)],
        ),
        (format!("{first}?tag=stable"), &one, vec![sets("stable", &first)]),
    ] {
        let path = format!("acme/tool/manifests/{reference}");
        let answer = put(&somebody.client, &path, manifest, &[]).await;
        let expected: Vec<(&str, Option<&str>, &str)> =
            expected.iter().map(|(action, catalog, object)| (*action, *catalog, object.as_str())).collect();
        log.done(&somebody, &answer, 201, &expected).await;
        log.silent(&put(&somebody.client, &path, manifest, &[]).await, 201).await;
    }

    // `latest` is there already.
    let tags = json!([tag("b", &second), tag("latest", &second), tag("a", &first)]);
    let answer = send(&somebody.client, "POST /api/catalogs/acme/tags", &tags).await;
    let (b, a) = (sets("b", &second).2, sets("a", &first).2);
    log.done(&somebody, &answer, 204, &[("tag.set", ACME, &b), ("tag.set", ACME, &a)]).await;
    log.silent(&send(&somebody.client, "POST /api/catalogs/acme/tags", &tags).await, 204).await;
    let none = send(&somebody.client, "POST /api/catalogs/acme/tags", &json!([])).await;
    log.silent(&none, 204).await;

    let answer = somebody.client.delete("/v2/acme/tool/manifests/b").await;
    log.done(&somebody, &answer, 202, &[("tag.delete", ACME, &b)]).await;
    log.silent(&somebody.client.delete("/v2/acme/tool/manifests/b").await, 404).await;
    let path = format!("/v2/acme/tool/manifests/{first}");
    let answer = somebody.client.delete(&path).await;
    let (stable, whole) = (sets("stable", &first).2, at("", &first));
    let expected =
        [("tag.delete", ACME, &*a), ("tag.delete", ACME, &*stable), ("manifest.delete", ACME, &*whole)];
    log.done(&somebody, &answer, 202, &expected).await;
    log.silent(&somebody.client.delete(&path).await, 404).await;
}

#[tokio::test]
async fn each_change_of_who_may_do_what_is_one_line() {
    let server = Server::start(&[]);
    let admin = Actor::admin(&server);
    let org_admin = Actor::new(&server, "acme", "org_admin", "org_admin on acme").await;
    let mut log = Log::new(&server).await;
    let organisation = json!({"id": "initech", "name": "Initech", "domain": "initech.test"});
    let initech = Some("initech");
    let answer = send(&admin.client, "POST /api/orgs", &organisation).await;
    log.done(&admin, &answer, 201, &[("organisation.create", initech, "initech")]).await;
    let answer = send(&admin.client, "PATCH /api/orgs/initech", &json!({"quota": {"bytes": 9}})).await;
    log.done(&admin, &answer, 200, &[("organisation.update", initech, "initech")]).await;
    let again = send(&admin.client, "PATCH /api/orgs/initech", &json!({"quota": {"bytes": 9}})).await;
    log.silent(&again, 200).await;
    let answer = send(&admin.client, "DELETE /api/orgs/initech", &Value::Null).await;
    log.done(&admin, &answer, 204, &[("organisation.delete", initech, "initech")]).await;
    log.silent(&send(&admin.client, "DELETE /api/orgs/initech", &Value::Null).await, 404).await;

    let grant = |catalog: &str| json!({"catalog": catalog, "role": "publisher"});
    for (actor, catalogs) in [(&org_admin, &["acme"][..]), (&admin, &["acme", "corp"]), (&admin, &["system"])]
    {
        let body = json!({"name": "ci", "grants": catalogs.iter().map(|on| grant(on)).collect::<Vec<_>>()});
        let answer = send(&actor.client, "POST /api/tokens", &body).await;
        let id = answer.json()["id"].as_str().expect("an id").to_owned();
        let object = format!("token:{id}");
        let lines = |action| catalogs.iter().map(|on| (action, Some(*on), &*object)).collect::<Vec<_>>();
        log.done(actor, &answer, 201, &lines("token.create")).await;
        let path = format!("/api/tokens/{id}");
        let answer = actor.client.delete(&path).await;
        log.done(actor, &answer, 204, &lines("token.revoke")).await;
        log.silent(&actor.client.delete(&path).await, 404).await;
    }
    // Of a token on two catalogs an organisation's admin takes their own part away, and it alone is told.
    let (id, token) =
        made(&admin.client, "corp", "publisher", json!({"grants": [grant("acme"), grant("corp")]})).await;
    log.news().await;
    let answer = org_admin.client.delete(&format!("/api/tokens/{id}")).await;
    let object = format!("token:{id}");
    log.done(&org_admin, &answer, 204, &[("token.revoke", ACME, &object)]).await;
    // A token revokes itself.
    let answer = client(&server, &token).delete(&format!("/api/tokens/{id}")).await;
    assert_eq!(answer.status, 204);
    log.tells(&answer, &object, ("done", "own token"), &[("token.revoke", Some("corp"), &object)]).await;

    let rules = json!({"immutable": [{"repositories": "acme/**", "tags": "v*"}]});
    let answer = send(&org_admin.client, "PUT /api/catalogs/acme/tag-rules", &rules).await;
    log.done(&org_admin, &answer, 200, &[("tag_rules.set", ACME, "acme")]).await;
    log.silent(&send(&org_admin.client, "PUT /api/catalogs/acme/tag-rules", &rules).await, 200).await;
}

#[tokio::test]
async fn reading_is_not_told() {
    let server = Server::start(&[]);
    server.admin().push_artifact("acme/tool", "latest", "layer").await;
    let clients = [
        server.admin(),
        server.caller(&[("acme", "org_admin")]).await,
        server.caller(&[("corp", "publisher")]).await,
        server.anonymous(),
    ];
    let mut log = Log::new(&server).await;
    let reads: Vec<_> = rows().into_iter().filter(|row| row.method == "GET").collect();
    assert!(reads.len() > 30, "there are reads");
    for row in reads {
        let (path, _) = row.request("publisher", &Ids::default());
        for client in &clients {
            for method in ["GET", "HEAD"] {
                client.send(method, &path, &[], "").await;
            }
        }
    }
    assert_eq!(log.news().await, [] as [Value; 0]);
}

/// Who asks, the status, the request, its body, and the line: code, action, catalog and object. `-` is nothing.
const REFUSALS: &str = "
reader      403 POST /v2/acme/tool/blobs/uploads/?digest={ten} ten permission_missing blob.push acme acme/tool@{ten}
reader      403 POST /v2/acme/tool/blobs/uploads/ - permission_missing blob.push acme acme/tool
reader      403 PATCH {session} ten permission_missing blob.push acme acme/tool
reader      403 DELETE {session} - permission_missing blob.push acme acme/tool
reader      403 PUT {session}?digest={ten} - permission_missing blob.push acme acme/tool@{ten}
reader      403 POST /v2/acme/tool/blobs/uploads/?mount={layer} - permission_missing blob.mount acme acme/tool@{layer}
reader      403 DELETE /v2/acme/tool/blobs/{layer} - permission_missing blob.delete acme acme/tool@{layer}
contributor 403 DELETE /v2/acme/tool/blobs/{layer} - create_only blob.delete acme acme/tool@{layer}
stranger    403 POST /v2/acme/tool/blobs/uploads/?digest={ten} ten not_a_member blob.push acme acme/tool@{ten}
short       403 POST /v2/corp/tool/blobs/uploads/?digest={ten} ten not_a_member blob.push corp corp/tool@{ten}
publisher   403 POST /v2/ghost/tool/blobs/uploads/?digest={ten} ten not_a_member blob.push ghost ghost/tool@{ten}
publisher   403 POST /v2/system/tool/blobs/uploads/?digest={ten} ten permission_missing blob.push system system/tool@{ten}
stranger    413 POST /v2/corp/tool/blobs/uploads/?digest={ten} ten quota_bytes blob.push corp corp/tool@{ten}
admin       403 POST /v2/other/tool/blobs/uploads/?digest={ten} ten quota_repositories blob.push other other/tool@{ten}
stranger    403 PUT /v2/acme/tool/manifests/new index not_a_member manifest.push acme acme/tool:new
reader      403 PUT /v2/acme/tool/manifests/{index}?tag=x index permission_missing manifest.push acme acme/tool@{index}
contributor 403 PUT /v2/acme/tool/manifests/latest index create_only manifest.push acme acme/tool:latest
publisher   403 PUT {mail}/manifests/1.0 changed version_immutable manifest.push acme acme/com.acme.mail:1.0
publisher   403 PUT {mail}/manifests/1.0 index not_this_version manifest.push acme acme/com.acme.mail:1.0
publisher   403 PUT {mail}/manifests/latest index latest_follows manifest.push acme acme/com.acme.mail:latest
publisher   413 PUT {mail}/manifests/2.0 beyond-limit package_too_large manifest.push acme acme/com.acme.mail:2.0
publisher   403 PUT /v2/acme/tool/manifests/v1 index tag_immutable manifest.push acme acme/tool:v1
publisher   403 PUT /v2/acme/tool/manifests/{index}?tag=x&tag=v1 index tag_immutable manifest.push acme acme/tool@{index}
publisher   412 PUT /v2/acme/tool/manifests/latest absent tag_moved manifest.push acme acme/tool:latest
publisher   413 PUT /v2/acme/tool/manifests/large large size_invalid manifest.push acme acme/tool:large
stranger    413 PUT /v2/corp/tool/manifests/a index quota_bytes manifest.push corp corp/tool:a
contributor 403 DELETE /v2/acme/tool/manifests/latest - create_only tag.delete acme acme/tool:latest
contributor 403 DELETE /v2/acme/tool/manifests/{latest} - create_only manifest.delete acme acme/tool@{latest}
stranger    403 POST /api/catalogs/acme/tags empty not_a_member tag.set acme acme
contributor 409 POST /api/catalogs/acme/tags move create_only tag.set acme acme
publisher   412 POST /api/catalogs/acme/tags moved tag_moved tag.set acme acme
publisher   409 POST /api/catalogs/acme/tags v1 tag_immutable tag.set acme acme
publisher   409 POST /api/catalogs/acme/tags both not_this_version tag.set acme acme
publisher   409 POST /api/catalogs/acme/tags latest latest_follows tag.set acme acme
publisher   403 PUT /api/catalogs/acme/tag-rules empty permission_missing tag_rules.set acme acme
stranger    403 PUT /api/catalogs/ghost/tag-rules empty permission_missing tag_rules.set ghost ghost
reader      403 POST /api/orgs empty permission_missing organisation.create - -
admin       409 POST /api/orgs acme org_exists organisation.create - -
admin       409 POST /api/orgs taken domain_taken organisation.create - -
admin       413 POST /api/orgs huge body_too_large organisation.create - -
publisher   403 PATCH /api/orgs/acme empty permission_missing organisation.update acme acme
admin       409 PATCH /api/orgs/acme domain domain_taken organisation.update acme acme
admin       409 DELETE /api/orgs/acme - org_not_empty organisation.delete acme acme
publisher   403 DELETE /api/orgs/No-Catalog - permission_missing organisation.delete - No-Catalog
publisher   403 POST /api/tokens grant permission_missing token.create - -
manager     403 POST /api/tokens grant not_a_member token.create - -
publisher   403 DELETE /api/tokens/{token} - permission_missing token.revoke - token:{token}
publisher   403 DELETE /api/tokens/no-id - permission_missing token.revoke - -
";

/// The same without a line in the log.
const SILENT: &str = "
publisher   400 POST /v2/acme/tool/blobs/uploads/?digest={ten} index
publisher   400 POST /v2/acme/tool/blobs/uploads/?digest={ten}0 ten
publisher   404 DELETE /v2/acme/tool/blobs/{ten} -
publisher   404 DELETE /v2/acme/tool/manifests/{ten} -
publisher   404 DELETE /v2/acme/tool/manifests/nothing -
publisher   404 DELETE {session} -
publisher   400 PUT /v2/acme/tool/manifests/a empty
publisher   404 PUT /v2/acme/tool/manifests/a lacking
publisher   400 PUT {mail}/manifests/2.0 changed
publisher   400 PUT {mail}/manifests/beta no-zip
publisher   416 PATCH {mine} beyond
publisher   405 POST /v2/acme/tool/manifests/a -
publisher   400 POST /api/catalogs/acme/tags grant
publisher   404 POST /api/catalogs/acme/tags unknown
admin       400 POST /api/orgs empty
admin       404 PATCH /api/orgs/ghost domain
admin       404 DELETE /api/orgs/system -
admin       400 POST /api/tokens empty
admin       404 DELETE /api/tokens/no-id -
admin       400 PUT /api/catalogs/acme/tag-rules empty
anonymous   401 POST /v2/acme/tool/blobs/uploads/?digest={ten} ten
anonymous   401 POST /api/orgs empty
wrong       401 POST /v2/acme/tool/blobs/uploads/?digest={ten} ten
wrong       401 DELETE /api/orgs/acme -
short       401 POST /v2/acme/other/blobs/uploads/?digest={ten} ten
short       401 POST /api/catalogs/acme/tags empty
nobodys     401 POST /v2/acme/tool/blobs/uploads/?digest={ten} ten
nobody      403 POST /v2/acme/tool/blobs/uploads/?digest={ten} ten
nobody      403 POST /api/orgs empty
nobody      403 POST /api/tokens empty
nobody      403 DELETE /v2/acme/tool/manifests/latest -
nobody      403 DELETE /api/orgs/acme -
";

#[tokio::test]
async fn each_refusal_by_a_rule_is_one_line_and_no_other_refusal_is_told() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let admin = server.admin();
    let latest = admin.push_artifact("acme/tool", "latest", "layer").await;
    let kept = index("kept");
    assert_eq!(admin.put_manifest("acme/tool", "v1", &kept).await.status, 201);
    let (mail, package) = ("acme/com.acme.mail", Package::new("com.acme.mail", "1.0"));
    let (zip, other_zip) = (package.bytes(), package.file("more", "").bytes());
    for pushed in [admin.push_plugin(mail, "1.0", &zip).await, admin.put_manifest(mail, "beta", &kept).await]
    {
        assert_eq!(pushed.status, 201, "{pushed:?}");
    }
    admin.push_package(mail, &other_zip).await;
    let rules = json!({"immutable": [{"repositories": "acme/**", "tags": "v*"}]});
    assert_eq!(send(&admin, "PUT /api/catalogs/acme/tag-rules", &rules).await.status, 200);
    for (line, change) in [
        ("PATCH /api/orgs/corp", json!({"quota": {"bytes": 9}})),
        ("PATCH /api/orgs/other", json!({"quota": {"repositories": 0}, "domain": "other.test"})),
    ] {
        assert_eq!(send(&admin, line, &change).await.status, 200);
    }
    let (token, _) = made(&admin, "acme", "publisher", json!({})).await;
    let publisher = Actor::new(&server, "acme", "publisher", "").await;
    let actor = |client| Actor { subject: String::new(), rule: "", client };
    let short = publisher.client.short(&["acme/tool:pull,push"]).await;
    let mine = publisher.client.open_session("acme/tool").await;
    let actors = [
        ("admin", Actor::admin(&server)),
        ("reader", Actor::new(&server, "acme", "org_member", "").await),
        ("contributor", Actor::new(&server, "acme", "contributor", "").await),
        ("stranger", Actor::new(&server, "corp", "publisher", "").await),
        ("manager", Actor::new(&server, "corp", "org_admin", "").await),
        ("short", publisher.as_client(short)),
        ("publisher", publisher),
        ("anonymous", actor(server.anonymous())),
        ("wrong", actor(client(&server, "quire_wrong"))),
        ("nobodys", actor(server.anonymous().short(&["acme/tool:push"]).await)),
        ("nobody", actor(client(&server, &issuing.token(Kind::Rs256, json!({}))))),
    ];
    let (other, other_digest) = manifest("other");
    let ten = of("0123456789");
    let (layer, session) = (of("layer"), "/v2/acme/tool/blobs/uploads/01976f4e-0000-7000-8000-000000000000");
    let values = [
        ("{ten}", &*ten),
        ("{layer}", &*layer),
        ("{latest}", &*latest),
        ("{index}", &*other_digest),
        ("{token}", &*token),
        ("{session}", session),
        ("{mine}", &*mine),
        ("{mail}", "/v2/acme/com.acme.mail"),
    ];
    let filled =
        |text: &str| values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let of_index = ("content-type", "application/vnd.oci.image.index.v1+json");
    let of_image = ("content-type", "application/vnd.oci.image.manifest.v1+json");
    let absent = json!([{"repository": "acme/tool", "tag": "latest", "digest": latest, "expected": null}]);
    let of_kept = of(&kept.to_string());
    let moving = json!([tag("latest", &of_kept)]);
    let of_mail = |name: &str| json!({"repository": mail, "tag": name, "digest": of_kept});
    let both = json!([of_mail("1.0"), tag("v1", &latest)]);
    let mut beyond_limit = artifact(&zip);
    beyond_limit["layers"][0]["size"] = json!(1_u64 << 40);
    let mut no_zip = artifact(b"0123456789");
    no_zip["layers"][0]["mediaType"] = json!("text/plain");
    let grant = json!({"name": "x", "grants": [{"catalog": "acme", "role": "publisher"}]});
    let body = |name: &str| match name {
        "-" => (vec![], String::new()),
        "ten" => (vec![], "0123456789".to_owned()),
        "beyond" => (vec![("content-range", "5-5")], "x".to_owned()),
        "index" => (vec![of_index], other.to_string()),
        "absent" => (vec![of_index, ("if-none-match", "*")], other.to_string()),
        "large" => (vec![of_index], " ".repeat((4 << 20) + 1)),
        "lacking" => (vec![of_image], image(&of("nothing"), 2, &[]).to_string()),
        "empty" => (vec![of_index], "{}".to_owned()),
        "move" => (vec![], moving.to_string()),
        "moved" => (vec![], absent.to_string()),
        "v1" => (vec![], json!([tag("v1", &latest)]).to_string()),
        "both" => (vec![], both.to_string()),
        "latest" => (vec![], json!([of_mail("latest")]).to_string()),
        "changed" => (vec![of_image], artifact(&other_zip).to_string()),
        "beyond-limit" => (vec![of_image], beyond_limit.to_string()),
        "no-zip" => (vec![of_image], no_zip.to_string()),
        "unknown" => (vec![], json!([tag("a", &ten)]).to_string()),
        "acme" => (vec![], json!({"id": "acme"}).to_string()),
        "taken" => (vec![], json!({"id": "globex", "domain": "other.test"}).to_string()),
        "domain" => (vec![], json!({"domain": "other.test"}).to_string()),
        "huge" => (vec![], format!("\"{}\"", "x".repeat(1 << 20))),
        "grant" => (vec![], grant.to_string()),
        other => panic!("no body is called {other}"),
    };
    let mut log = Log::new(&server).await;
    for row in REFUSALS.lines().chain(SILENT.lines()).filter(|row| !row.is_empty()) {
        let words: Vec<String> = row.split_whitespace().map(filled).collect();
        let [who, status, method, path, named, line @ ..] = &words[..] else { panic!("{row}") };
        let (_, actor) = actors.iter().find(|(name, _)| name == who).expect("an actor");
        let (headers, body) = body(named);
        let answer = actor.client.send(method, path, &headers, body).await;
        assert_eq!(answer.status.as_str(), status, "{row} {answer:?}");
        match line {
            [code, action, catalog, object] => {
                let given = |text: &str| (text != "-").then(|| text.to_owned());
                let (catalog, object) = (given(catalog), given(object).unwrap_or_default());
                let line = (action.as_str(), catalog.as_deref(), object.as_str());
                log.tells(&answer, &actor.subject, ("refused", code), &[line]).await;
            }
            _ => log.silent(&answer, answer.status.as_u16()).await,
        }
    }
}

#[tokio::test]
async fn a_server_that_only_reads_writes_no_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), &[]);
    let digest = server.admin().push_artifact("acme/tool", "latest", "layer").await;
    let token = server.token(&[("acme", "org_member")], json!({})).await;
    let before = lines(&server.admin(), "").await;
    server.terminate();
    assert!(server.wait());
    let server = Server::start_in(folder.path(), &[("READ_ONLY", "true")]);
    let path = format!("/v2/acme/tool/manifests/{digest}");
    assert_eq!(client(&server, &token).delete(&path).await.status, 403);
    assert_eq!(server.admin().delete(&path).await.status, 405);
    assert_eq!(send(&server.admin(), "POST /api/orgs", &json!({"id": "acme"})).await.status, 405);
    assert!(before.len() > 5);
    assert_eq!(lines(&server.admin(), "").await, before);
}

#[tokio::test]
async fn who_manages_an_organisation_reads_its_lines_and_no_others() {
    let server = Server::start(&[]);
    let grants = [("acme", "org_admin"), ("corp", "org_admin")];
    let (acme, both) = (server.caller(&grants[..1]).await, server.caller(&grants).await);
    let publisher = server.caller(&[("acme", "publisher")]).await;
    let system = server.caller(&[("system", "sys_admin")]).await;
    for repository in ["acme/tool", "corp/tool", "other/tool", "system/tool"] {
        server.admin().push_artifact(repository, "latest", repository.to_owned()).await;
        publisher.push_blob("acme/other", repository.to_owned()).await;
    }
    // About no catalog.
    assert_eq!(send(&publisher, "POST /api/orgs", &json!({})).await.status, 403);
    let all = lines(&server.admin(), "").await;
    let of = |catalogs: &[&str]| {
        let about = |line: &&Value| catalogs.iter().any(|catalog| line["catalog"] == *catalog);
        all.iter().filter(about).cloned().collect::<Vec<_>>()
    };
    for catalog in ["acme", "corp", "other", "system"] {
        assert!(of(&[catalog]).len() > 4, "there is something about {catalog}");
        assert_eq!(lines(&system, &format!("?catalog={catalog}")).await, of(&[catalog]));
    }
    assert_eq!(all.iter().filter(|line| line["catalog"].is_null()).count(), 1);
    assert_eq!(lines(&system, "").await, all);
    for query in ["", "?catalog=acme"] {
        assert_eq!(lines(&acme, query).await, of(&["acme"]), "{query}");
    }
    assert_eq!(lines(&both, "").await, of(&["acme", "corp"]));
    assert_eq!(lines(&both, "?catalog=corp").await, of(&["corp"]));
    assert_eq!(lines(&system, "?catalog=ghost").await, [] as [Value; 0]);
    for (client, query, code) in [
        (&acme, "?catalog=corp", "not_a_member"),
        (&acme, "?catalog=ghost", "not_a_member"),
        (&acme, "?catalog=", "not_a_member"),
        (&acme, "?catalog=system", "permission_missing"),
        (&publisher, "", "permission_missing"),
        (&publisher, "?catalog=acme", "permission_missing"),
        (&publisher, "?catalog=corp", "permission_missing"),
    ] {
        let answer = client.get(&format!("/api/audit{query}")).await;
        assert_eq!(answer.problem(), (403, code.to_owned()), "{query}");
    }
    for query in
        ["?after=x", "?after=-1", "?limit=", "?limit=1.5", "?after=1&after=2", "?catalog=a&catalog=b"]
    {
        let answer = server.admin().get(&format!("/api/audit{query}")).await;
        assert_eq!(answer.problem(), (400, "unsupported".to_owned()), "{query}");
    }
    let head = acme.head("/api/audit").await;
    assert_eq!((head.status.as_u16(), head.header("content-type")), (200, "application/x-ndjson"));
}

#[tokio::test]
async fn a_long_log_is_read_whole_and_in_pages() {
    let server = Server::start(&[]);
    let (acme, admin) = (server.caller(&[("acme", "org_admin")]).await, server.admin());
    let digest = admin.push_artifact("acme/tool", "latest", "layer").await;
    for round in 0..3 {
        let tags: Vec<Value> = (0..1000).map(|number| tag(&format!("t{round}-{number}"), &digest)).collect();
        let answer = send(&admin, "POST /api/catalogs/acme/tags", &json!(tags)).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    // Between the lines of the organisation are those of another.
    admin.push_artifact("corp/tool", "latest", "layer").await;
    admin.push_artifact("acme/tool", "last", "another").await;
    let (all, own) = (lines(&admin, "").await, lines(&acme, "").await);
    assert!(own.len() > 3000 && all.len() > own.len(), "{} {}", all.len(), own.len());
    for (client, lines_of) in [(&admin, &all), (&acme, &own)] {
        assert!(ids(lines_of).is_sorted_by(|one, next| one < next), "ids grow");
        let sets = lines_of.iter().filter(|line| line["action"] == "tag.set" && line["catalog"] == "acme");
        assert_eq!(sets.count(), 3002, "none is missing");
        let (mut after, mut paged) = (0, Vec::new());
        loop {
            let page = lines(client, &format!("?limit=1234&after={after}")).await;
            let Some(last) = ids(&page).last().copied() else { break };
            assert!(page.len() == 1234 || last == lines_of[lines_of.len() - 1]["id"]);
            after = last;
            paged.extend(page);
        }
        assert_eq!(&paged, lines_of);
        for limit in [0, 1, 499, 500, 501, 1000, 1001] {
            assert_eq!(lines(client, &format!("?limit={limit}")).await, lines_of[..limit], "{limit}");
        }
        for all_there_are in ["limit=99999999999999999999", "after=0&limit=100000"] {
            assert_eq!(&lines(client, &format!("?{all_there_are}")).await, lines_of);
        }
        for behind_all in [after.to_string(), u64::MAX.to_string(), "99999999999999999999".to_owned()] {
            assert_eq!(lines(client, &format!("?after={behind_all}")).await, [] as [Value; 0]);
        }
    }
}

#[tokio::test]
async fn no_line_is_changed_or_removed_even_beside_the_server() {
    if has_no_file("it writes to the SQLite file") {
        return;
    }
    let server = Server::start(&[]);
    let before = lines(&server.admin(), "").await;
    assert!(!before.is_empty());
    let db = Connection::open(server.data.join("quire.db")).expect("the database");
    db.busy_timeout(Duration::from_secs(10)).expect("a timeout");
    for statement in [
        "UPDATE audit SET actor = 'nobody'",
        "UPDATE audit SET id = id + 1000",
        "UPDATE OR REPLACE audit SET rule = '' WHERE id = 1",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE id = 1",
        "INSERT OR REPLACE INTO audit SELECT id, at, 'nobody', action, catalog, object, outcome, rule, address,
             request_id FROM audit WHERE id = 1",
    ] {
        let error = db.execute(statement, ()).expect_err(statement);
        assert!(error.to_string().contains("the audit log is append-only"), "{statement}: {error}");
    }
    assert_eq!(lines(&server.admin(), "").await, before);
}

/// Everything that must stand nowhere, by what it is.
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn add(&mut self, what: &str, secret: &str) {
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    /// A client for each way to show a credential, over both versions of HTTP.
    fn clients(&mut self, server: &Server, what: &str, credential: &str) -> Vec<Client> {
        self.add(what, credential);
        if let Some((_, signature)) = credential.rsplit_once('.') {
            self.add(&format!("the signature of {what}"), signature);
        }
        let basic = STANDARD.encode(format!("somebody:{credential}"));
        self.add(&format!("the Basic form of {what}"), &basic);
        let bearer = client(server, credential);
        let basic = Client::basic(server.address, &basic);
        vec![bearer.http2(), bearer, basic.http2(), basic]
    }
}

async fn no_secret_is_told(format: &str) {
    let (folder, issuing) = issuer();
    let issuers = issuing.settings();
    let settings = issuers.iter().map(|(name, value)| (*name, value.as_str()));
    let settings: Vec<_> = settings.chain([("LOG", "trace"), ("LOG_FORMAT", format)]).collect();
    let mut server = Server::start_logging_in(folder.path(), &settings);
    let mut secrets = Secrets(Vec::new());
    secrets.add("the issuer's secret", &read(&folder.path().join("secret")));

    let body = json!({"name": "ci", "grants": [{"catalog": "acme", "role": "org_admin"}]});
    let answer = send(&server.admin(), "POST /api/tokens", &body).await;
    assert_eq!(answer.status, 201);
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    let short = client(&server, &token).get("/token?scope=repository:acme/tool:pull,push").await;
    let short = short.json()["token"].as_str().expect("a token").to_owned();
    let jwt = |kind| issuing.token(kind, grants(&[("acme", "publisher")]));
    let good = [
        ("the admin token", ADMIN_TOKEN.to_owned()),
        ("an API token", token.clone()),
        ("a short token", short.clone()),
        ("a JWT by a secret", jwt(Kind::Hs256)),
        ("a JWT by a key", jwt(Kind::EdDsa)),
    ];
    let claims = |claims| issuing.claims(Kind::EdDsa, claims);
    let wrong = [
        ("a wrong token", format!("quire_{}", "Z".repeat(49))),
        ("half a token", "quire_half-a-token".to_owned()),
        ("a wrong password", "correct horse battery staple".to_owned()),
        ("a wrong short token", format!("{}AAAA", &short[..short.len() - 4])),
        ("a JWT by a wrong key", Key::ed("ed-1").sign(json!({"kid": "ed-1"}), &claims(json!({})))),
        ("an expired JWT", issuing.token(Kind::EdDsa, json!({"exp": 1_000_000_000}))),
        ("a JWT for others", issuing.token(Kind::Hs256, json!({"aud": "https://else.test"}))),
        ("a JWT of nobody", issuing.token(Kind::Hs256, json!({"sub": ""}))),
        ("a JWT with bad claims", issuing.token(Kind::Hs256, json!({"quire": {"grants": "all"}}))),
    ];
    let mut round = 0;
    for ((what, credential), is_good) in
        good.iter().map(|one| (one, true)).chain(wrong.iter().map(|one| (one, false)))
    {
        for client in secrets.clients(&server, what, credential) {
            round += 1;
            let read = client.get("/v2/acme/tool/tags/list").await;
            assert_eq!(read.status == 401, !is_good && *what != "a JWT with bad claims", "{what} {read:?}");
            let digest = of(&round.to_string());
            let push = format!("/v2/acme/tool/blobs/uploads/?digest={digest}");
            client.send("POST", &push, &[], round.to_string()).await;
            client.get("/token?service=quire&scope=repository:acme/tool:pull").await;
            for path in ["/api/whoami", "/api/audit", "/api/tokens", "/v2/", "/metrics"] {
                client.get(path).await;
            }
            // Refused to most, and then told to the audit log.
            client.send("POST", "/api/orgs", &[], json!({"id": "acme"}).to_string()).await;
            client.send("POST", "/v2/corp/tool/blobs/uploads/", &[], "").await;
        }
    }
    // Two at once, in the wrong place, and pasted where an id belongs.
    let admin = server.admin();
    admin.send("GET", "/v2/", &[("authorization", &format!("Bearer {token}"))], "").await;
    admin.send("GET", "/v2/", &[("x-token", &token), ("cookie", &short)], "").await;
    for path in ["/api/tokens/", "/api/tokens?after=", "/api/tokens?catalog="] {
        for client in [&admin, &client(&server, &token)] {
            client.get(&format!("{path}{token}")).await;
            client.delete(&format!("{path}{token}")).await;
        }
    }
    let bare = token.trim_start_matches("quire_").to_owned();
    secrets.add("the characters of a token", &bare);
    let caller = client(&server, &token);
    let pasted_jwt = jwt(Kind::EdDsa);
    secrets.add("a pasted JWT", &pasted_jwt);
    for line in [
        format!("DELETE /api/tokens/quire%5F{bare}"),
        format!("DELETE /api/tokens/{bare}"),
        format!("DELETE /api/tokens/{pasted_jwt}"),
        format!("PATCH /api/orgs/{token}"),
        format!("PATCH /api/orgs/{pasted_jwt}"),
        format!("PUT /api/catalogs/{token}/tag-rules"),
        format!("DELETE /v2/corp/tool/manifests/{token}"),
    ] {
        send(&caller, &line, &json!({})).await;
    }
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(admin.delete(&format!("/api/tokens/{id}")).await.status, 204);

    let audit = admin.get("/api/audit").await;
    let audit = String::from_utf8(audit.body.to_vec()).expect("a text");
    server.terminate();
    assert!(server.wait());
    let (log, output) = (read(&folder.path().join("log")), server.output());
    // What is looked through is what there is to look through.
    let level = if format == "json" { "\"level\":\"TRACE\"" } else { " TRACE " };
    assert!(log.lines().filter(|line| line.contains(level)).count() > 50, "{log}");
    assert!(log.lines().filter(|line| line.contains("answered")).count() > round * 5, "{log}");
    assert!(log.contains("a credential was refused") && log.contains("/api/tokens"));
    assert!(audit.contains("token.create") && audit.contains(&format!("token:{id}")));
    assert!(audit.lines().filter(|line| line.contains("\"refused\"")).count() > 10, "{audit}");
    for (what, secret) in &secrets.0 {
        assert!(secret.len() > 8);
        for (place, text) in [("the log", &log), ("the audit log", &audit), ("the output", &output)] {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "{place} holds {what}");
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file")
}

#[tokio::test]
async fn no_secret_is_told_in_text() {
    no_secret_is_told("text").await;
}

#[tokio::test]
async fn no_secret_is_told_in_json() {
    no_secret_is_told("json").await;
}
