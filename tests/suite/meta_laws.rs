//! The numbered laws of the metadata store, stamped as one test each for every implementation.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use quire::access::{Actor, CatalogScope, ReadScope};
use quire::digest::{Algorithm, Digest, Digests, Sha256};
use quire::manifest::{Manifest, ManifestReference, Target};
use quire::meta::sqlite::{SqliteCounters, SqliteMeta};
use quire::meta::{
    BlobRecord, Change, KeyRecord, MetaStore, MountBlob, MountSource, NewManifest, Node, PutManifest,
    REFERRERS_PAGE, TagCondition, TagRefusal, Upload,
};
use quire::name::{RepositoryName, Tag};
use quire::staging::Checkpoint;
use uuid::Uuid;

use crate::stores::{self, Fixture, laws};

pub fn actor() -> Actor {
    Actor::internal("tester")
}

pub fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

pub fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

pub fn digests(seed: u32) -> Digests {
    Digests { sha256: Sha256::of(&seed.to_le_bytes()), sha512: None }
}

pub fn blob(seed: u32) -> BlobRecord {
    BlobRecord { digests: digests(seed), size: u64::from(seed) }
}

pub fn manifest(name: &str, seed: u32, blobs: &[u32], tags: &[&str]) -> NewManifest {
    let reference = |seed: &u32| ManifestReference {
        digest: digests(*seed).sha256.into(),
        size: u64::from(*seed),
        target: Target::Blob,
    };
    NewManifest {
        repository: repository(name),
        digests: digests(seed),
        size: 100,
        manifest: Manifest {
            media_type: "application/vnd.oci.image.manifest.v1+json".parse().unwrap(),
            artifact_type: Some("application/x".into()),
            subject: None,
            annotations: BTreeMap::new(),
            references: blobs.iter().map(reference).collect(),
        },
        blobs: vec![],
        plugin: None,
        tags: tags.iter().map(|name| tag(name)).collect(),
        condition: TagCondition::Any,
        may_move: true,
        actor: actor(),
    }
}

pub async fn pushed(store: &dyn MetaStore, name: &str, seed: u32, tags: &[&str]) -> Sha256 {
    let outcome = store.put_manifest(manifest(name, seed, &[], tags)).await.unwrap();
    assert_eq!(outcome, PutManifest::Stored);
    digests(seed).sha256
}

async fn law_1_a_write_that_returned_is_durable(fixture: Fixture) {
    let name = repository("a/b");
    fixture.store.link_blob(&name, blob(1), None, &actor()).await.unwrap().unwrap();
    pushed(&*fixture.store, "a/b", 2, &["v1"]).await;
    // A second opening sees only what is in the files.
    let again = fixture.again().await;
    assert_eq!(again.blob(&name, &digests(1).sha256.into()).await.unwrap(), Some(blob(1)));
    assert!(again.tag(&name, &tag("v1")).await.unwrap().is_some());
}

async fn law_1_a_refused_write_leaves_nothing(fixture: Fixture) {
    let refused = fixture.store.put_manifest(manifest("a/b", 1, &[9], &["v1"])).await.unwrap();
    assert_eq!(refused, PutManifest::Missing(vec![digests(9).sha256.into()]));
    let store = &fixture.store;
    assert!(store.tag(&repository("a/b"), &tag("v1")).await.unwrap().is_none());
    assert!(store.tags(&repository("a/b"), None, 10).await.unwrap().is_none(), "not even the repository");
    assert!(store.events("a", 0, 10).await.unwrap().is_empty());
}

