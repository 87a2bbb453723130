//! The laws of the metadata store where sixteen writers want the same row at the same time, for every implementation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quire::access::Role;
use quire::digest::{Algorithm, Digest, Sha256};
use quire::meta::{
    CatalogRefusal, Change, CreateToken, DeleteOrganisation, Event, ImmutableTags, KeyRecord, MetaStore,
    OrganisationChange, PutManifest, TokenRecord, Upload, Usage, WriteOrganisation,
};
use quire::staging::Checkpoint;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::meta_laws::{actor, blob, digests, manifest, pushed, repository, tag};
use crate::plugin_laws::{PID, found, latest, package, publishing};
use crate::stores::{Fixture, laws};

const WRITERS: u32 = 16;

/// Lets sixteen begin at once, and gives what came of it in their order.
async fn sixteen<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    store: &Arc<dyn MetaStore>,
    write: impl Fn(Arc<dyn MetaStore>, u32) -> F,
) -> Vec<T> {
    let start = Arc::new(Barrier::new(WRITERS as usize));
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let (start, write) = (Arc::clone(&start), write(Arc::clone(store), number));
        writers.spawn(async move {
            start.wait().await;
            (number, write.await)
        });
    }
    let mut outcomes = writers.join_all().await;
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn count<T: PartialEq>(outcomes: &[T], of: &T) -> usize {
    outcomes.iter().filter(|outcome| *outcome == of).count()
}

async fn events(store: &dyn MetaStore, catalog: &str) -> Vec<Event> {
    let events = store.events(catalog, 0, 100_000).await.unwrap();
    let numbers = events.iter().map(|event| event.sequence);
    assert!(numbers.eq(1..=events.len() as u64), "no gaps and no repeats");
    events
}

/// Whether events, one after the other, are the steps of one writer: nothing is pushed that is there, and a tag
/// pointed to what the next event says.
fn are_steps(events: &[Event]) -> BTreeMap<String, Sha256> {
    let (mut manifests, mut tags) = (BTreeMap::new(), BTreeMap::new());
    for Event { change, sequence, .. } in events {
        match change {
            Change::ManifestPushed { digest } => {
                assert_eq!(manifests.insert(*digest, ()), None, "at {sequence}");
            }
            Change::ManifestDeleted { digest } => {
                assert_eq!(manifests.remove(digest), Some(()), "at {sequence}");
                assert!(!tags.values().any(|target| target == digest), "its tags went before, at {sequence}");
            }
            Change::TagSet { tag, digest, previous } => {
                assert!(manifests.contains_key(digest), "at {sequence}");
                assert_eq!(tags.insert(tag.to_string(), *digest), *previous, "at {sequence}");
            }
            Change::TagDeleted { tag, digest } => {
                assert_eq!(tags.remove(tag.as_str()), Some(*digest), "at {sequence}");
            }
            Change::BlobDeleted { .. } | Change::VersionChanged { .. } => {}
        }
    }
    tags
}

/// What a manifest needs is there when it is stored, in the order that the log tells.
async fn law_3_nothing_is_stored_behind_the_end_of_its_blob(Fixture { store, .. }: Fixture) {
    for round in 0..10 {
        let part = 1000 + round;
        store.link_blob(&repository("a/b"), blob(part), None, &actor()).await.unwrap().unwrap();
        let outcomes = sixteen(&store, move |store, writer| async move {
            if writer == 7 {
                let digest = digests(part).sha256.into();
                assert!(store.unlink_blob(&repository("a/b"), &digest, &actor()).await.unwrap());
                return None;
            }
            let new = manifest("a/b", 2000 + round * WRITERS + writer, &[part], &["moves"]);
            Some(store.put_manifest(new).await.unwrap())
        })
        .await;
        let missing = PutManifest::Missing(vec![digests(part).sha256.into()]);
        let good = |outcome: &PutManifest| *outcome == PutManifest::Stored || *outcome == missing;
        assert!(outcomes.iter().flatten().all(good), "{outcomes:?}");
        let log = events(&*store, "a").await;
        let gone = Change::BlobDeleted { digest: digests(part).sha256 };
        let gone = log.iter().find(|event| event.change == gone).unwrap().sequence;
        let later = log.iter().filter(|event| event.sequence > gone);
        assert_eq!(later.count(), 0, "round {round}: the blob went at {gone}");
    }
}

