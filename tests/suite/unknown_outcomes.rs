//! Commits whose answer was lost: what PostgreSQL did with them is found out, and nothing is done twice.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use quire::meta::postgres::PgMeta;
use quire::meta::{MetaError, MetaStore, PutManifest, Upload};
use quire::staging::Checkpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::contended_laws::are_chains;
use crate::harness::postgres::{cluster, crashing_cluster};
use crate::meta_laws::{actor, blob, digests, manifest, pushed, repository, tag};
use crate::stores::{connected, connected_by};

/// Where the connection is cut, once: seen from a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The server never gets the commit.
    Before,
    /// The server gets it, and nobody hears of it.
    With,
    /// The server has committed, and nobody hears of it.
    After,
}

/// Stands between the store and PostgreSQL, and reads along.
struct Proxy {
    address: SocketAddr,
    plan: Arc<Mutex<Option<Cut>>>,
    /// Whether new connections are refused.
    is_closed: Arc<AtomicBool>,
}

impl Proxy {
    async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            plan: Arc::new(Mutex::new(None)),
            is_closed: Arc::new(AtomicBool::new(false)),
        };
        let (plan, is_closed) = (Arc::clone(&proxy.plan), Arc::clone(&proxy.is_closed));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if is_closed.load(Ordering::Relaxed) {
                    continue;
                }
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let plan = Arc::clone(&plan);
                tokio::spawn(async move { pass(client, server, &plan).await });
            }
        });
        proxy
    }

    fn cut(&self, cut: Cut) {
        *self.plan.lock().unwrap() = Some(cut);
    }

    fn store(&self, database: &str, connections: usize) -> PgMeta {
        connected_by(&format!("postgres://postgres@{}/{database}", self.address), connections)
    }
}

/// Passes everything on until one side ends, or the connection is cut as planned. `None`: it ended by itself.
async fn pass(client: TcpStream, server: TcpStream, plan: &Mutex<Option<Cut>>) -> Option<()> {
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let is_cut = Arc::new(AtomicBool::new(false));
    let answers = tokio::spawn(answer(from_server, to_client, Arc::clone(&is_cut)));
    let mut begun = false;
    loop {
        let message = next(&mut from_client, &mut begun).await?;
        let is_commit = message.starts_with(b"Q") && message.ends_with(b"COMMIT\0");
        let cut = if is_commit { plan.lock().unwrap().take() } else { None };
        // What is answered to a commit that was cut off nobody gets.
        is_cut.store(cut.is_some(), Ordering::Relaxed);
        if cut != Some(Cut::Before) {
            to_server.write_all(&message).await.ok()?;
        }
        match cut {
            None => {}
            Some(Cut::Before | Cut::With) => {
                answers.abort();
                return Some(());
            }
            Some(Cut::After) => return answers.await.ok()?,
        }
    }
}

/// A message of the client. The first one has no kind.
async fn next(from: &mut OwnedReadHalf, begun: &mut bool) -> Option<Vec<u8>> {
    let kind = if *begun { Some(from.read_u8().await.ok()?) } else { None };
    *begun = true;
    let length = from.read_u32().await.ok()?;
    let mut message: Vec<u8> = kind.into_iter().chain(length.to_be_bytes()).collect();
    let start = message.len();
    message.resize(start + length as usize - 4, 0);
    from.read_exact(&mut message[start..]).await.ok()?;
    Some(message)
}

/// Passes answers on, or keeps them back until the commit was answered.
async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_cut: Arc<AtomicBool>) -> Option<()> {
    let mut kept: Vec<u8> = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut piece).await.ok().filter(|length| *length > 0)?;
        if !is_cut.load(Ordering::Relaxed) {
            to.write_all(&piece[..length]).await.ok()?;
            continue;
        }
        kept.extend(&piece[..length]);
        if kept.windows(7).any(|window| window == b"COMMIT\0") {
            return Some(());
        }
    }
}

async fn proxied(connections: usize) -> Option<(Proxy, PgMeta)> {
    let (port, name) = tokio::task::spawn_blocking(|| {
        let cluster = cluster()?;
        Some((cluster.port, cluster.database().keep()))
    })
    .await
    .unwrap()?;
    let proxy = Proxy::start(port).await;
    let store = proxy.store(&name, connections);
    store.create_organisation("a", "a", None, &actor()).await.unwrap();
    Some((proxy, store))
}

/// P2: a push whose commit was cut off is done once, whichever side of it the cut was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_push_is_done_once_wherever_the_connection_is_cut() {
    let Some((proxy, store)) = proxied(8).await else { return };
    let mut events = 0;
    for round in 0..5 {
        for (place, cut) in [Cut::Before, Cut::With, Cut::After].into_iter().enumerate() {
            let seed = round * 3 + u32::try_from(place).unwrap();
            proxy.cut(cut);
            let digest = pushed(&store, "a/b", seed, &["moves"]).await;
            assert!(proxy.plan.lock().unwrap().is_none(), "it was cut");
            let found = store.tag(&repository("a/b"), &tag("moves")).await.unwrap().unwrap();
            assert_eq!(found.digests.sha256, digest, "{cut:?}");
            // A push and a move, each told once.
            events += 2;
            let told = store.events("a", 0, 1000).await.unwrap();
            assert_eq!(
                told.iter().map(|event| event.sequence).collect::<Vec<_>>(),
                (1..=events).collect::<Vec<_>>()
            );
            let lines = store.audit(Some(&["a".to_owned()]), 0, 1000).await.unwrap();
            assert_eq!(lines.len() as u64, events + 1, "{cut:?}");
        }
    }
}

