//! The laws of the metadata store about catalogs, tags that stay, tokens and the audit log, for every implementation.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use quire::access::{Actor, CatalogScope, ReadScope, RepositoryGlob, Role};
use quire::digest::{Digest, Sha256};
use quire::meta::{
    AuditEntry, BlobRecord, CatalogRefusal, CreateToken, DeleteOrganisation, ImmutableTags, MetaStore,
    MountBlob, MountSource, OrganisationChange, Outcome, PLUGIN_ARTIFACT_TYPE, PutManifest, TagCondition,
    TagRefusal, TagRule, TagWrite, TagWriteRefusal, TokenRecord, Usage, WriteOrganisation, WriteTags,
};
use uuid::Uuid;

use crate::meta_laws::{actor, blob, digests, manifest, pushed, repository, tag};
use crate::plugin_laws::for_all;
use crate::stores::{Fixture, laws};

/// A repository of the organisation `a`.
const NAME: &str = "a/b";

fn sized(seed: u32, size: u64) -> BlobRecord {
    BlobRecord { digests: digests(seed), size }
}

async fn usage(store: &dyn MetaStore, id: &str) -> Usage {
    store.organisation(id).await.unwrap().unwrap().usage
}

async fn limit(store: &dyn MetaStore, bytes: Option<u64>, repositories: Option<u64>) {
    let change = OrganisationChange {
        quota_bytes: Some(bytes),
        quota_repositories: Some(repositories),
        ..OrganisationChange::default()
    };
    let written = store.update_organisation("a", change, &actor()).await.unwrap();
    assert!(matches!(written, WriteOrganisation::Written(_)), "{written:?}");
}

fn token(grants: &[(&str, Role)]) -> TokenRecord {
    let id = Uuid::now_v7();
    TokenRecord {
        id,
        name: "test".into(),
        sha256: Sha256::of(id.as_bytes()),
        grants: grants.iter().map(|(catalog, role)| ((*catalog).to_owned(), *role)).collect(),
        repositories: None,
        created_by: "admin".into(),
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
        expires: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000)),
    }
}

/// P3: what a narrowed caller finds is what its globs match, whether the program or the database matches them.
async fn law_2_a_scope_finds_what_its_globs_match(Fixture { store, .. }: Fixture) {
    let names = [
        "a/b", "a/bc", "a/b.c", "a/b-c", "a/b/c", "a/b/c/d", "a/x", "a/x/b", "a/x/y/b", "a/x.b", "a/bb/b",
        "a/c0", "b/b", "b/b/c",
    ];
    for name in names {
        store.link_blob(&repository(name), blob(1), None, &actor()).await.unwrap().unwrap();
        pushed(&*store, name, 2, &[]).await;
    }
    let part =
        prop::sample::select(vec!["b", "*", "**", "b*", "*b", "b.c", "*.*", "x", "b*c", "c", "*-*", "?"]);
    let globs = prop::collection::vec(prop::collection::vec(part, 1..4), 0..3);
    let scopes = (globs, any::<bool>(), prop::sample::subsequence(names.to_vec(), 0..2));
    for_all(scopes, async |(globs, whole, only)| {
        let globs = globs.iter().map(|parts| format!("a/{}", parts.join("/")));
        // Some of them are no globs: nobody has those.
        let globs: Vec<RepositoryGlob> = globs.filter_map(|glob| glob.parse().ok()).collect();
        let mut catalogs = vec![CatalogScope { catalog: "a".into(), only: Some(globs) }];
        if whole {
            catalogs.push(CatalogScope::whole("b"));
        }
        let repositories = only.iter().map(|name| repository(name)).collect();
        let scope = ReadScope::Only { catalogs, repositories };
        let mut expected: Vec<_> = names.iter().map(|name| repository(name)).collect();
        expected.retain(|name| scope.contains(name));
        expected.sort();
        let listed = store.repositories(&scope, None, 99).await.unwrap();
        assert_eq!(listed.items, expected, "{scope:?}");
        for seed in [1, 2] {
            let holder = store.holder(&digests(seed).sha256, &scope).await.unwrap();
            assert_eq!(holder.is_some(), !expected.is_empty(), "{scope:?}");
            assert!(holder.is_none_or(|holder| expected.contains(&holder.repository)), "{scope:?}");
        }
        let digest = digests(1).sha256.into();
        let mounted = store
            .mount_blob(&repository("c/m"), &digest, MountSource::Scope(scope.clone()), &actor())
            .await
            .unwrap();
        assert_eq!(mounted == MountBlob::Absent, expected.is_empty(), "{scope:?}");
    });
}

