//! Migrations in PostgreSQL: one process at a time, each step whole or not at all, and programs beside one another.

use std::process::{Command, Output};
use std::time::Duration;

use quire::meta::MetaError;
use quire::meta::migrate::{Migration, Program};
use quire::meta::postgres::{Database, DatabaseSettings};
use serde_json::{Value, json};

use crate::harness::postgres::{self, cluster};

const THIS: Program = Program::THIS;
const FIRST: Migration = Migration {
    version: 1,
    name: "first",
    // Long enough for others to come meanwhile.
    sql: "CREATE TABLE one (id int); SELECT pg_sleep(0.3); INSERT INTO one VALUES (1)",
    oldest_program: THIS,
};
const SECOND: Migration = Migration {
    version: 2,
    name: "second",
    sql: "ALTER TABLE one ADD COLUMN name text; INSERT INTO one VALUES (2, 'two')",
    oldest_program: THIS,
};
const BROKEN: Migration = Migration {
    version: 2,
    name: "broken",
    sql: "INSERT INTO one VALUES (3); SELECT 1 / 0",
    oldest_program: THIS,
};

fn database(url: &str) -> Database {
    let settings = DatabaseSettings {
        url: url.to_owned(),
        direct_url: None,
        connections: 2,
        timeout: Duration::from_secs(10),
    };
    Database::new(&settings).expect("a URL")
}

async fn names(database: &Database, steps: &'static [Migration]) -> Vec<&'static str> {
    database.migrate(steps).await.expect("a migration").iter().map(|step| step.name).collect()
}

/// However many start at once, each step runs once, and all find the whole schema.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_start_together_migrate_once() {
    let Some(cluster) = cluster() else { return };
    let place = cluster.empty_database();
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let url = place.url();
            tokio::spawn(async move { names(&database(&url), &[FIRST, SECOND]).await })
        })
        .collect();
    let mut ran = Vec::new();
    for start in starts {
        ran.extend(start.await.expect("an end"));
    }
    ran.sort_unstable();
    assert_eq!(ran, ["first", "second"], "each ran in one of them");
    assert_eq!(place.sql(&["SELECT id, name FROM one ORDER BY id"]), "1|\n2|two\n");
    let rows = "SELECT version, name, length(sha256), oldest FROM schema_migrations, schema_programs
         WHERE version = step ORDER BY version";
    assert_eq!(place.sql(&[rows]), format!("1|first|64|{THIS}\n2|second|64|{THIS}\n"));
    assert!(names(&database(&place.url()), &[FIRST, SECOND]).await.is_empty());
}

/// A step that fails leaves nothing, and the steps before it stay.
#[tokio::test]
async fn a_step_is_whole_or_not_there() {
    let Some(cluster) = cluster() else { return };
    let place = cluster.empty_database();
    let error = database(&place.url()).migrate(&[FIRST, BROKEN]).await.expect_err("a division by zero");
    assert!(error.to_string().contains("division by zero"), "{error}");
    assert_eq!(place.sql(&["SELECT id FROM one", "SELECT version FROM schema_migrations"]), "1\n1\n");
    assert_eq!(names(&database(&place.url()), &[FIRST, SECOND]).await, ["second"]);
}

/// Roles have limits of time for requests, and a table in use is waited for without holding up those who use it.
#[tokio::test]
async fn a_step_waits_for_tables_and_takes_its_time() {
    let Some(cluster) = cluster() else { return };
    let place = cluster.empty_database();
    place.sql(&[&format!("ALTER DATABASE {} SET statement_timeout = '100ms'", place.name)]);
    assert_eq!(names(&database(&place.url()), &[FIRST]).await, ["first"]);
    let reader = {
        let url = place.url();
        let hold = "BEGIN; SET LOCAL statement_timeout = 0; SELECT * FROM one; SELECT pg_sleep(2.5)";
        std::thread::spawn(move || {
            let psql = postgres::programs().expect("PostgreSQL").join("psql");
            Command::new(psql).args(["-X", "-q", "-c", hold, &url]).output().expect("psql").status
        })
    };
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(2.5)%' AND datname = current_database()
         AND wait_event = 'PgSleep'";
    while place.sql(&[sleeps]) != "1\n" {}
    assert_eq!(names(&database(&place.url()), &[FIRST, SECOND]).await, ["second"]);
    assert!(reader.join().expect("its end").success());
}

/// A newer program expanded the schema: this one goes on. It contracted the schema: this one says what is needed.
#[tokio::test]
async fn postgres_goes_on_beside_newer_programs() {
    let Some(cluster) = cluster() else { return };
    let place = cluster.empty_database();
    let newer = database(&place.url());
    names(&newer, &[FIRST, SECOND]).await;
    let older = newer.schema(&[FIRST]).await.expect("a schema that was expanded");
    assert_eq!((older.applied.len(), older.pending.len()), (2, 0));
    place.sql(&["UPDATE schema_programs SET oldest = '77.1.0' WHERE step = 2"]);
    let error = newer.migrate(&[FIRST]).await.expect_err("a refusal");
    assert!(matches!(&error, MetaError::Broken(text) if text.contains("use 77.1.0 or newer")), "{error}");
    let changed: &[Migration] = &[Migration { sql: "SELECT 1", ..FIRST }];
    place.sql(&["UPDATE schema_programs SET oldest = '0.0.1'"]);
    let error = newer.schema(changed).await.expect_err("a refusal").to_string();
    assert!(error.contains("schema version 1 of the database was made by another text"), "{error}");
}

fn migrate(url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
    command.arg("migrate").args(arguments).env("QUIRE_LOG", "warn").env("QUIRE_DATABASE_URL", url);
    command.output().expect("quire")
}

/// The command checks without a trace, runs what is pending, and tells by its exit code.
#[test]
fn migrations_are_checked_and_applied_by_a_command() {
    let Some(cluster) = cluster() else { return };
    let place = cluster.empty_database();
    let told = |arguments: &[&str]| {
        let done = migrate(&place.url(), arguments);
        (done.status.code(), String::from_utf8(done.stdout).expect("a text"))
    };
    let (code, pending) = told(&["--check"]);
    assert_eq!(code, Some(1), "{pending}");
    assert!(pending.starts_with("pending 1 registry\n"), "{pending}");
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
    assert_eq!(place.sql(&[tables]), "0\n", "a check writes nothing");

    // As many at once as there may be replicas.
    let applied: Vec<Value> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(|| told(&["--apply", "--output", "json"]))).collect();
        let done = runs.into_iter().map(|run| run.join().expect("an end"));
        done.map(|(code, text)| {
            assert_eq!(code, Some(0), "{text}");
            serde_json::from_str(&text).expect("JSON")
        })
        .collect()
    });
    let ran: Vec<&Value> = applied.iter().flat_map(|one| one["ran"].as_array().expect("a list")).collect();
    assert_eq!(ran.iter().filter(|step| ***step == json!({"version": 1, "name": "registry"})).count(), 1);
    assert_eq!(told(&["--check"]), (Some(0), "nothing is pending\n".to_owned()));
    assert_eq!(told(&["--check", "--output", "json"]), (Some(0), "{\n  \"pending\": []\n}\n".to_owned()));

    place.sql(&["UPDATE schema_programs SET oldest = '77.0.0'"]);
    let refused = migrate(&place.url(), &["--check"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("use 77.0.0 or newer"), "{said}");
    assert_eq!(migrate(&place.url(), &[]).status.code(), Some(2), "one of the two is needed");
}
