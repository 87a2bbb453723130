//! The law of feeds, for every metadata store: what one node writes is told to the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quire::meta::feed::{EVENTS, Feed, News, Nudge, Touch, Touched};
use quire::meta::{MetaStore, TagCondition, TagWrite};

use crate::meta_laws::{actor, digests, manifest, pushed, repository, tag};
use crate::stores::{Fixture, laws};

/// Two nodes of one registry.
struct Nodes {
    here: Arc<dyn MetaStore>,
    elsewhere: Arc<dyn MetaStore>,
    _fixture: Fixture,
}

impl Nodes {
    async fn of(fixture: Fixture) -> Self {
        Self { here: fixture.again().await, elsewhere: Arc::clone(&fixture.store), _fixture: fixture }
    }
}

/// Reads until a catalog has come to a sequence, and returns what was touched on the way.
async fn read_to(feed: &mut dyn Feed, catalog: &str, sequence: u64) -> Vec<Touched> {
    let (begun, mut last, mut all) = (Instant::now(), 0, Vec::new());
    while last < sequence {
        assert!(begun.elapsed() < Duration::from_secs(10), "{last} of {sequence}");
        let News::Moved(catalogs) = feed.next().await.unwrap().news else { panic!("it was not cut") };
        for moved in catalogs.into_iter().filter(|moved| moved.catalog == catalog) {
            assert!(moved.sequence > last, "in order");
            last = moved.sequence;
            all.push(moved.touched);
        }
    }
    assert_eq!(last, sequence);
    all
}

fn repositories(touched: Vec<Touched>) -> Vec<(String, bool)> {
    let each = |touched| match touched {
        Touched::Repositories(touches) => touches,
        Touched::Everything => panic!("there were few"),
    };
    let told = |Touch { repository, deleted }| (repository.to_string(), deleted);
    touched.into_iter().flat_map(each).map(told).collect()
}

async fn others_are_told(Nodes { here, elsewhere, .. }: &Nodes) {
    pushed(&**elsewhere, "a/b", 1, &["v1"]).await;
    pushed(&**elsewhere, "x/y", 2, &[]).await;
    let mut feed = here.follow(Nudge::default()).await.unwrap();
    let first = feed.next().await.unwrap().news;
    let News::Anything(first) = first else { panic!("{first:?}") };
    assert_eq!(["a", "b", "x"].map(|catalog| first.get(catalog).copied()), [Some(2), None, Some(1)]);

    pushed(&**elsewhere, "a/c", 3, &["v1"]).await;
    elsewhere.delete_manifest(&repository("a/b"), &digests(1).sha256.into(), &actor()).await.unwrap();
    let sequence = elsewhere.sequence("a").await.unwrap();
    let mut told = repositories(read_to(&mut *feed, "a", sequence).await);
    assert_eq!(told.remove(0), ("a/c".to_owned(), false));
    assert_eq!(told.remove(0), ("a/c".to_owned(), false));
    assert!(told.contains(&("a/b".to_owned(), true)), "{told:?}");
    assert!(told.iter().all(|(name, _)| name == "a/b"), "{told:?}");
    // Nothing more, and that it still answers: of now, and not of before.
    let begun = Instant::now();
    loop {
        let look = feed.next().await.unwrap();
        let News::Moved(moved) = look.news else { panic!("it was not cut") };
        assert!(moved.iter().all(|moved| !["a", "x"].contains(&moved.catalog.as_str())), "{moved:?}");
        if look.as_of > begun + Duration::from_millis(500) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    // A catalog without events so far, and one that moved on.
    pushed(&**elsewhere, "c/d", 4, &["v1"]).await;
    assert_eq!(repositories(read_to(&mut *feed, "c", 2).await).len(), 2);
    pushed(&**elsewhere, "a/b", 1, &["v2"]).await;
    let sequence = elsewhere.sequence("a").await.unwrap();
    assert_eq!(repositories(read_to(&mut *feed, "a", sequence).await).len(), 2);
}

/// Also of what this very store wrote, at the latest when it is nudged.
async fn a_nudge_tells(Nodes { here, .. }: &Nodes) {
    let nudge = Nudge::default();
    let mut feed = here.follow(Arc::clone(&nudge)).await.unwrap();
    feed.next().await.unwrap();
    for seed in 1..4 {
        pushed(&**here, "a/b", seed, &[]).await;
        nudge.notify_one();
        // Who wrote it knows what it is about.
        let told = repositories(read_to(&mut *feed, "a", u64::from(seed)).await);
        assert!(told.iter().all(|touch| *touch == ("a/b".to_owned(), false)), "{told:?}");
    }
    assert_eq!(here.sequence("a").await.unwrap(), 3);
    assert_eq!(here.sequence("never").await.unwrap(), 0);
}

async fn far_behind(Nodes { here, elsewhere, .. }: &Nodes) {
    let digest = pushed(&**elsewhere, "a/b", 1, &[]).await;
    let nudge = Nudge::default();
    let mut feed = here.follow(Arc::clone(&nudge)).await.unwrap();
    feed.next().await.unwrap();
    let write = |number: usize| TagWrite {
        repository: repository("a/b"),
        tag: tag(&format!("t{number}")),
        digest: digest.into(),
        condition: TagCondition::Any,
        may_move: true,
    };
    let count = EVENTS + 1;
    elsewhere.write_tags((0..count).map(write).collect(), &actor()).await.unwrap();
    let told = read_to(&mut *feed, "a", count as u64 + 1).await;
    assert!(told.contains(&Touched::Everything), "{}", told.len());
}

async fn nothing_is_left_out(Nodes { here, elsewhere, .. }: &Nodes) {
    const WRITERS: u32 = 16;
    const EACH: u32 = 20;
    let mut feed = here.follow(Nudge::default()).await.unwrap();
    feed.next().await.unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(elsewhere);
            tokio::spawn(async move {
                for number in 0..EACH {
                    let name = format!("a/w{writer}-{number}");
                    store.put_manifest(manifest(&name, writer * EACH + number, &[], &[])).await.unwrap();
                }
            })
        })
        .collect();
    let told = read_to(&mut *feed, "a", u64::from(WRITERS * EACH)).await;
    for writer in writers {
        writer.await.unwrap();
    }
    let mut told: Vec<String> = repositories(told).into_iter().map(|(name, _)| name).collect();
    told.sort();
    let mut expected: Vec<String> = (0..WRITERS)
        .flat_map(|writer| (0..EACH).map(move |number| format!("a/w{writer}-{number}")))
        .collect();
    expected.sort();
    assert_eq!(told, expected);
}