async fn law_2_existence_is_per_repository(fixture: Fixture) {
    let store = &fixture.store;
    store.link_blob(&repository("a/b"), blob(1), None, &actor()).await.unwrap().unwrap();
    let digest: Digest = digests(1).sha256.into();
    assert!(store.blob(&repository("a/c"), &digest).await.unwrap().is_none());
    let other = store.put_manifest(manifest("a/c", 2, &[1], &[])).await.unwrap();
    assert_eq!(other, PutManifest::Missing(vec![digest]));

    let elsewhere = MountSource::Repository(repository("x/y"));
    assert_eq!(
        store.mount_blob(&repository("a/c"), &digest, elsewhere, &actor()).await.unwrap(),
        MountBlob::Absent
    );
    let blind = MountSource::Scope(ReadScope::nothing());
    assert_eq!(
        store.mount_blob(&repository("a/c"), &digest, blind, &actor()).await.unwrap(),
        MountBlob::Absent
    );
    let seeing = MountSource::Scope(ReadScope::Only {
        catalogs: vec![CatalogScope::whole("a")],
        repositories: vec![],
    });
    assert_eq!(
        store.mount_blob(&repository("a/c"), &digest, seeing, &actor()).await.unwrap(),
        MountBlob::Mounted(blob(1))
    );
    assert!(store.blob(&repository("a/c"), &digest).await.unwrap().is_some());

    assert!(store.unlink_blob(&repository("a/b"), &digest, &actor()).await.unwrap());
    assert!(!store.unlink_blob(&repository("a/b"), &digest, &actor()).await.unwrap());
    assert!(store.blob(&repository("a/c"), &digest).await.unwrap().is_some(), "the other link stays");
    let holder = store.holder(&digests(1).sha256, &ReadScope::Everything).await.unwrap().unwrap();
    assert_eq!((holder.repository.as_str(), holder.size), ("a/c", 1));
    assert!(store.holder(&digests(1).sha256, &ReadScope::nothing()).await.unwrap().is_none());
}

async fn law_3_a_manifest_needs_what_it_refers_to(fixture: Fixture) {
    let store = &fixture.store;
    store.link_blob(&repository("a/b"), blob(5), None, &actor()).await.unwrap().unwrap();
    let mut wrong = manifest("a/b", 1, &[5], &["v1"]);
    wrong.manifest.references[0].size = 6;
    let digest = digests(5).sha256.into();
    let refused = PutManifest::WrongSize { digest, declared: 6, actual: 5 };
    assert_eq!(store.put_manifest(wrong.clone()).await.unwrap(), refused);
    let asked = store.check_manifest(&wrong).await.unwrap();
    assert_eq!(asked, refused, "the question before gives the same answer");

    let mut right = manifest("a/b", 1, &[5], &["v1", "v2"]);
    let subject = digests(77).sha256.into();
    right.manifest.subject = Some(subject);
    right.manifest.annotations.insert("key".into(), "value".into());
    assert_eq!(store.put_manifest(right).await.unwrap(), PutManifest::Stored);
    for name in ["v1", "v2"] {
        let found = store.tag(&repository("a/b"), &tag(name)).await.unwrap().unwrap();
        assert_eq!(found.digests.sha256, digests(1).sha256);
    }
    let referrers = store.referrers(&repository("a/b"), &subject, None, None).await.unwrap();
    assert_eq!(referrers.items[0].annotations["key"], "value");
    let other = store.referrers(&repository("a/b"), &subject, Some("other/type"), None).await.unwrap();
    assert!(other.items.is_empty());
}

/// P4: of many writers that expect the same, one succeeds, and the others learn what the tag points to.
async fn law_3_one_of_the_writers_that_expect_the_same_succeeds(fixture: Fixture) {
    let name = repository("a/b");
    let conditional = |seed: u32, condition: TagCondition| {
        let store = Arc::clone(&fixture.store);
        let new = NewManifest { condition, ..manifest("a/b", seed, &[], &["v1"]) };
        async move { (seed, store.put_manifest(new).await.unwrap()) }
    };
    let mut expected = TagCondition::Absent;
    for round in 0..5 {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..16 {
            writers.spawn(conditional(round * 16 + writer, expected.clone()));
        }
        let outcomes = writers.join_all().await;
        let stored = |(_, outcome): &&(u32, PutManifest)| *outcome == PutManifest::Stored;
        let winners: Vec<u32> = outcomes.iter().filter(stored).map(|(seed, _)| *seed).collect();
        assert_eq!(winners.len(), 1, "round {round}: {outcomes:?}");
        let now: Digest = digests(winners[0]).sha256.into();
        let moved = PutManifest::Tag { tag: tag("v1"), refusal: TagRefusal::Moved { now: Some(now) } };
        for (seed, outcome) in outcomes.into_iter().filter(|(seed, _)| *seed != winners[0]) {
            assert_eq!(outcome, moved);
            let digest = digests(seed).sha256.into();
            assert!(
                fixture.store.manifest(&name, &digest).await.unwrap().is_none(),
                "a loser leaves nothing"
            );
        }
        expected = TagCondition::PointsTo(vec![now]);
    }
    let gone = NewManifest { condition: TagCondition::Present, ..manifest("a/b", 999, &[], &["other"]) };
    let refused = fixture.store.put_manifest(gone).await.unwrap();
    assert_eq!(refused, PutManifest::Tag { tag: tag("other"), refusal: TagRefusal::Moved { now: None } });
}

