//! How the program gets to PostgreSQL: trust in certificates, secrets that stay secret, limits of time, poolers.

use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use quire::meta::MetaError;
use quire::meta::postgres::{Database, DatabaseSettings};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::harness::postgres::{Cluster, cluster};
use crate::harness::valve::Valve;
use crate::harness::{Client, Server};

const PASSWORD: &str = "hunter2-and-more";

fn settings(url: &str) -> DatabaseSettings {
    DatabaseSettings {
        url: url.to_owned(),
        direct_url: None,
        connections: 2,
        timeout: Duration::from_secs(10),
    }
}

/// The only value of the only row that a statement answers, on a connection of the pool.
async fn ask(url: &str, sql: &str) -> Result<String, MetaError> {
    let pool = Database::new(&settings(url))?.pool().await?;
    let client = pool.get().await.expect("a connection");
    Ok(client.query_one(sql, &[]).await.expect("a row").get(0))
}

/// Certificates that `openssl` makes: an authority, what it signed for `localhost` and for a role, and a stranger.
struct Certificates(TempDir);

impl Certificates {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a file")
    }

    fn openssl(&self, arguments: &str) {
        let mut openssl = Command::new("openssl");
        let done = openssl.args(arguments.split(' ')).current_dir(self.0.path()).output().expect("openssl");
        assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn make() -> Self {
        let made = Self(tempfile::tempdir().expect("a folder"));
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for authority in ["ca", "other"] {
            made.openssl(&format!(
                "req -x509 {key} -keyout {authority}.key -out {authority}.pem -days 2 -subj /CN={authority}"
            ));
        }
        for (name, subject, extension) in [
            ("server", "localhost", "subjectAltName=DNS:localhost"),
            ("client", "badge", "extendedKeyUsage=clientAuth"),
        ] {
            made.openssl(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={subject}"));
            std::fs::write(made.path("extension"), extension).expect("a file");
            made.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extension -out {name}.pem"
            ));
        }
        made
    }
}

/// The cluster with TLS switched on.
fn with_tls(cluster: &'static Cluster) -> &'static Certificates {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let certificates = Certificates::make();
        for file in ["server.pem", "server.key", "ca.pem"] {
            cluster.write(file, &certificates.text(file));
        }
        cluster.sql(
            "postgres",
            &[
                "ALTER SYSTEM SET ssl_cert_file = 'server.pem'",
                "ALTER SYSTEM SET ssl_key_file = 'server.key'",
                "ALTER SYSTEM SET ssl_ca_file = 'ca.pem'",
                "ALTER SYSTEM SET ssl = on",
            ],
        );
        cluster.reload();
        certificates
    })
}

/// The levels of trust that libpq knows mean here what they mean there.
#[tokio::test]
async fn certificates_are_trusted_as_far_as_sslmode_says() {
    let Some(cluster) = cluster() else { return };
    let certificates = with_tls(cluster);
    let (ca, other) = (certificates.path("ca.pem"), certificates.path("other.pem"));
    let encrypted = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let url =
        |host: &str, query: &str| format!("postgres://postgres@{host}:{}/postgres?{query}", cluster.port);
    for (host, query, expected) in [
        ("localhost", "sslmode=disable".to_owned(), "false"),
        ("localhost", String::new(), "true"),
        ("localhost", "sslmode=prefer".to_owned(), "true"),
        ("127.0.0.1", "sslmode=require".to_owned(), "true"),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={ca}"), "true"),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}"), "true"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}"), "true"),
        ("localhost", format!("sslrootcert={ca}"), "true"),
    ] {
        assert_eq!(
            ask(&url(host, &query), encrypted).await.as_deref().ok(),
            Some(expected),
            "{host} {query}"
        );
    }
    for (host, query, reason) in [
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}"), "not valid for name"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={other}"), "invalid peer certificate"),
        ("localhost", format!("sslmode=verify-ca&sslrootcert={other}"), "invalid peer certificate"),
        ("localhost", format!("sslmode=require&sslrootcert={other}"), "invalid peer certificate"),
        ("localhost", "sslmode=verify-full".to_owned(), "invalid peer certificate"),
        ("localhost", "sslmode=verify-full&sslrootcert=/no/such/file".to_owned(), "/no/such/file"),
    ] {
        let error = ask(&url(host, &query), encrypted).await.expect_err(&query);
        assert!(matches!(error, MetaError::Broken(_)), "{error}");
        assert!(error.to_string().contains(reason), "{host} {query}: {error}");
    }
}