/// Pushes and deletions of one manifest are one after the other, whoever comes first.
async fn law_3_a_manifest_comes_and_goes_in_steps(Fixture { store, .. }: Fixture) {
    for _ in 0..5 {
        sixteen(&store, |store, writer| async move {
            match writer % 4 {
                0 => _ = pushed(&*store, "a/b", 1, &["x", "y"]).await,
                1 => _ = pushed(&*store, "a/b", 2, &["y", &format!("t{writer}")]).await,
                2 => {
                    let digest = digests(1 + writer % 3).sha256.into();
                    store.delete_manifest(&repository("a/b"), &digest, &actor()).await.unwrap();
                }
                _ => _ = store.delete_tag(&repository("a/b"), &tag("y"), &actor()).await.unwrap(),
            }
        })
        .await;
        let tags = are_steps(&events(&*store, "a").await);
        for name in ["x", "y"] {
            let found = store.tag(&repository("a/b"), &tag(name)).await.unwrap();
            assert_eq!(found.map(|found| found.digests.sha256), tags.get(name).copied());
        }
    }
}

async fn law_3_one_manifest_is_pushed_once(Fixture { store, .. }: Fixture) {
    let outcomes = sixteen(&store, |store, writer| async move {
        let new = manifest("a/b", 1, &[], &[&format!("t{writer}"), "all"]);
        store.put_manifest(new).await.unwrap()
    })
    .await;
    assert_eq!(count(&outcomes, &PutManifest::Stored), 16);
    let log = events(&*store, "a").await;
    are_steps(&log);
    let pushes = log.iter().filter(|event| matches!(event.change, Change::ManifestPushed { .. }));
    assert_eq!((pushes.count(), log.len()), (1, 18), "a push, a tag of each, and the one of all");
}

/// Who follows the log never sees a number before the ones below it.
async fn law_6_numbers_are_in_the_order_of_the_commits(Fixture { store, .. }: Fixture) {
    let following = Arc::clone(&store);
    let follower = tokio::spawn(async move {
        let mut seen = 0;
        let mut looks = 0;
        while seen < u64::from(WRITERS) * 20 {
            for event in following.events("a", seen, 7).await.unwrap() {
                assert_eq!(event.sequence, seen + 1, "after {looks} looks");
                seen = event.sequence;
            }
            looks += 1;
        }
        looks
    });
    sixteen(&store, |store, writer| async move {
        for round in 0..10 {
            let seed = writer * 10 + round;
            pushed(&*store, &format!("a/r{}", writer % 5), seed, &["moves"]).await;
        }
    })
    .await;
    assert!(follower.await.unwrap() > 1);
    are_chains(&events(&*store, "a").await);
}

/// The same of several repositories, each for itself: where their tags are in the end.
pub fn are_chains(events: &[Event]) -> BTreeMap<String, BTreeMap<String, Sha256>> {
    let mut by_repository: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for event in events {
        by_repository.entry(event.repository.to_string()).or_default().push(event.clone());
    }
    by_repository.into_iter().map(|(name, events)| (name, are_steps(&events))).collect()
}

async fn law_8_a_session_ends_once(Fixture { store, .. }: Fixture) {
    for round in 0..5 {
        let id = Uuid::now_v7();
        let checkpoint = Checkpoint::start(Algorithm::Sha256);
        let upload =
            Upload { id, repository: repository("a/b"), subject: "tester".into(), checkpoint, home: None };
        store.create_upload(upload).await.unwrap();
        let ended = sixteen(&store, move |store, writer| async move {
            match writer % 2 {
                0 => store.drop_upload(id).await.unwrap(),
                _ => store.expire_upload(id, Duration::ZERO).await.unwrap(),
            }
        })
        .await;
        assert_eq!(count(&ended, &true), 1, "round {round}");
    }
}

async fn law_9_a_digest_counts_once_whoever_brings_it(Fixture { store, .. }: Fixture) {
    let usage = async || store.organisation("a").await.unwrap().unwrap().usage;
    for _ in 0..3 {
        sixteen(&store, |store, writer| async move {
            let name = format!("a/r{writer}");
            store.link_blob(&repository(&name), blob(500), None, &actor()).await.unwrap().unwrap();
            pushed(&*store, &name, 7, &["v1"]).await;
        })
        .await;
        assert_eq!(usage().await, Usage { bytes: 600, repositories: 16 });
        sixteen(&store, |store, writer| async move {
            let name = repository(&format!("a/r{writer}"));
            let (blob, manifest): (Digest, Digest) = (digests(500).sha256.into(), digests(7).sha256.into());
            assert!(store.delete_manifest(&name, &manifest, &actor()).await.unwrap());
            assert!(store.unlink_blob(&name, &blob, &actor()).await.unwrap());
        })
        .await;
        assert_eq!(usage().await, Usage::default());
    }
}