async fn law_9_nothing_enters_a_catalog_that_is_not_there(Fixture { store, .. }: Fixture) {
    let nowhere = repository("nowhere/b");
    let unknown = CatalogRefusal::Unknown;
    assert_eq!(store.link_blob(&nowhere, blob(1), None, &actor()).await.unwrap(), Err(unknown));
    store.link_blob(&repository(NAME), blob(1), None, &actor()).await.unwrap().unwrap();
    let from = MountSource::Repository(repository(NAME));
    let mounted = store.mount_blob(&nowhere, &blob(1).digests.sha256.into(), from, &actor()).await.unwrap();
    assert_eq!(mounted, MountBlob::Refused(unknown));
    let put = store.put_manifest(manifest("nowhere/b", 2, &[], &["v1"])).await.unwrap();
    assert_eq!(put, PutManifest::Catalog(unknown));
    assert_eq!(store.check_manifest(&manifest("nowhere/b", 2, &[], &[])).await.unwrap(), put);
    assert!(store.events("nowhere", 0, 9).await.unwrap().is_empty());
    assert!(store.tags(&nowhere, None, 9).await.unwrap().is_none());
}

async fn law_9_a_digest_counts_once(Fixture { store, .. }: Fixture) {
    let link = async |name: &str, record: BlobRecord| {
        store.link_blob(&repository(name), record, None, &actor()).await.unwrap()
    };
    for name in [NAME, NAME, "a/c"] {
        link(name, sized(1, 100)).await.unwrap();
    }
    pushed(&*store, NAME, 7, &["v1"]).await;
    pushed(&*store, "a/c", 7, &["v1"]).await;
    assert_eq!(usage(&*store, "a").await, Usage { bytes: 200, repositories: 2 });
    link("b/c", sized(1, 100)).await.unwrap();
    assert_eq!(usage(&*store, "b").await, Usage { bytes: 100, repositories: 1 });

    limit(&*store, Some(250), Some(2)).await;
    assert_eq!(link(NAME, sized(2, 51)).await, Err(CatalogRefusal::Bytes { limit: 250 }));
    assert_eq!(link(NAME, sized(3, 50)).await, Ok(()));
    assert_eq!(link("a/d", sized(3, 50)).await, Err(CatalogRefusal::Repositories { limit: 2 }));
    assert_eq!(link("a/c", sized(3, 50)).await, Ok(()), "what is there needs no room");
    let full = store.put_manifest(manifest(NAME, 8, &[], &["v2"])).await.unwrap();
    assert_eq!(full, PutManifest::Catalog(CatalogRefusal::Bytes { limit: 250 }));

    // What goes gives its room back, once it is in no repository any more.
    let third: Digest = digests(3).sha256.into();
    assert!(store.unlink_blob(&repository(NAME), &third, &actor()).await.unwrap());
    assert_eq!(usage(&*store, "a").await.bytes, 250);
    assert!(store.unlink_blob(&repository("a/c"), &third, &actor()).await.unwrap());
    assert_eq!(usage(&*store, "a").await.bytes, 200);
    for name in [NAME, "a/c"] {
        let (first, seventh) = (digests(1).sha256.into(), digests(7).sha256.into());
        assert!(store.delete_manifest(&repository(name), &seventh, &actor()).await.unwrap());
        assert!(store.unlink_blob(&repository(name), &first, &actor()).await.unwrap());
    }
    assert_eq!(usage(&*store, "a").await, Usage::default(), "nor does an empty repository count");
}