/// A client certificate takes the place of a password.
#[tokio::test]
async fn a_role_shows_its_certificate() {
    let Some(cluster) = cluster() else { return };
    let certificates = with_tls(cluster);
    cluster.sql("postgres", &["CREATE ROLE badge LOGIN"]);
    cluster.admit("badge", "cert");
    let [ca, chain, key] = ["ca.pem", "client.pem", "client.key"].map(|file| certificates.path(file));
    let url = format!("postgres://badge@localhost:{}/postgres?sslrootcert={ca}", cluster.port);
    let shown = format!("{url}&sslcert={chain}&sslkey={key}");
    assert_eq!(ask(&shown, "SELECT current_user::text").await.ok().as_deref(), Some("badge"));
    let error = ask(&url, "SELECT current_user::text").await.expect_err("no certificate").to_string();
    assert!(error.contains("certificate"), "{error}");
}

/// Runs the program with variables without their `QUIRE_`.
fn quire(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
    command.args(arguments).env("QUIRE_LOG", "trace");
    for (name, value) in variables {
        command.env(format!("QUIRE_{name}"), value);
    }
    command.output().expect("quire")
}

/// Whatever goes wrong, and however much is logged: the message names place and user, and never the password.
#[test]
fn a_password_is_never_shown() {
    let Some(cluster) = cluster() else { return };
    cluster.sql("postgres", &["CREATE ROLE guarded LOGIN PASSWORD 'not-that-one'"]);
    cluster.admit("guarded", "scram-sha-256");
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", &data];
    let place = format!("127.0.0.1:{}", cluster.port);
    let dead = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        socket.local_addr().expect("an address").to_string()
    };
    for (url, code, reason) in [
        (format!("postgres://guarded:{PASSWORD}@{place}/postgres"), 2, "password authentication failed"),
        (format!("postgres://guarded:{PASSWORD}@{dead}/postgres"), 3, "cannot reach 127.0.0.1:"),
        (
            format!("postgres://guarded:{PASSWORD}@no-such-host.invalid/q"),
            3,
            "cannot reach no-such-host.invalid:5432",
        ),
        (format!("postgres://guarded:{PASSWORD}@{place}/postgres?sslmode={PASSWORD}"), 2, "sslmode"),
        (format!("postgres://guarded:{PASSWORD}@x@{place}/postgres"), 2, "%40"),
        (format!("mysql://guarded:{PASSWORD}@{place}/postgres"), 2, "postgres://"),
        (format!("postgres://postgres:{PASSWORD}@{place}/missing"), 2, "does not exist (3D000)"),
    ] {
        let file = folder.path().join("url");
        std::fs::write(&file, format!("{url}\n")).expect("a file");
        let from_file = [("DATABASE_URL_FILE", file.to_str().expect("a text"))];
        let check = ["migrate", "--check", "--output", "json"];
        for (arguments, variables) in
            [(&serve[..], &[("DATABASE_URL", url.as_str())]), (&serve, &from_file), (&check, &from_file)]
        {
            let done = quire(arguments, variables);
            let said = [done.stdout, done.stderr].concat();
            let said = String::from_utf8(said).expect("a text");
            assert_eq!(done.status.code(), Some(code), "{arguments:?} {url}: {said}");
            assert!(said.contains(reason) && !said.contains(PASSWORD), "{said}");
        }
    }
    assert!(!std::path::Path::new(&data).join("quire.db").exists(), "nothing falls back to SQLite");
    let unclear = format!("postgres://guarded:{PASSWORD}@{place}/postgres?sslrootcert=/no/such/file");
    let done = quire(&["check-config"], &[("DATABASE_URL", &unclear)]);
    let said = String::from_utf8([done.stdout, done.stderr].concat()).expect("a text");
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("/no/such/file") && !said.contains(PASSWORD), "{said}");
    let url = format!("postgres://guarded:{PASSWORD}@{place}/postgres");
    for output in ["text", "json"] {
        let variables = [("DATABASE_URL", url.as_str()), ("DATABASE_DIRECT_URL", &url)];
        let done = quire(&["check-config", "--output", output], &variables);
        let said = String::from_utf8(done.stdout).expect("a text");
        assert!(done.status.success() && said.contains("(secret)") && !said.contains(PASSWORD), "{said}");
    }
}