async fn law_4_reads_see_writes_that_returned(fixture: Fixture) {
    let name = repository("a/b");
    for round in 0..100 {
        let digest = pushed(&*fixture.store, "a/b", round, &["moves"]).await;
        let seen = fixture.store.tag(&name, &tag("moves")).await.unwrap().unwrap();
        assert_eq!(seen.digests.sha256, digest, "round {round}");
    }
}

async fn law_5_deleting_takes_what_belongs_to_it(fixture: Fixture) {
    let store = &fixture.store;
    let name = repository("a/b");
    let digest = pushed(&**store, "a/b", 1, &["x", "y"]).await;
    pushed(&**store, "a/b", 2, &["z"]).await;
    assert!(store.delete_tag(&name, &tag("x"), &actor()).await.unwrap());
    assert!(!store.delete_tag(&name, &tag("x"), &actor()).await.unwrap());
    assert!(store.manifest(&name, &digest.into()).await.unwrap().is_some());
    assert!(store.delete_manifest(&name, &digest.into(), &actor()).await.unwrap());
    assert!(!store.delete_manifest(&name, &digest.into(), &actor()).await.unwrap());
    let left = store.tags(&name, None, 10).await.unwrap().unwrap();
    assert_eq!(left.items, [tag("z")]);
    pushed(&**store, "a/b", 1, &["x"]).await;
    assert!(store.tag(&name, &tag("x")).await.unwrap().is_some(), "deleted and pushed again");
}

async fn law_6_the_sequence_has_no_gaps(fixture: Fixture) {
    let store = &fixture.store;
    let mut writers = tokio::task::JoinSet::new();
    for seed in 0..40 {
        let store = Arc::clone(store);
        writers.spawn(async move {
            pushed(&*store, if seed % 2 == 0 { "a/b" } else { "a/c" }, seed, &["latest"]).await
        });
    }
    writers.join_all().await;
    let before = store.events("a", 0, 1000).await.unwrap();
    pushed(&**store, "a/b", 38, &[]).await;
    let events = store.events("a", 0, 1000).await.unwrap();
    assert_eq!(before, events, "repeating a write adds no event");
    let numbers: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (1..=80).collect::<Vec<_>>());
    assert!(store.events("other", 0, 10).await.unwrap().is_empty());

    // Each move tells what the tag pointed to before, so the log is a chain.
    for name in ["a/b", "a/c"] {
        let mut points_to = None;
        for event in events.iter().filter(|event| event.repository.as_str() == name) {
            if let Change::TagSet { digest, previous, .. } = event.change {
                assert_eq!(previous, points_to);
                points_to = Some(digest);
            }
        }
        let tag = store.tag(&repository(name), &tag("latest")).await.unwrap().unwrap();
        assert_eq!(Some(tag.digests.sha256), points_to);
    }
}