/// Also where the quota is set while they write: what was there when it was set stays, and no more comes.
async fn law_9_so_many_repositories_and_no_more(Fixture { store, .. }: Fixture) {
    for round in 0..5 {
        let id = format!("org{round}");
        store.create_organisation(&id, &id, None, &actor()).await.unwrap();
        let catalog = id.clone();
        let outcomes = sixteen(&store, move |store, writer| {
            let id = catalog.clone();
            async move {
                if writer != 7 {
                    let name = repository(&format!("{id}/r{writer}"));
                    return Err(store.link_blob(&name, blob(writer), None, &actor()).await.unwrap());
                }
                let quota_repositories = Some(Some(3));
                let change = OrganisationChange { quota_repositories, ..OrganisationChange::default() };
                match store.update_organisation(&id, change, &actor()).await.unwrap() {
                    WriteOrganisation::Written(written) => Ok(written.usage.repositories),
                    other => panic!("{other:?}"),
                }
            }
        })
        .await;
        let there = *outcomes[7].as_ref().unwrap();
        let came = count(&outcomes, &Err(Ok(()))) as u64;
        let refused = count(&outcomes, &Err(Err(CatalogRefusal::Repositories { limit: 3 })));
        assert_eq!(came + refused as u64, 15, "{outcomes:?}");
        assert_eq!(came, there.max(3), "round {round}: {there} were there when it was set");
        let usage = store.organisation(&id).await.unwrap().unwrap().usage;
        assert_eq!(usage.repositories, came);
    }
}

async fn law_9_an_organisation_is_made_once(Fixture { store, .. }: Fixture) {
    let same = sixteen(&store, |store, writer| async move {
        let name = format!("by {writer}");
        store.create_organisation("new", &name, None, &actor()).await.unwrap()
    })
    .await;
    let made: Vec<_> = same.iter().filter(|outcome| **outcome != WriteOrganisation::Conflict).collect();
    let [WriteOrganisation::Written(made)] = made[..] else { panic!("{same:?}") };
    assert_eq!(store.organisation("new").await.unwrap().as_ref(), Some(made));
    let domain = sixteen(&store, |store, writer| async move {
        let id = format!("new{writer}");
        store.create_organisation(&id, &id, Some("new.test"), &actor()).await.unwrap()
    })
    .await;
    assert_eq!(count(&domain, &WriteOrganisation::DomainTaken), 15, "{domain:?}");
}

async fn law_9_an_organisation_is_deleted_only_empty(Fixture { store, .. }: Fixture) {
    for round in 0..5 {
        let id = format!("org{round}");
        store.create_organisation(&id, &id, None, &actor()).await.unwrap();
        let name = id.clone();
        let outcomes = sixteen(&store, move |store, writer| {
            let id = name.clone();
            async move {
                if writer == 3 {
                    return store.delete_organisation(&id, &actor()).await.unwrap()
                        == DeleteOrganisation::Deleted;
                }
                let put =
                    store.put_manifest(manifest(&format!("{id}/x"), writer, &[], &["v1"])).await.unwrap();
                assert!([PutManifest::Stored, PutManifest::Catalog(CatalogRefusal::Unknown)].contains(&put));
                put == PutManifest::Stored
            }
        })
        .await;
        let stored = outcomes.iter().enumerate().filter(|(writer, done)| *writer != 3 && **done).count();
        assert_eq!(stored, if outcomes[3] { 0 } else { 15 }, "round {round}: {outcomes:?}");
        assert_eq!(store.organisation(&id).await.unwrap().is_none(), outcomes[3]);
    }
}

/// Behind the answer to it, a new rule binds everybody.
async fn law_10_a_rule_binds_when_it_is_set(Fixture { store, .. }: Fixture) {
    let rule = |round: u32| ImmutableTags {
        repositories: format!("a/b{round}").parse().unwrap(),
        tags: "v*".parse().unwrap(),
    };
    for round in 0..10 {
        let outcomes = sixteen(&store, move |store, writer| async move {
            let name = format!("a/b{round}");
            if writer == 15 {
                // Others are in the middle of it.
                while store.tag(&repository(&name), &tag("v1")).await.unwrap().is_none() {}
                assert!(store.set_tag_rules("a", vec![rule(round)], &actor()).await.unwrap());
                return store.tag(&repository(&name), &tag("v1")).await.unwrap();
            }
            for turn in 0..8 {
                let put = store.put_manifest(manifest(&name, writer * 8 + turn, &[], &["v1"])).await.unwrap();
                assert!(matches!(put, PutManifest::Stored | PutManifest::Tag { .. }), "{put:?}");
            }
            None
        })
        .await;
        let now = store.tag(&repository(&format!("a/b{round}")), &tag("v1")).await.unwrap();
        assert_eq!(outcomes[15], now, "round {round}: it did not move any more");
    }
}