/// The answer is that of the transaction that was cut off, and not of a second one that finds its work done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_is_that_of_the_first_transaction() {
    let Some((proxy, store)) = proxied(8).await else { return };
    for cut in [Cut::Before, Cut::With, Cut::After] {
        let id = Uuid::now_v7();
        let checkpoint = Checkpoint { offset: 0, hash_state: vec![] };
        let upload =
            Upload { id, repository: repository("a/b"), subject: "tester".into(), checkpoint, home: None };
        proxy.cut(cut);
        store.create_upload(upload).await.unwrap();
        proxy.cut(cut);
        assert!(store.drop_upload(id).await.unwrap(), "{cut:?}");
        assert!(!store.drop_upload(id).await.unwrap());
        proxy.cut(cut);
        let number = format!("{cut:?}").to_lowercase();
        let made = store.create_organisation(&number, "x", None, &actor()).await.unwrap();
        assert!(matches!(made, quire::meta::WriteOrganisation::Written(_)), "{made:?}");
    }
}

/// Where nobody can tell in time, the answer is that it may be tried again; and then it is as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_tell_is_not_available() {
    let Some((proxy, store)) = proxied(1).await else { return };
    // Another connection of the pool would still lead to the server.
    let pushed_once = store.put_manifest(manifest("a/b", 1, &[], &["v1"])).await.unwrap();
    assert_eq!(pushed_once, PutManifest::Stored);
    proxy.cut(Cut::After);
    proxy.is_closed.store(true, Ordering::Relaxed);
    let asked = Instant::now();
    let outcome = store.put_manifest(manifest("a/b", 2, &[], &["v1"])).await;
    assert!(matches!(outcome, Err(MetaError::Unavailable(_))), "{outcome:?}");
    assert!(asked.elapsed() > Duration::from_secs(1), "it was asked for a while: {:?}", asked.elapsed());
    proxy.is_closed.store(false, Ordering::Relaxed);
    let found = store.tag(&repository("a/b"), &tag("v1")).await.unwrap().unwrap();
    assert_eq!(found.digests, digests(2), "it was committed, and a repetition changes nothing");
    assert_eq!(store.put_manifest(manifest("a/b", 2, &[], &["v1"])).await.unwrap(), PutManifest::Stored);
    assert_eq!(store.events("a", 0, 99).await.unwrap().len(), 4);
}

/// P2: what was acknowledged is there after every crash of the server, and what is there is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_crash_of_the_server_loses_nothing_that_was_acknowledged() {
    let made = tokio::task::spawn_blocking(|| {
        let cluster = crashing_cluster()?;
        Some((cluster, cluster.database().keep()))
    });
    let Some((cluster, name)) = made.await.unwrap() else { return };
    let store = Arc::new(connected(&cluster.url(&name)));
    store.create_organisation("a", "a", None, &actor()).await.unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..8_u32 {
        let (store, ended) = (Arc::clone(&store), Arc::clone(&ended));
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for round in 0.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let seed = writer * 100_000 + round;
                let name = format!("a/r{writer}");
                let linked = store.link_blob(&repository(&name), blob(seed), None, &actor()).await;
                let put = store.put_manifest(manifest(&name, seed, &[], &["moves"])).await;
                match (linked, put) {
                    (Ok(Ok(())), Ok(PutManifest::Stored)) => acknowledged.push(seed),
                    (Err(MetaError::Unavailable(_)), _) | (_, Err(MetaError::Unavailable(_))) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    other => panic!("{other:?}"),
                }
            }
            (writer, acknowledged)
        });
    }
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        tokio::task::spawn_blocking(|| cluster.crash()).await.unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    let written = writers.join_all().await;
    let again = connected(&cluster.url(&name));
    let events = again.events("a", 0, 1_000_000).await.unwrap();
    assert!(events.iter().map(|event| event.sequence).eq(1..=events.len() as u64), "no gaps");
    let tags = are_chains(&events);
    let mut count = 0;
    for (writer, acknowledged) in written {
        let name = repository(&format!("a/r{writer}"));
        for seed in &acknowledged {
            let digest = digests(*seed).sha256.into();
            assert!(again.blob(&name, &digest).await.unwrap().is_some(), "blob {seed}");
            assert!(again.manifest(&name, &digest).await.unwrap().is_some(), "manifest {seed}");
        }
        let found = again.tag(&name, &tag("moves")).await.unwrap().map(|found| found.digests.sha256);
        assert_eq!(found.as_ref(), tags[name.as_str()].get("moves"), "the log tells where it is");
        count += acknowledged.len();
    }
    assert!(count > 20, "only {count} pushes");
}