async fn law_7_lists_are_in_byte_order(fixture: Fixture) {
    let store = &fixture.store;
    let names = ["_", "1.10", "1.9", "A", "Z", "a", "b.c", "b_c", "z"];
    let mut shuffled = names;
    shuffled.reverse();
    pushed(&**store, "a/b", 1, &shuffled).await;
    let mut sorted = names.map(tag);
    sorted.sort();
    let name = repository("a/b");
    let all = store.tags(&name, None, 100).await.unwrap().unwrap();
    assert_eq!((all.items.as_slice(), all.more), (sorted.as_slice(), false));
    let page = store.tags(&name, Some("1.95"), 2).await.unwrap().unwrap();
    assert_eq!((page.items, page.more), (vec![tag("A"), tag("Z")], true));
    let none = store.tags(&name, None, 0).await.unwrap().unwrap();
    assert_eq!((none.items, none.more), (vec![], true));

    for other in ["b/a", "a/a", "c/z"] {
        pushed(&**store, other, 1, &[]).await;
    }
    let page = store.repositories(&ReadScope::Everything, Some("a/a"), 2).await.unwrap();
    assert_eq!((page.items, page.more), (vec![repository("a/b"), repository("b/a")], true));
    let scope =
        ReadScope::Only { catalogs: vec![CatalogScope::whole("a")], repositories: vec![repository("c/z")] };
    let page = store.repositories(&scope, None, 10).await.unwrap();
    assert_eq!(page.items, ["a/a", "a/b", "c/z"].map(repository));
}

async fn law_7_referrers_come_in_pages(fixture: Fixture) {
    let store = &fixture.store;
    let subject: Digest = digests(9999).sha256.into();
    let count = u32::try_from(REFERRERS_PAGE).unwrap() + 5;
    // Together, so that they share commits.
    let mut writes = tokio::task::JoinSet::new();
    for seed in 0..count {
        let mut new = manifest("a/b", seed, &[], &[]);
        new.manifest.subject = Some(subject);
        let store = Arc::clone(store);
        writes.spawn(async move { store.put_manifest(new).await.unwrap() });
    }
    assert!(writes.join_all().await.iter().all(|outcome| *outcome == PutManifest::Stored));
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = store.referrers(&repository("a/b"), &subject, None, after).await.unwrap();
        all.extend(page.items.iter().map(|referrer| referrer.record.digests.sha256));
        after = all.last().copied();
        if !page.more {
            break;
        }
    }
    assert_eq!(all.len(), count as usize);
    assert!(all.is_sorted());
}

async fn law_8_sessions_stay_until_they_end(fixture: Fixture) {
    let store = &fixture.store;
    let upload = |id| Upload {
        id,
        repository: repository("a/b"),
        subject: "tester".into(),
        checkpoint: Checkpoint::start(Algorithm::Sha256),
        home: None,
    };
    let (kept, linked, dropped) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    for id in [kept, linked, dropped] {
        store.create_upload(upload(id)).await.unwrap();
    }
    let checkpoint = Checkpoint { offset: 17, hash_state: vec![1, 2, 3] };
    assert!(store.checkpoint_upload(kept, checkpoint.clone()).await.unwrap());
    assert_eq!(
        store.upload(kept).await.unwrap(),
        Some(Upload { checkpoint: checkpoint.clone(), ..upload(kept) })
    );
    store.link_blob(&repository("a/b"), blob(1), Some(linked), &actor()).await.unwrap().unwrap();
    assert!(store.upload(linked).await.unwrap().is_none());
    assert!(store.drop_upload(dropped).await.unwrap());
    assert!(!store.drop_upload(dropped).await.unwrap());
    assert!(!store.checkpoint_upload(dropped, checkpoint).await.unwrap());

    let hour = Duration::from_secs(3600);
    assert!(store.stale_uploads(None, hour, 10).await.unwrap().is_empty());
    assert!(!store.expire_upload(kept, hour).await.unwrap());
    assert_eq!(store.stale_uploads(None, Duration::ZERO, 10).await.unwrap(), [kept]);
    assert!(store.expire_upload(kept, Duration::ZERO).await.unwrap());
    assert!(store.upload(kept).await.unwrap().is_none());
}