async fn law_9_sixteen_writers_stay_within_the_quota(Fixture { store, .. }: Fixture) {
    limit(&*store, Some(1000), None).await;
    let writers: Vec<_> = (0..16_u32)
        .map(|writer| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move {
                let mut accepted = 0;
                for round in 0..10 {
                    let record = sized(writer * 100 + round, 17);
                    let name = repository(&format!("a/r{writer}"));
                    let linked = store.link_blob(&name, record, None, &actor()).await.unwrap();
                    assert!(
                        matches!(linked, Ok(()) | Err(CatalogRefusal::Bytes { limit: 1000 })),
                        "{linked:?}"
                    );
                    accepted += u64::from(linked.is_ok()) * 17;
                }
                accepted
            })
        })
        .collect();
    let mut accepted = 0;
    for writer in writers {
        accepted += writer.await.unwrap();
    }
    assert_eq!(accepted, 58 * 17, "all that fits, and no more");
    assert_eq!(usage(&*store, "a").await.bytes, accepted);
}

fn plugin(seed: u32, tags: &[&str]) -> quire::meta::NewManifest {
    let mut new = manifest(NAME, seed, &[], tags);
    new.manifest.artifact_type = Some(PLUGIN_ARTIFACT_TYPE.into());
    new
}

fn kept(rule: TagRule, now: u32) -> TagRefusal {
    TagRefusal::Kept { rule, now: digests(now).sha256.into() }
}

/// P4: a version of a plugin points to one manifest for ever.
async fn law_10_a_version_of_a_plugin_stays(Fixture { store, .. }: Fixture) {
    assert_eq!(store.put_manifest(plugin(1, &["1.0", "latest"])).await.unwrap(), PutManifest::Stored);
    let refused = PutManifest::Tag { tag: tag("1.0"), refusal: kept(TagRule::Version, 1) };
    for other in [plugin(2, &["latest", "1.0"]), manifest(NAME, 3, &[], &["1.0"])] {
        assert_eq!(store.check_manifest(&other).await.unwrap(), refused);
        assert_eq!(store.put_manifest(other).await.unwrap(), refused);
    }
    let latest = store.tag(&repository(NAME), &tag("latest")).await.unwrap().unwrap();
    assert_eq!(latest.digests, digests(1), "none of several tags");
    assert_eq!(store.put_manifest(plugin(2, &["latest", "1.1"])).await.unwrap(), PutManifest::Stored);

    let (name, first) = (repository(NAME), Digest::from(digests(1).sha256));
    for by_manifest in [false, true] {
        if by_manifest {
            assert!(store.delete_manifest(&name, &first, &actor()).await.unwrap());
        } else {
            assert!(store.delete_tag(&name, &tag("1.0"), &actor()).await.unwrap());
        }
        assert_eq!(store.put_manifest(plugin(2, &["1.0"])).await.unwrap(), refused, "a tombstone");
        assert_eq!(store.put_manifest(plugin(1, &["1.0"])).await.unwrap(), PutManifest::Stored);
    }
    // Whatever stands under a version of a plugin's repository is a version of it.
    assert_eq!(store.put_manifest(manifest(NAME, 5, &[], &["2.0"])).await.unwrap(), PutManifest::Stored);
    let refused = store.put_manifest(plugin(6, &["2.0"])).await.unwrap();
    assert_eq!(refused, PutManifest::Tag { tag: tag("2.0"), refusal: kept(TagRule::Version, 5) });
    // Elsewhere such a tag moves.
    for seed in [1, 2] {
        pushed(&*store, "a/other", seed, &["1.0"]).await;
    }
}