/// The server knows the limits of a session from its beginning, and who it is.
#[tokio::test]
async fn sessions_have_limits_of_time() {
    let Some(cluster) = cluster() else { return };
    let mut settings = settings(&cluster.url("postgres"));
    settings.timeout = Duration::from_millis(400);
    let database = Database::new(&settings).expect("a URL");
    let pool = database.pool().await.expect("a pool");
    let client = pool.get().await.expect("a connection");
    for (setting, value) in [
        ("statement_timeout", "400ms"),
        ("lock_timeout", "300ms"),
        ("idle_in_transaction_session_timeout", "4s"),
        ("application_name", "quire"),
    ] {
        let row = client.query_one(&format!("SHOW {setting}"), &[]).await.expect("a row");
        assert_eq!(row.get::<_, String>(0), value, "{setting}");
    }
    let error = client.execute("SELECT pg_sleep(30)", &[]).await.expect_err("too long");
    assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{error}");
    let url = format!("{}?options=-c%20statement_timeout%3D7s", cluster.url("postgres"));
    assert_eq!(ask(&url, "SHOW statement_timeout").await.ok().as_deref(), Some("7s"), "the URL's own count");
}

/// However the database is gone, nobody waits long for a connection, and all is well once it is back.
#[tokio::test]
async fn connections_that_lead_nowhere_are_replaced() {
    let Some(cluster) = cluster() else { return };
    let place = cluster.empty_database();
    let mut settings = settings(&place.url());
    settings.connections = 4;
    let database = Database::new(&settings).expect("a URL");
    let pool = database.pool().await.expect("a pool");
    let all = async || {
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(pool.get().await.expect("a connection"));
        }
        for client in &clients {
            client.query_one("SELECT 1", &[]).await.expect("an answer");
        }
    };
    all().await;
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    place.sql(&[others]);
    // The news may still be under way; those that rested are asked in any case.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    all().await;
}

/// A server that takes connections and says nothing is given up in time.
#[tokio::test]
async fn silence_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let mut settings = settings(&format!("postgres://quire@{address}/quire?sslmode=disable"));
    settings.timeout = Duration::from_millis(200);
    let database = Database::new(&settings).expect("a URL");
    let begun = Instant::now();
    let error = database.pool().await.expect_err("silence");
    assert!(matches!(&error, MetaError::Unavailable(text) if text.contains(&address.to_string())), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

/// A server of this program whose way to its database can be shut, with a tag that was never pulled.
async fn behind(valve: &Valve, database: &str) -> (Server, Client) {
    let url = format!("postgres://postgres@{}/{database}", valve.address);
    let server = Server::start(&[("DATABASE_URL", &url), ("DATABASE_TIMEOUT", "900")]);
    let admin = server.admin();
    admin.push_artifact("acme/tool", "v1", "a layer").await;
    (server, admin)
}

/// A database that neither answers nor breaks off is out of service within two seconds, for reads and writes, and in
/// service again by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_is_503_in_time() {
    let Some(cluster) = cluster() else { return };
    let place = cluster.database();
    let valve = Valve::to(([127, 0, 0, 1], cluster.port).into()).await;
    let (_server, admin) = behind(&valve, &place.name).await;
    let unknown = |number: u32| format!("/v2/acme/tool/manifests/unknown-{number}");
    assert_eq!(admin.get(&unknown(0)).await.status, 404);
    // Connections that were just used, those that rested, and those that have to be made.
    for rest in [0, 1200] {
        tokio::time::sleep(Duration::from_millis(rest)).await;
        valve.shut();
        for number in 1..4 {
            let begun = Instant::now();
            let read = admin.get(&unknown(number)).await;
            assert_eq!(read.status, 503, "{read:?}");
            assert!(!read.header("retry-after").is_empty(), "{read:?}");
            let took = begun.elapsed();
            assert!(took < Duration::from_millis(2500), "it took {took:?}, and the machine may be busy");
        }
        let begun = Instant::now();
        let written = admin.send("POST", "/v2/acme/tool/blobs/uploads/", &[], "").await;
        assert_eq!(written.status, 503, "{written:?}");
        assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
        valve.open();
        let begun = Instant::now();
        while admin.get(&unknown(9)).await.status != 404 {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        admin.push_artifact("acme/tool", &format!("after-{rest}"), "another layer").await;
    }
}