/// The digests of a list that have small numbers, as those of the laws do: others may write at the same time.
fn of_the_law(list: Vec<(Sha256, u64)>) -> Vec<(Sha256, u64)> {
    static OURS: LazyLock<HashSet<Sha256>> =
        LazyLock::new(|| (0..10_000).map(|seed| digests(seed).sha256).collect());
    list.into_iter().filter(|(digest, _)| OURS.contains(digest)).collect()
}

/// Pages of two, one after the other, to the end.
async fn all_digests(store: &dyn MetaStore, hot: bool) -> Vec<(Sha256, u64)> {
    let mut all: Vec<(Sha256, u64)> = Vec::new();
    loop {
        let after = all.last().map(|(digest, _)| *digest);
        let page = match hot {
            true => store.hot_digests(after, 2).await.unwrap(),
            false => store.digests(after, 2).await.unwrap(),
        };
        all.extend_from_slice(&page);
        if page.len() < 2 {
            return of_the_law(all);
        }
    }
}

fn in_order(digests: &[(u32, u64)]) -> Vec<(Sha256, u64)> {
    let mut all: Vec<_> = digests.iter().map(|(seed, size)| (self::digests(*seed).sha256, *size)).collect();
    all.sort();
    all
}

async fn law_18_every_digest_is_listed_once(fixture: Fixture) {
    let store = &fixture.store;
    assert!(of_the_law(store.digests(None, 1000).await.unwrap()).is_empty());
    for seed in 1..=6 {
        for name in ["a/b", "a/c", "b/x"] {
            store.link_blob(&repository(name), blob(seed), None, &actor()).await.unwrap().unwrap();
        }
    }
    // A manifest that is a blob elsewhere, as clients that mirror do.
    store
        .link_blob(&repository("c/d"), BlobRecord { size: 100, ..blob(7) }, None, &actor())
        .await
        .unwrap()
        .unwrap();
    pushed(&**store, "a/b", 7, &[]).await;
    pushed(&**store, "x/y", 8, &["v1"]).await;
    let blobs = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)];
    let expected = in_order(&[&blobs[..], &[(7, 100), (8, 100)]].concat());
    assert_eq!(all_digests(&**store, false).await, expected);
    assert!(store.digests(None, 0).await.unwrap().is_empty());

    let absent = digests(999).sha256;
    let behind: Vec<_> = expected.iter().copied().filter(|(digest, _)| *digest > absent).collect();
    assert_eq!(
        of_the_law(store.digests(Some(absent), 1000).await.unwrap()),
        behind,
        "`after` need not exist"
    );
    store.unlink_blob(&repository("a/b"), &digests(1).sha256.into(), &actor()).await.unwrap();
    assert_eq!(all_digests(&**store, false).await, expected, "other repositories have it");
    for name in ["a/c", "b/x"] {
        store.unlink_blob(&repository(name), &digests(1).sha256.into(), &actor()).await.unwrap();
    }
    let left = in_order(&[&blobs[1..], &[(7, 100), (8, 100)]].concat());
    assert_eq!(all_digests(&**store, false).await, left);
}

