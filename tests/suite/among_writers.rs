//! Sixteen who write to a store while a law is tried on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quire::access::Actor;
use quire::meta::{MetaStore, NewManifest, PutManifest, WriteOrganisation};
use quire::name::RepositoryName;
use tokio::task::JoinSet;

use crate::meta_laws::{blob, digests, manifest, tag};
use crate::plugin_laws::{package, publishing};
use crate::stores::Fixture;

/// Runs a law while sixteen others write to the same store, each in an organisation of its own. On PostgreSQL they
/// are on another node.
pub async fn among_sixteen_writers(fixture: Fixture, law: impl AsyncFnOnce(Fixture)) {
    let store = fixture.on_another_node().await;
    for number in 0..16 {
        Writer::organisation(&*store, number).await;
    }
    let ended = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..16 {
        let (store, ended) = (Arc::clone(&store), Arc::clone(&ended));
        writers.spawn(async move {
            let mut writer = Writer { store, number, rounds: 0 };
            while !ended.load(Ordering::Relaxed) || writer.rounds < 2 {
                writer.write().await;
                // A store has more to do than this.
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            writer.agrees().await;
        });
    }
    law(fixture.clone()).await;
    ended.store(true, Ordering::Relaxed);
    // What one of them found wrong is told here.
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
}

/// One of the sixteen. It changes nothing that a law counts over all of the store: neither the access version nor
/// upload sessions.
struct Writer {
    store: Arc<dyn MetaStore>,
    number: u32,
    rounds: u32,
}

impl Writer {
    async fn organisation(store: &dyn MetaStore, number: u32) {
        let id = format!("y{number}");
        let made = store.create_organisation(&id, &id, None, &Self::actor()).await.unwrap();
        assert!(matches!(made, WriteOrganisation::Written(_)));
    }

    fn actor() -> Actor {
        Actor::internal("one of sixteen")
    }

    fn name(&self, of: &str) -> String {
        format!("y{}/{of}", self.number)
    }

    /// Pushes a blob and a manifest, moves a tag and makes another, publishes a plugin, and takes back what it wrote in
    /// the round before.
    async fn write(&mut self) {
        let (store, by) = (&*self.store, Self::actor());
        let (name, plugin) = (self.name("images/app"), self.name("com.acme.tool"));
        let repository: RepositoryName = name.parse().unwrap();
        // No law has digests of these numbers.
        let seed = 1_000_000_000 + self.number * 1_000_000 + self.rounds * 2;
        store.link_blob(&repository, blob(seed), None, &by).await.unwrap().unwrap();
        let new = manifest(&name, seed + 1, &[seed], &["moves", &format!("t{}", self.rounds)]);
        let new = NewManifest { actor: by.clone(), ..new };
        assert_eq!(store.put_manifest(new).await.unwrap(), PutManifest::Stored);
        let moved = store.tag(&repository, &tag("moves")).await.unwrap().unwrap();
        assert_eq!(moved.digests, digests(seed + 1), "what was written is read");
        let of = format!("1.{}", self.rounds);
        let new = publishing(&plugin, &package("com.acme.tool", &of, &name), "", &["stable"]);
        let new = NewManifest { actor: by.clone(), ..new };
        assert_eq!(store.put_manifest(new).await.unwrap(), PutManifest::Stored);
        if self.rounds > 0 {
            let (blob, manifest) = (digests(seed - 2).sha256.into(), digests(seed - 1).sha256.into());
            assert!(store.delete_manifest(&repository, &manifest, &by).await.unwrap());
            assert!(store.unlink_blob(&repository, &blob, &by).await.unwrap());
            let before = tag(&format!("1.{}", self.rounds - 1));
            assert!(store.delete_tag(&plugin.parse().unwrap(), &before, &by).await.unwrap());
        }
        self.rounds += 1;
    }

    /// What is there is what was written, and the log of it has no gap.
    async fn agrees(&self) {
        let catalog = format!("y{}", self.number);
        let tags =
            self.store.tags(&self.name("images/app").parse().unwrap(), None, 9).await.unwrap().unwrap();
        assert_eq!(tags.items, [tag("moves"), tag(&format!("t{}", self.rounds - 1))]);
        let events = self.store.events(&catalog, 0, 1_000_000).await.unwrap();
        let numbers = events.iter().map(|event| event.sequence);
        assert!(numbers.eq(1..=events.len() as u64), "{catalog}");
        let usage = self.store.organisation(&catalog).await.unwrap().unwrap().usage;
        assert_eq!(usage.repositories, 2);
        let seed = 1_000_000_000 + self.number * 1_000_000 + (self.rounds - 1) * 2;
        // A blob has as many bytes as its number says, a manifest 100, a package 1000.
        let expected = u64::from(seed) + 100 + u64::from(self.rounds) * 1100;
        assert_eq!(usage.bytes, expected, "{catalog} after {} rounds", self.rounds);
    }
}
