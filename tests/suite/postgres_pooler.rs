//! Behind PgBouncer in transaction mode, where each transaction may be on another session of the server.

use std::process::Command;

use quire::digest::Sha256;

use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::cluster;
use crate::harness::{Client, Server};

/// Pushes and pulls of one client, by names that no other has.
async fn work(client: Client, number: usize) {
    let repository = format!("acme/tool-{number}");
    for round in 0..6 {
        let (tag, layer) = (format!("v{round}"), format!("{number} {round}"));
        let digest = client.push_artifact(&repository, &tag, layer.clone()).await;
        let pulled = client.get(&format!("/v2/{repository}/manifests/{tag}")).await;
        assert_eq!((pulled.status.as_u16(), pulled.header("docker-content-digest")), (200, digest.as_str()));
        let blob = format!("/v2/{repository}/blobs/{}", Sha256::of(layer.as_bytes()));
        assert_eq!(client.get(&blob).await.body, layer);
    }
}

/// Two servers share two sessions of the database between them, with and without a way past the pooler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_work_through_a_pooler() {
    let Some(cluster) = cluster() else { return };
    let Some(pooler) = PgBouncer::start(cluster, "max_prepared_statements = 100").await else { return };
    for direct in [true, false] {
        let place = cluster.empty_database();
        let url = pooler.url(&place.name);
        let past = place.url();
        let mut settings = vec![("DATABASE_URL", url.as_str()), ("DATABASE_TIMEOUT", "30000")];
        if direct {
            settings.push(("DATABASE_DIRECT_URL", &past));
        }
        let servers = [Server::start(&settings), Server::start(&settings)];
        let clients = (0..8).map(|number| (number, servers[number % 2].admin()));
        let jobs: Vec<_> = clients.map(|(number, client)| tokio::spawn(work(client, number))).collect();
        for job in jobs {
            job.await.expect("all its pushes and pulls");
        }
        let tags = servers[0].admin().get("/v2/acme/tool-1/tags/list").await.json();
        assert_eq!(tags["tags"].as_array().map(Vec::len), Some(6), "what the other server wrote");
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
             AND application_name = 'quire'";
        let sessions: usize = place.sql(&[sessions]).trim().parse().expect("a number");
        // Past the pooler each server has one more: there it is told what the other one writes.
        let most = if direct { 4 } else { 2 };
        assert!(sessions <= most, "{sessions} sessions are not shared");
        drop(servers);
        let sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        place.sql(&[sessions]);
    }
}

/// A pooler that mixes up prepared statements is found out at the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_forgets_statements_is_refused() {
    let Some(cluster) = cluster() else { return };
    let Some(pooler) = PgBouncer::start(cluster, "max_prepared_statements = 0").await else { return };
    let place = cluster.database();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path());
    command.env("QUIRE_DATABASE_URL", pooler.url(&place.name)).env("QUIRE_LOG", "error");
    let done = command.output().expect("quire");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("max_prepared_statements"), "{said}");
}