async fn law_18_hot_is_what_a_tag_leads_to(fixture: Fixture) {
    let store = &fixture.store;
    for seed in 1..=6 {
        store.link_blob(&repository("a/b"), blob(seed), None, &actor()).await.unwrap().unwrap();
        store.link_blob(&repository("a/c"), blob(seed), None, &actor()).await.unwrap().unwrap();
    }
    let index = |seed: u32, of: u32, tags: &[&str]| {
        let mut index = manifest("a/b", seed, &[], tags);
        index.manifest.references = vec![ManifestReference {
            digest: digests(of).sha256.into(),
            size: 100,
            target: Target::Manifest,
        }];
        index
    };
    for new in [
        manifest("a/b", 10, &[1, 2], &["tagged"]),
        manifest("a/b", 11, &[2, 3], &[]),
        // An index of an index of a manifest with blobs 4 and 5.
        manifest("a/b", 12, &[4, 5], &[]),
        index(13, 12, &[]),
        index(14, 13, &["deep"]),
        // The same names elsewhere lead nowhere.
        manifest("a/c", 15, &[6], &[]),
    ] {
        assert_eq!(store.put_manifest(new).await.unwrap(), PutManifest::Stored);
    }
    let hot = in_order(&[(1, 1), (2, 2), (4, 4), (5, 5), (10, 100), (12, 100), (13, 100), (14, 100)]);
    assert_eq!(all_digests(&**store, true).await, hot);
    assert_eq!(of_the_law(store.hot_digests(None, 1000).await.unwrap()), hot);
    assert!(store.hot_digests(None, 0).await.unwrap().is_empty());

    assert!(store.delete_tag(&repository("a/b"), &tag("deep"), &actor()).await.unwrap());
    assert_eq!(all_digests(&**store, true).await, in_order(&[(1, 1), (2, 2), (10, 100)]));
    // A blob whose link is gone is not there to be fetched, though the manifest still names it.
    for name in ["a/b", "a/c"] {
        store.unlink_blob(&repository(name), &digests(1).sha256.into(), &actor()).await.unwrap();
    }
    assert_eq!(all_digests(&**store, true).await, in_order(&[(2, 2), (10, 100)]));
}

/// More cold digests than one look takes up lie between two hot ones.
async fn law_18_hot_ones_are_found_among_many(fixture: Fixture) {
    let store = &fixture.store;
    let mut links = tokio::task::JoinSet::new();
    for seed in 0..2500 {
        let store = Arc::clone(store);
        links.spawn(async move { store.link_blob(&repository("a/b"), blob(seed), None, &actor()).await });
    }
    assert!(links.join_all().await.into_iter().all(|linked| linked.unwrap().is_ok()));
    let order = in_order(&(0..2500).map(|seed| (seed, u64::from(seed))).collect::<Vec<_>>());
    assert_eq!(of_the_law(store.digests(None, 10_000).await.unwrap()), order);
    let [(_, first), .., (_, last)] = order[..] else { panic!("{}", order.len()) };
    let ends = [first, last].map(|seed| u32::try_from(seed).unwrap());
    let new = manifest("a/b", 5000, &ends, &["v1"]);
    assert_eq!(store.put_manifest(new).await.unwrap(), PutManifest::Stored);
    let hot = in_order(&[(ends[0], first), (ends[1], last), (5000, 100)]);
    assert_eq!(all_digests(&**store, true).await, hot);
}

async fn law_19_a_session_tells_the_node_that_has_its_bytes(fixture: Fixture) {
    let store = &fixture.store;
    let node =
        |url: Option<&str>| Node { id: Uuid::now_v7(), run: Uuid::now_v7(), url: url.map(str::to_owned) };
    let upload = |home: Option<&Node>| Upload {
        id: Uuid::now_v7(),
        repository: repository("a/b"),
        subject: "tester".into(),
        checkpoint: Checkpoint::start(Algorithm::Sha256),
        home: home.cloned(),
    };
    let home = async |upload: &Upload| store.upload(upload.id).await.unwrap().unwrap().home;
    let (mut one, other) = (node(Some("http://one.test")), node(None));
    store.announce_node(&one).await.unwrap();
    // The other was never announced, or is forgotten again: a session makes it known.
    let (mine, theirs, old) = (upload(Some(&one)), upload(Some(&other)), upload(None));
    for upload in [&mine, &theirs, &old] {
        store.create_upload(upload.clone()).await.unwrap();
    }
    assert_eq!(home(&mine).await.as_ref(), Some(&one));
    assert_eq!(home(&theirs).await.as_ref(), Some(&other));
    assert_eq!(home(&old).await, None);
    // After a start it is another process, elsewhere.
    (one.run, one.url) = (Uuid::now_v7(), Some("https://two.test:5000".to_owned()));
    store.announce_node(&one).await.unwrap();
    assert_eq!(home(&mine).await.as_ref(), Some(&one));
    assert_eq!(home(&theirs).await.as_ref(), Some(&other));

    let stale = async |node| {
        let mut stale = store.stale_uploads(node, Duration::ZERO, 10).await.unwrap();
        // Those of the same moment come in any order; their ids do not.
        stale.sort();
        stale
    };
    assert_eq!(stale(Some(one.id)).await, [mine.id, old.id]);
    assert_eq!(stale(Some(other.id)).await, [theirs.id, old.id]);
    assert_eq!(stale(None).await, [mine.id, theirs.id, old.id]);
}