macro_rules! feed_laws {
    ($($name:ident: $law:ident;)+) => {
        $(async fn $name(fixture: Fixture) {
            $law(&Nodes::of(fixture).await).await;
        })+

        laws! { $($name)+ }

        /// The same where the server tells what others write.
        #[cfg(feature = "postgres")]
        mod postgres_that_tells {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(fixture) = crate::stores::postgres().await else { return };
                let nodes = Nodes { here: fixture.listening(), ..Nodes::of(fixture).await };
                super::$law(&nodes).await;
            })+
        }
    };
}

feed_laws! {
    law_14_what_others_write_is_told: others_are_told;
    law_14_a_nudge_tells_everything: a_nudge_tells;
    law_14_a_feed_that_is_far_behind_tells_so: far_behind;
    law_14_no_event_of_16_writers_is_left_out: nothing_is_left_out;
}

/// What is told comes long before the next look, and what this node wrote itself is not read again.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_tells_at_once_and_own_writes_only_count() {
    let Some(fixture) = crate::stores::postgres().await else { return };
    let (here, elsewhere) = (&fixture.listening(), &fixture.store);
    for seed in 0..2 {
        pushed(&**elsewhere, "a/b", seed, &[]).await;
    }
    let mut feed = here.follow(Nudge::default()).await.unwrap();
    feed.next().await.unwrap();
    let (mut last, mut quickest) = (2, Duration::MAX);
    for seed in 10..20 {
        let begun = Instant::now();
        pushed(&**elsewhere, "a/b", seed, &[]).await;
        last += 1;
        assert_eq!(repositories(read_to(&mut *feed, "a", last).await), [("a/b".to_owned(), false)]);
        quickest = quickest.min(begun.elapsed());
        pushed(&**here, "a/c", seed, &["v"]).await;
        last += 2;
        assert_eq!(repositories(read_to(&mut *feed, "a", last).await), []);
    }
    println!("told after {quickest:?}");
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
    // Own and others' in one look: of what is read nothing is missing.
    let both = [(here, "a/d", 30), (elsewhere, "a/e", 31), (here, "a/f", 32)];
    for (store, name, seed) in both {
        pushed(&**store, name, seed, &[]).await;
    }
    let told = repositories(read_to(&mut *feed, "a", last + 3).await);
    assert!(told.contains(&("a/e".to_owned(), false)), "{told:?}");
}
