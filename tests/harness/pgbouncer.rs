//! PgBouncer in transaction mode before the cluster of this test process.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::postgres::Cluster;

/// Runs the program `$1` with the settings `$2` and, if that is root, as another user; ends it when standard input ends.
const KEEPER: &str = r#"
trap '' INT TERM HUP
if [ "$(id -u)" = 0 ]; then set -- "$1" -u postgres "$2"; fi
"$@" &
echo started
cat >/dev/null
kill "$!"
"#;

/// A pooler that lends one of two connections for the length of a transaction.
pub struct PgBouncer {
    pub port: u16,
    keeper: Child,
    folder: tempfile::TempDir,
}

/// The program, if there is one that knows prepared statements. That there is none is told.
fn program() -> Option<PathBuf> {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin/pgbouncer");
    let new_enough = |program: &&str| {
        let said = Command::new(program).arg("--version").output().ok()?;
        let said = String::from_utf8(said.stdout).ok()?;
        let version = said.lines().next()?.strip_prefix("PgBouncer ")?.to_owned();
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        (Some((numbers.next()?, numbers.next()?)) >= Some((1, 21))).then_some(())
    };
    let found = [built, "pgbouncer"].into_iter().find(|program| new_enough(program).is_some());
    if found.is_none() {
        let advice = "make tools builds it";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "PgBouncer 1.21 or newer is missing: {advice}");
        println!("SKIPPED PgBouncer 1.21 or newer: {advice}");
    }
    found.map(PathBuf::from)
}

impl PgBouncer {
    /// Starts one with further settings. `None`: there is no such program.
    pub async fn start(cluster: &Cluster, settings: &str) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::Builder::new().prefix("quire-bouncer-").tempdir_in("/tmp").expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = port.expect("a free port").port();
        let users = folder.path().join("users");
        std::fs::write(&users, "\"postgres\" \"\"\n").expect("a file");
        let text = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = 2\nmax_client_conn = 500\nlog_connections = 0\nlog_disconnections = 0\n{settings}\n",
            cluster.folder.display(),
            cluster.port,
            users.display(),
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, text).expect("a file");
        for path in [folder.path(), &users, &file] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .expect("a mode");
        }
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(program).arg(file).process_group(0);
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut keeper = keeper.spawn().expect("sh");
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().expect("its output")).read_line(&mut said).expect("a line");
        let pooler = Self { port, keeper, folder };
        for _ in 0..1000 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Some(pooler);
            }
            sleep(Duration::from_millis(10)).await;
        }
        let log = std::fs::read_to_string(pooler.folder.path().join("log")).expect("a log");
        panic!("PgBouncer does not start: {log}");
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // It may have ended already.
        let _ = self.keeper.wait();
    }
}