async fn sha512_stands_beside_sha256(fixture: Fixture) {
    let store = &fixture.store;
    let mut record = blob(1);
    store.link_blob(&repository("a/b"), record, None, &actor()).await.unwrap().unwrap();
    record.digests.sha512 = Some([7; 64]);
    assert!(store.blob(&repository("a/b"), &Digest::Sha512([7; 64])).await.unwrap().is_none());
    store.link_blob(&repository("a/b"), record, None, &actor()).await.unwrap().unwrap();
    store.link_blob(&repository("a/b"), blob(1), None, &actor()).await.unwrap().unwrap();
    for digest in [Digest::Sha512([7; 64]), digests(1).sha256.into()] {
        assert_eq!(store.blob(&repository("a/b"), &digest).await.unwrap(), Some(record));
    }
}

async fn keys_have_one_current_one(fixture: Fixture) {
    let store = &fixture.store;
    let key = |id: &str, private: Option<&str>| KeyRecord {
        id: id.into(),
        public: id.as_bytes().to_vec(),
        private: private.map(|text| text.as_bytes().to_vec()),
        retired: None,
    };
    let ids = |keys: Vec<KeyRecord>| {
        keys.into_iter().map(|key| (key.id, key.retired.is_some())).collect::<Vec<_>>()
    };
    let first = store.ensure_key("token", key("made", Some("secret")), false).await.unwrap();
    assert_eq!(first, [key("made", Some("secret"))]);
    let kept = store.ensure_key("token", key("unused", Some("secret")), false).await.unwrap();
    assert_eq!(ids(kept), [("made".into(), false)]);
    let given = store.ensure_key("token", key("given", None), true).await.unwrap();
    assert_eq!(ids(given), [("given".into(), false), ("made".into(), true)]);
    let again = store.ensure_key("token", key("given", None), true).await.unwrap();
    assert_eq!(ids(again), [("given".into(), false), ("made".into(), true)]);
    let made = store.ensure_key("token", key("newer", Some("secret")), false).await.unwrap();
    assert_eq!(ids(made)[0], ("newer".into(), false), "a key without its private half can't go on");
    assert_eq!(store.ensure_key("other", key("x", Some("s")), false).await.unwrap().len(), 1);
}

laws! {
    law_1_a_write_that_returned_is_durable
    law_1_a_refused_write_leaves_nothing
    law_2_existence_is_per_repository
    law_3_a_manifest_needs_what_it_refers_to
    law_3_one_of_the_writers_that_expect_the_same_succeeds
    law_4_reads_see_writes_that_returned
    law_5_deleting_takes_what_belongs_to_it
    law_6_the_sequence_has_no_gaps
    law_7_lists_are_in_byte_order
    law_7_referrers_come_in_pages
    law_8_sessions_stay_until_they_end
    law_18_every_digest_is_listed_once
    law_18_hot_is_what_a_tag_leads_to
    law_18_hot_ones_are_found_among_many
    law_19_a_session_tells_the_node_that_has_its_bytes
    sha512_stands_beside_sha256
    keys_have_one_current_one
}

/// A database that a newer program made is refused, not damaged.
#[tokio::test]
async fn sqlite_refuses_a_newer_schema() {
    let fixture = stores::sqlite().await.unwrap();
    let path = fixture.sqlite_file();
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute("INSERT INTO schema_migrations VALUES (999, 'later', 'x', 0)", ()).unwrap();
    drop(database);
    let error = SqliteMeta::open(&path, SqliteCounters::noop()).await.err().unwrap().to_string();
    assert!(error.contains("use a newer program"), "{error}");
}