async fn law_10_a_rule_keeps_tags(Fixture { store, .. }: Fixture) {
    pushed(&*store, NAME, 1, &["v1", "dev"]).await;
    let rule = ImmutableTags { repositories: "a/*".parse().unwrap(), tags: "v*".parse().unwrap() };
    assert!(store.set_tag_rules("a", vec![rule.clone()], &actor()).await.unwrap());
    assert!(!store.set_tag_rules("nowhere", vec![rule.clone()], &actor()).await.unwrap());
    assert_eq!(store.tag_rules("a").await.unwrap(), [rule]);
    let refused = PutManifest::Tag { tag: tag("v1"), refusal: kept(TagRule::Immutable, 1) };
    assert_eq!(store.put_manifest(manifest(NAME, 2, &[], &["v1"])).await.unwrap(), refused);
    pushed(&*store, NAME, 2, &["dev", "v2"]).await;
    pushed(&*store, NAME, 1, &["v1"]).await;
    assert!(store.delete_tag(&repository(NAME), &tag("v1"), &actor()).await.unwrap());
    assert_eq!(store.put_manifest(manifest(NAME, 2, &[], &["v1"])).await.unwrap(), refused);
    // A rule that is gone binds nothing any more.
    assert!(store.set_tag_rules("a", vec![], &actor()).await.unwrap());
    pushed(&*store, NAME, 2, &["v1"]).await;
}

async fn law_10_several_tags_or_none(Fixture { store, .. }: Fixture) {
    for seed in [1, 2] {
        pushed(&*store, NAME, seed, &[&format!("t{seed}")]).await;
    }
    let write = |name: &str, to: u32, condition: TagCondition, may_move: bool| TagWrite {
        repository: repository(NAME),
        tag: tag(name),
        digest: digests(to).sha256.into(),
        condition,
        may_move,
    };
    let any = TagCondition::Any;
    let moved = TagCondition::PointsTo(vec![digests(2).sha256.into()]);
    let outcome = store
        .write_tags(
            vec![
                write("new", 1, TagCondition::Absent, false),
                write("t1", 2, any.clone(), false),
                write("t2", 9, any.clone(), true),
                write("t1", 2, moved, true),
            ],
            &actor(),
        )
        .await
        .unwrap();
    let now = Some(digests(1).sha256.into());
    let expected = WriteTags::Refused(vec![
        (1, TagWriteRefusal::Tag(kept(TagRule::CreateOnly, 1))),
        (2, TagWriteRefusal::ManifestUnknown),
        (3, TagWriteRefusal::Tag(TagRefusal::Moved { now })),
    ]);
    assert_eq!(outcome, expected, "every one that stands in the way");
    assert!(store.tag(&repository(NAME), &tag("new")).await.unwrap().is_none());
    let events = store.events("a", 0, 99).await.unwrap().len();
    let both = vec![write("new", 1, TagCondition::Absent, false), write("t1", 2, any, true)];
    assert_eq!(store.write_tags(both, &actor()).await.unwrap(), WriteTags::Written);
    assert_eq!(store.events("a", 0, 99).await.unwrap().len(), events + 2);
    let t1 = store.tag(&repository(NAME), &tag("t1")).await.unwrap().unwrap();
    assert_eq!(t1.digests, digests(2));
}

async fn law_10_one_of_sixteen_writers_wins(Fixture { store, .. }: Fixture) {
    for seed in 0..16 {
        pushed(&*store, NAME, seed, &[]).await;
    }
    let writers: Vec<_> = (0..16)
        .map(|seed| {
            let store = std::sync::Arc::clone(&store);
            let write = TagWrite {
                repository: repository(NAME),
                tag: tag("first"),
                digest: digests(seed).sha256.into(),
                condition: TagCondition::Absent,
                may_move: true,
            };
            tokio::spawn(async move { store.write_tags(vec![write], &actor()).await.unwrap() })
        })
        .collect();
    let mut won = 0;
    for writer in writers {
        won += u32::from(writer.await.unwrap() == WriteTags::Written);
    }
    assert_eq!(won, 1);
}