async fn law_11_a_token_is_revoked_once(Fixture { store, .. }: Fixture) {
    let id = Uuid::now_v7();
    let token = TokenRecord {
        id,
        name: "test".into(),
        sha256: Sha256::of(id.as_bytes()),
        grants: vec![("a".into(), Role::Publisher), ("b".into(), Role::Publisher)],
        repositories: None,
        created_by: "admin".into(),
        created: SystemTime::UNIX_EPOCH,
        expires: None,
    };
    assert_eq!(store.create_token(token.clone(), &actor()).await.unwrap(), CreateToken::Created);
    let before = store.access_version().await.unwrap();
    let revoked = sixteen(&store, move |store, writer| async move {
        let catalog = [["a", "b"][writer as usize % 2].to_owned()];
        let revoked = store.revoke_token(id, Some(&catalog), &actor()).await.unwrap();
        (catalog, revoked)
    })
    .await;
    for catalog in ["a", "b"] {
        assert_eq!(count(&revoked, &([catalog.to_owned()], true)), 1, "{revoked:?}");
    }
    assert_eq!(store.token_by_secret(&token.sha256).await.unwrap(), None);
    assert!(store.access_version().await.unwrap() > before);
}

/// Nothing that was published at the same time slips through a block.
async fn law_16_a_block_holds_for_those_who_publish_meanwhile(Fixture { store, .. }: Fixture) {
    let member = package(PID, "1.0", "evil").files[0].sha256;
    sixteen(&store, move |store, writer| async move {
        if writer == 9 {
            store.block(member, "evil", &actor()).await.unwrap();
            return;
        }
        let name = format!("a/com.acme.p{}", writer % 4);
        let plugin = package(&name[2..], &format!("1.{writer}"), "evil");
        let put = store.put_manifest(publishing(&name, &plugin, "", &[])).await.unwrap();
        assert!(matches!(put, PutManifest::Stored | PutManifest::Blocked { .. }), "{put:?}");
    })
    .await;
    for writer in 0..WRITERS {
        let name = format!("a/com.acme.p{}", writer % 4);
        assert_eq!(latest(&*store, &name).await, None);
        let found = found(&*store, &name, &format!("1.{writer}")).await;
        assert!(found.is_none_or(|found| found.blocked.is_some()), "1.{writer}");
    }
}

async fn all_get_the_same_key(Fixture { store, .. }: Fixture) {
    let candidate = |writer: u32| KeyRecord {
        id: format!("key{writer}"),
        public: vec![1],
        private: Some(vec![2]),
        retired: None,
    };
    let made = sixteen(&store, move |store, writer| async move {
        store.ensure_key("token", candidate(writer), false).await.unwrap()
    })
    .await;
    assert!(made.iter().all(|keys| *keys == made[0] && keys.len() == 1), "{made:?}");
    sixteen(&store, move |store, writer| async move {
        let keys = store.ensure_key("token", candidate(100 + writer), true).await.unwrap();
        assert_eq!(keys[0].id, format!("key{}", 100 + writer), "its own, as it was asked for");
    })
    .await;
    let kept = store.ensure_key("token", candidate(0), false).await.unwrap();
    assert_eq!(kept.len(), 17);
    assert_eq!(kept.iter().filter(|key| key.retired.is_none()).count(), 1);
}

laws! {
    contended:
    law_3_nothing_is_stored_behind_the_end_of_its_blob
    law_3_a_manifest_comes_and_goes_in_steps
    law_3_one_manifest_is_pushed_once
    law_6_numbers_are_in_the_order_of_the_commits
    law_8_a_session_ends_once
    law_9_a_digest_counts_once_whoever_brings_it
    law_9_so_many_repositories_and_no_more
    law_9_an_organisation_is_made_once
    law_9_an_organisation_is_deleted_only_empty
    law_10_a_rule_binds_when_it_is_set
    law_11_a_token_is_revoked_once
    law_16_a_block_holds_for_those_who_publish_meanwhile
    all_get_the_same_key
}