/// The log can't be rewritten, not even by a statement that tries.
#[tokio::test]
async fn sqlite_events_are_append_only() {
    let fixture = stores::sqlite().await.unwrap();
    pushed(&*fixture.store, "a/b", 1, &["v1"]).await;
    let database = rusqlite::Connection::open(fixture.sqlite_file()).unwrap();
    for statement in ["UPDATE events SET actor = 'other'", "DELETE FROM events"] {
        let error = database.execute(statement, ()).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}

/// What is looked up on every pull or push is found through an index, and nothing is sorted or scanned.
#[tokio::test]
async fn sqlite_lookups_have_their_index() {
    let fixture = stores::sqlite().await.unwrap();
    let database = rusqlite::Connection::open(fixture.sqlite_file()).unwrap();
    for (index, query) in [
        (
            "blob_links_of_repository_by_sha512",
            "SELECT 1 FROM blob_links WHERE repository = 1 AND sha512 = x'00'",
        ),
        ("blob_links_by_sha256", "SELECT 1 FROM blob_links WHERE sha256 = x'00' AND catalog = 'a' LIMIT 1"),
        ("blob_links_by_sha512", "SELECT 1 FROM blob_links WHERE sha512 = x'00' AND catalog = 'a' LIMIT 1"),
        ("manifests_by_sha256", "SELECT 1 FROM manifests WHERE sha256 = x'00' AND catalog = 'a' LIMIT 1"),
        ("manifests_by_sha512", "SELECT 1 FROM manifests WHERE repository = 1 AND sha512 = x'00'"),
        (
            "manifests_by_subject_and_type",
            "SELECT size FROM manifests INDEXED BY manifests_by_subject_and_type \
             WHERE repository = 1 AND subject = 'x' AND sha256 > x'' AND artifact_type = 'y' ORDER BY sha256",
        ),
        (
            "manifests_by_subject",
            "SELECT size FROM manifests INDEXED BY manifests_by_subject WHERE repository = 1 AND subject = 'x' \
             AND sha256 > x'' ORDER BY sha256",
        ),
        ("tags_by_manifest", "SELECT tag FROM tags WHERE repository = 1 AND manifest = x'00' ORDER BY tag"),
        (
            "events_by_tag",
            "SELECT at FROM events WHERE repository = 'a/b' AND tag = 'x' AND sequence < 9 ORDER BY sequence DESC",
        ),
        (
            "repositories_by_catalog",
            "SELECT name FROM repositories WHERE catalog = 'a' AND name > 'a/b' ORDER BY name LIMIT 9",
        ),
        (
            "repositories_by_catalog",
            "SELECT name FROM repositories WHERE catalog = 'a' AND name > 'a/b' AND name >= 'a/c' \
             AND name < 'a/c' || '{' ORDER BY name",
        ),
        ("audit_by_catalog", "SELECT at FROM audit WHERE catalog = 'a' AND id > 7 ORDER BY id LIMIT 9"),
        ("token_grants_by_catalog", "SELECT token FROM token_grants WHERE catalog = 'a' AND token > x'00'"),
        ("sqlite_autoindex_api_tokens_2", "SELECT id FROM api_tokens WHERE sha256 = x'00'"),
        (
            "manifests_of_plugins",
            "SELECT 1 FROM manifests WHERE repository = 1 \
             AND artifact_type = 'application/vnd.quire.plugin.v1' LIMIT 1",
        ),
        (
            "uploads_by_repository",
            "SELECT coalesce(sum(received), 0) FROM uploads \
             WHERE repository > 'a' || '/' AND repository < 'a' || '0'",
        ),
        ("uploads_by_touched", "SELECT id FROM uploads WHERE touched_at <= 9 ORDER BY touched_at LIMIT 9"),
    ] {
        let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
        let rows = plan.query_map((), |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<String> = rows.map(Result::unwrap).collect();
        assert!(plan.iter().any(|step| step.contains(&format!("{index} ("))), "{query}: {plan:?}");
        let expensive = |step: &String| step.starts_with("SCAN") || step.contains("TEMP B-TREE");
        assert!(!plan.iter().any(expensive), "{query}: {plan:?}");
    }
}