async fn law_11_a_revoked_token_is_gone(Fixture { store, .. }: Fixture) {
    let mut record = token(&[("a", Role::Publisher), ("b", Role::OrgMember)]);
    record.repositories = Some(vec!["a/x*".parse::<RepositoryGlob>().unwrap(), "b/**".parse().unwrap()]);
    let before = store.access_version().await.unwrap();
    assert_eq!(store.create_token(record.clone(), &actor()).await.unwrap(), CreateToken::Created);
    assert_eq!(store.access_version().await.unwrap(), before, "nobody has to forget anything");
    assert_eq!(store.token_by_secret(&record.sha256).await.unwrap(), Some(record.clone()));
    assert_eq!(store.token(record.id).await.unwrap(), Some(record.clone()));
    let on_nothing = token(&[("a", Role::Publisher), ("nowhere", Role::Publisher)]);
    let refused = store.create_token(on_nothing.clone(), &actor()).await.unwrap();
    assert_eq!(refused, CreateToken::CatalogUnknown("nowhere".into()));
    assert_eq!(store.token(on_nothing.id).await.unwrap(), None);

    // What it may on one catalog goes alone.
    let foreign = Some(["c".to_owned()]);
    let only_a = Some(["a".to_owned()]);
    let revoke = async |catalogs: &Option<[String; 1]>| {
        let catalogs = catalogs.as_ref().map(<[String; 1]>::as_slice);
        store.revoke_token(record.id, catalogs, &actor()).await.unwrap()
    };
    assert!(!revoke(&foreign).await);
    assert!(revoke(&only_a).await && !revoke(&only_a).await);
    let after = store.access_version().await.unwrap();
    assert!(after > before);
    let left = store.token_by_secret(&record.sha256).await.unwrap().unwrap();
    assert_eq!(left.grants, [("b".to_owned(), Role::OrgMember)]);
    assert!(revoke(&None).await && !revoke(&None).await);
    assert!(store.access_version().await.unwrap() > after);
    assert_eq!(store.token_by_secret(&record.sha256).await.unwrap(), None);
    assert_eq!(store.token(record.id).await.unwrap(), None);
}

async fn law_11_grants_go_with_their_organisation(Fixture { store, .. }: Fixture) {
    let record = token(&[("a", Role::Publisher), ("b", Role::OrgMember)]);
    store.create_token(record.clone(), &actor()).await.unwrap();
    let rule = ImmutableTags { repositories: "a/*".parse().unwrap(), tags: "*".parse().unwrap() };
    store.set_tag_rules("a", vec![rule], &actor()).await.unwrap();
    pushed(&*store, NAME, 1, &["v1"]).await;
    let before = store.access_version().await.unwrap();
    assert_eq!(store.delete_organisation("a", &actor()).await.unwrap(), DeleteOrganisation::NotEmpty);
    store.delete_manifest(&repository(NAME), &digests(1).sha256.into(), &actor()).await.unwrap();
    assert_eq!(store.delete_organisation("a", &actor()).await.unwrap(), DeleteOrganisation::Deleted);
    assert_eq!(store.delete_organisation("a", &actor()).await.unwrap(), DeleteOrganisation::Unknown);
    assert_eq!(store.delete_organisation("system", &actor()).await.unwrap(), DeleteOrganisation::Unknown);
    assert!(store.access_version().await.unwrap() > before);
    let left = store.token(record.id).await.unwrap().unwrap();
    assert_eq!(left.grants, [("b".to_owned(), Role::OrgMember)]);
    assert!(
        store.organisation("a").await.unwrap().is_none() && store.tag_rules("a").await.unwrap().is_empty()
    );
    let again = store.create_organisation("a", "again", None, &actor()).await.unwrap();
    assert_eq!(again, WriteOrganisation::Conflict, "an id is given out once");
    assert_eq!(store.events("a", 0, 99).await.unwrap().len(), 4, "its events stay");
}

async fn law_11_a_domain_belongs_to_one(Fixture { store, .. }: Fixture) {
    let domain = |domain: Option<&str>| OrganisationChange {
        domain: Some(domain.map(str::to_owned)),
        ..OrganisationChange::default()
    };
    let set =
        async |id: &str, to: Option<&str>| store.update_organisation(id, domain(to), &actor()).await.unwrap();
    assert!(matches!(set("a", Some("a.test")).await, WriteOrganisation::Written(_)));
    assert_eq!(set("b", Some("a.test")).await, WriteOrganisation::DomainTaken);
    let new = store.create_organisation("new", "new", Some("a.test"), &actor()).await.unwrap();
    assert_eq!(new, WriteOrganisation::DomainTaken);
    assert!(matches!(set("a", None).await, WriteOrganisation::Written(_)));
    assert!(matches!(set("b", Some("a.test")).await, WriteOrganisation::Written(_)));
    assert_eq!(set("system", None).await, WriteOrganisation::Conflict);
    let listed = store.organisations(None, Some("a"), 2).await.unwrap();
    let ids: Vec<&str> = listed.items.iter().map(|found| found.id.as_str()).collect();
    assert_eq!((ids, listed.more), (vec!["b", "c"], true));
}

