//! Manifests that are refused: for what they say, and for a digest that is not theirs.

use quire::digest::Sha256;
use serde_json::{Value, json};

use crate::bad_input::assert_refused;
use crate::disk;
use crate::harness::{Server, image};
use crate::manifests::{INDEX, MANIFEST, REPOSITORY, put};

#[tokio::test]
async fn what_would_mean_two_things_is_refused() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let config = admin.push_blob(REPOSITORY, "{}").await;
    let layer = admin.push_blob(REPOSITORY, "layer").await;
    let before = disk::blobs(&server);
    let good = image(&config, 2, &[(&layer, 5)]);
    let text = good.to_string();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        manifest.to_string()
    };
    let nested = |depth: usize| {
        changed(&|m| m["x"] = "HERE".into())
            .replace("\"HERE\"", &format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1)))
    };
    let many: Vec<String> = (0..1025).map(|n: u32| Sha256::of(&n.to_le_bytes()).to_string()).collect();
    let many: Vec<(&str, usize)> = many.iter().map(|digest| (digest.as_str(), 4)).collect();
    for (what, content_type, body, code) in [
        (
            "a key twice",
            MANIFEST,
            text.replace("{\"config\"", "{\"layers\":[],\"config\""),
            "MANIFEST_INVALID",
        ),
        (
            "a key twice, escaped",
            MANIFEST,
            text.replace("{\"config\"", "{\"l\\u0061yers\":[],\"config\""),
            "MANIFEST_INVALID",
        ),
        (
            "a key twice, deep",
            MANIFEST,
            text.replacen("\"size\":2", "\"size\":2,\"size\":2", 1),
            "MANIFEST_INVALID",
        ),
        (
            "a key in other case",
            MANIFEST,
            text.replace("{\"config\"", "{\"Layers\":[],\"config\""),
            "MANIFEST_INVALID",
        ),
        (
            "a list in place of the manifest",
            MANIFEST,
            changed(&|m| *m = json!([2, MANIFEST, null, m["config"], m["layers"], null, null, null, null])),
            "MANIFEST_INVALID",
        ),
        (
            "a list in place of a descriptor",
            MANIFEST,
            changed(&|m| {
                let config = &m["config"];
                m["config"] = json!([config["mediaType"], config["digest"], config["size"], []])
            }),
            "MANIFEST_INVALID",
        ),
        ("an index by its header", INDEX, text.clone(), "MANIFEST_INVALID"),
        (
            "another type by its body",
            MANIFEST,
            changed(&|m| m["mediaType"] = INDEX.into()),
            "MANIFEST_INVALID",
        ),
        ("both at once", MANIFEST, changed(&|m| m["manifests"] = json!([])), "MANIFEST_INVALID"),
        (
            "an index with layers",
            INDEX,
            changed(&|m| {
                m["mediaType"] = INDEX.into();
                m["manifests"] = json!([])
            }),
            "MANIFEST_INVALID",
        ),
        (
            "no config",
            MANIFEST,
            changed(&|m| {
                m.as_object_mut().unwrap().remove("config");
            }),
            "MANIFEST_INVALID",
        ),
        ("the first schema", MANIFEST, changed(&|m| m["schemaVersion"] = json!(1)), "MANIFEST_INVALID"),
        (
            "no schema",
            MANIFEST,
            changed(&|m| {
                m.as_object_mut().unwrap().remove("schemaVersion");
            }),
            "MANIFEST_INVALID",
        ),
        ("a negative size", MANIFEST, changed(&|m| m["layers"][0]["size"] = json!(-1)), "MANIFEST_INVALID"),
        ("a broken size", MANIFEST, changed(&|m| m["layers"][0]["size"] = json!(5.5)), "MANIFEST_INVALID"),
        ("a size in text", MANIFEST, changed(&|m| m["layers"][0]["size"] = json!("5")), "MANIFEST_INVALID"),
        ("a huge size", MANIFEST, changed(&|m| m["layers"][0]["size"] = json!(u64::MAX)), "MANIFEST_INVALID"),
        (
            "a negative size of a subject",
            MANIFEST,
            changed(&|m| m["subject"] = json!({"mediaType": MANIFEST, "digest": config, "size": -1})),
            "MANIFEST_INVALID",
        ),
        ("another size", MANIFEST, changed(&|m| m["layers"][0]["size"] = json!(6)), "SIZE_INVALID"),
        (
            "another size of the config",
            MANIFEST,
            changed(&|m| m["config"]["size"] = json!(0)),
            "SIZE_INVALID",
        ),
        (
            "two sizes",
            MANIFEST,
            image(&config, 2, &[(&layer, 5), (&layer, 6)]).to_string(),
            "MANIFEST_INVALID",
        ),
        (
            "a digest of another algorithm",
            MANIFEST,
            text.replace(&layer, "md5:900150983cd24fb0d6963f7d28e17f72"),
            "MANIFEST_INVALID",
        ),
        (
            "a text among annotations that is none",
            MANIFEST,
            changed(&|m| m["annotations"] = json!({"a": 1})),
            "MANIFEST_INVALID",
        ),
        ("65 levels", MANIFEST, nested(65), "MANIFEST_INVALID"),
        ("many levels", MANIFEST, nested(100_000), "MANIFEST_INVALID"),
        ("1026 descriptors", MANIFEST, image(&config, 2, &many).to_string(), "MANIFEST_INVALID"),
    ] {
        assert_refused(&put(&admin, "latest", content_type, body.clone()).await, 400, code, what);
        let digest = Sha256::of(body.as_bytes()).to_string();
        assert_refused(&put(&admin, &digest, content_type, body).await, 400, code, what);
        let pull = admin.get(&format!("/v2/{REPOSITORY}/manifests/{digest}")).await;
        assert_refused(&pull, 404, "MANIFEST_UNKNOWN", what);
    }
    assert_eq!(disk::blobs(&server), before);
    disk::staging_is_empty(&server).await;
    for (what, body) in [("itself", text.clone()), ("64 levels", nested(64))] {
        assert_eq!(put(&admin, "latest", MANIFEST, body).await.status, 201, "{what}");
    }
}

/// P1: what a client calls its bytes is never believed.
#[tokio::test]
async fn p1_bytes_of_another_digest_do_not_appear() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let config = admin.push_blob(REPOSITORY, "{}").await;
    let before = disk::blobs(&server);
    let body = image(&config, 2, &[]).to_string();
    let computed = Sha256::of(body.as_bytes()).to_string();
    let claimed = Sha256::of(b"other").to_string();
    let sha512 = format!("sha512:{}", "0".repeat(128));
    for claimed in [&claimed, &sha512] {
        let refused = put(&admin, &format!("{claimed}?tag=latest"), MANIFEST, body.clone()).await;
        assert_refused(&refused, 400, "DIGEST_INVALID", claimed);
        for reference in [claimed, &computed, "latest"] {
            let pull = admin.get(&format!("/v2/{REPOSITORY}/manifests/{reference}")).await;
            assert_refused(&pull, 404, "MANIFEST_UNKNOWN", reference);
        }
    }
    let hex = computed.trim_start_matches("sha256:");
    assert_refused(&admin.get(&format!("/blobs/sha256/{hex}")).await, 404, "BLOB_UNKNOWN", "its bytes");
    assert_eq!(disk::blobs(&server), before);
    disk::staging_is_empty(&server).await;
}