async fn law_12_every_change_is_told_once(Fixture { store, .. }: Fixture) {
    let made = store.audit(None, 0, 99).await.unwrap().last().unwrap().id;
    let by = Actor { rule: "publisher on a".into(), request_id: "r1".into(), ..actor() };
    let name = repository(NAME);
    store.link_blob(&name, blob(1), None, &by).await.unwrap().unwrap();
    store.link_blob(&name, blob(1), None, &by).await.unwrap().unwrap();
    let new = quire::meta::NewManifest { actor: by.clone(), ..manifest(NAME, 2, &[1], &["v1", "v2"]) };
    for _ in 0..2 {
        assert_eq!(store.put_manifest(new.clone()).await.unwrap(), PutManifest::Stored);
    }
    let missing = quire::meta::NewManifest { actor: by.clone(), ..manifest(NAME, 3, &[9], &["v1"]) };
    store.put_manifest(missing).await.unwrap();
    store.delete_manifest(&name, &digests(2).sha256.into(), &by).await.unwrap();
    store.unlink_blob(&name, &digests(1).sha256.into(), &by).await.unwrap();
    let lines = store.audit(Some(&["a".to_owned()]), made, 99).await.unwrap();
    let (one, two) = (digests(1).sha256, digests(2).sha256);
    let told: Vec<(String, String)> =
        lines.iter().map(|line| (line.entry.action.clone(), line.entry.object.clone())).collect();
    let expected = [
        ("blob.push", format!("a/b@{one}")),
        ("manifest.push", format!("a/b@{two}")),
        ("tag.set", format!("a/b:v1@{two}")),
        ("tag.set", format!("a/b:v2@{two}")),
        ("tag.delete", format!("a/b:v1@{two}")),
        ("tag.delete", format!("a/b:v2@{two}")),
        ("manifest.delete", format!("a/b@{two}")),
        ("blob.delete", format!("a/b@{one}")),
    ];
    assert_eq!(told, expected.map(|(action, object)| (action.to_owned(), object)));
    for line in &lines {
        let AuditEntry { actor, outcome, rule, request_id, catalog, .. } = &line.entry;
        assert_eq!((actor.as_str(), *outcome, rule.as_str()), ("tester", Outcome::Done, "publisher on a"));
        assert_eq!((request_id.as_str(), catalog.as_deref()), ("r1", Some("a")));
    }
    let last = lines.last().unwrap().id;
    let refused = AuditEntry { outcome: Outcome::Refused, ..lines[0].entry.clone() };
    store.record(refused.clone()).await.unwrap();
    let after = store.audit(None, last, 10_000).await.unwrap();
    // Others write meanwhile, by another name.
    let own = after.iter().map(|line| &line.entry).filter(|entry| entry.actor == "tester");
    assert_eq!(own.collect::<Vec<_>>(), [&refused]);
    assert!(store.audit(Some(&["b".to_owned()]), last, 99).await.unwrap().is_empty());
    assert!(store.audit(None, u64::MAX, 99).await.unwrap().is_empty());
}

laws! {
    law_2_a_scope_finds_what_its_globs_match
    law_9_nothing_enters_a_catalog_that_is_not_there
    law_9_a_digest_counts_once
    law_9_sixteen_writers_stay_within_the_quota
    law_10_a_version_of_a_plugin_stays
    law_10_a_rule_keeps_tags
    law_10_several_tags_or_none
    law_10_one_of_sixteen_writers_wins
    law_11_a_revoked_token_is_gone
    law_11_grants_go_with_their_organisation
    law_11_a_domain_belongs_to_one
    law_12_every_change_is_told_once
}
