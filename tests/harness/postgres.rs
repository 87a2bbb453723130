//! A PostgreSQL of this test process alone, and fresh databases in it, migrated once.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Starts a cluster in the folder `$1` with the programs in `$2` on the port `$3` and the options `$4`, says `ready`,
/// and stops it when standard input ends: when the process that started it is gone, however it went. The options are
/// one line, as `pg_ctl` hands them to a shell.
const KEEPER: &str = r#"
trap '' INT TERM HUP
as_user() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
if [ "$(id -u)" = 0 ]; then chown postgres "$1"; fi
options="-F -p $3 -c listen_addresses=127.0.0.1 -c unix_socket_directories=$1 -c max_connections=500 \
    -c full_page_writes=off -c log_min_messages=fatal $4"
as_user "$2/initdb" -D "$1/data" -U postgres --auth=trust --no-sync -E UTF8 --locale=C >"$1.log" 2>&1 \
    && as_user "$2/pg_ctl" -D "$1/data" -w -t 60 -l "$1/log" -o "$options" start >>"$1.log" 2>&1 && echo ready
cat >/dev/null
as_user "$2/pg_ctl" -D "$1/data" -m immediate stop >/dev/null 2>&1
rm -rf "$1" "$1.log"
"#;

/// The cluster of this process.
pub struct Cluster {
    pub folder: PathBuf,
    programs: PathBuf,
    pub port: u16,
    /// It ends the cluster when its standard input is closed, and that is when this process ends.
    _keeper: Child,
    databases: AtomicU32,
    template: Mutex<bool>,
}

/// A database of one test.
pub struct Database {
    cluster: &'static Cluster,
    pub name: String,
    stays: bool,
}

/// The cluster of this process, started when it is asked for first. `None`: there are no programs for it, which was
/// told.
pub fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER
        .get_or_init(|| programs().map(|programs| Cluster::start(programs, "-c synchronous_commit=off")))
        .as_ref()
}

/// A cluster that loses nothing when it crashes, for a test that makes it.
pub fn crashing_cluster() -> Option<&'static Cluster> {
    let cluster = Cluster::start(programs()?, "-c synchronous_commit=on");
    Some(Box::leak(Box::new(cluster)))
}

/// Where the newest PostgreSQL has its programs.
pub fn programs() -> Option<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &PathBuf| path.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let found = installed.map(|entry| entry.path().join("bin"));
    let newest = found.filter(|path| path.join("initdb").is_file()).max_by_key(version);
    if newest.is_none() {
        let advice = "apt-get install postgresql, or make tools";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "PostgreSQL is missing: {advice}");
        println!("SKIPPED PostgreSQL: {advice}");
    }
    newest
}

/// The URL of a fresh database with the schema of this program, which stays until the cluster ends. `None`: there
/// is no PostgreSQL.
pub async fn database() -> Option<String> {
    let made =
        tokio::task::spawn_blocking(|| Some(cluster()?.database().keep())).await.expect("a database")?;
    Some(cluster()?.url(&made))
}

impl Cluster {
    fn start(programs: PathBuf, options: &str) -> Self {
        // The path of a Unix socket has 107 bytes at most, so this is no folder below some other.
        let folder =
            tempfile::Builder::new().prefix("quire-pg-").tempdir_in("/tmp").expect("a folder").keep();
        // Somebody else may take a free port before it is used.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
            let port = port.expect("a free port").port();
            if let Some(keeper) = keep(&folder, &programs, port, options) {
                let (databases, template) = (AtomicU32::new(0), Mutex::new(false));
                return Self { folder, programs, port, _keeper: keeper, databases, template };
            }
        }
        panic!("PostgreSQL does not start: {}.log says why", folder.display());
    }

    /// The URL of a database by the Unix socket.
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/{database}", self.port)
    }

    /// The URL of a database by TCP.
    pub fn tcp_url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Writes a file into the cluster's own folder, as its user and for it alone.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let (folder, path) = (self.folder.join("data"), self.folder.join("data").join(name));
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
        let owner = folder.metadata().expect("a folder");
        chown(&path, Some(owner.uid()), Some(owner.gid())).expect("an owner");
        path
    }

    /// Lets a role in by TCP only like this: what stands behind the address in a line of `pg_hba.conf`.
    pub fn admit(&self, role: &str, method: &str) {
        static LINES: Mutex<()> = Mutex::new(());
        let _one = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = std::fs::read_to_string(self.folder.join("data/pg_hba.conf")).expect("a file");
        let kind = if method == "cert" { "hostssl" } else { "host" };
        self.write("pg_hba.conf", &format!("{kind} all {role} 127.0.0.1/32 {method}\n{earlier}"));
        assert_eq!(
            self.sql("postgres", &["SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL"]),
            ""
        );
        self.reload();
    }

    /// Reads the settings again, and waits until new connections have them.
    pub fn reload(&self) {
        let loaded = || self.sql("postgres", &["SELECT pg_conf_load_time()"]);
        let before = loaded();
        self.sql("postgres", &["SELECT pg_reload_conf()"]);
        while loaded() == before {}
    }

    /// Runs statements, each for itself, and returns what they print.
    pub fn sql(&self, database: &str, statements: &[&str]) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.env_clear().args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
        ]);
        psql.arg("-h").arg(&self.folder).arg("-p").arg(self.port.to_string());
        for statement in statements {
            psql.args(["-c", statement]);
        }
        let done = psql.output().expect("psql");
        assert!(done.status.success(), "{statements:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("a text")
    }

    /// Ends the server as a crash does, and starts it again.
    pub fn crash(&self) {
        let data = self.folder.join("data");
        let mut restart = match rustix::process::geteuid().is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(self.programs.join("pg_ctl"));
                command
            }
            false => Command::new(self.programs.join("pg_ctl")),
        };
        restart.args(["-m", "immediate", "-w", "-t", "60", "restart", "-l"]).arg(self.folder.join("log"));
        let done = restart.arg("-D").arg(data).stdout(Stdio::null()).status().expect("pg_ctl");
        assert!(done.success(), "it starts again");
    }

    /// A database with nothing in it.
    pub fn empty_database(&'static self) -> Database {
        self.create("template0")
    }

    /// A database with the schema of this program.
    pub fn database(&'static self) -> Database {
        let mut made = self.template.lock().unwrap_or_else(PoisonError::into_inner);
        if !*made {
            self.sql("postgres", &["CREATE DATABASE quire_template"]);
            let mut migrate = Command::new(env!("CARGO_BIN_EXE_quire"));
            migrate.args(["migrate", "--apply"]).env("QUIRE_DATABASE_URL", self.url("quire_template"));
            let done = migrate.env("QUIRE_LOG", "warn").output().expect("quire");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            *made = true;
        }
        // One after the other: nobody else may look into the template meanwhile.
        self.create("quire_template")
    }

    fn create(&'static self, template: &str) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.sql("postgres", &[&format!("CREATE DATABASE {name} TEMPLATE {template}")]);
        Database { cluster: self, name, stays: false }
    }
}

impl Database {
    /// Its URL by the Unix socket.
    pub fn url(&self) -> String {
        self.cluster.url(&self.name)
    }

    /// Its URL by TCP.
    pub fn tcp_url(&self) -> String {
        self.cluster.tcp_url(&self.name)
    }

    /// Runs statements, each for itself, and returns what they print.
    pub fn sql(&self, statements: &[&str]) -> String {
        self.cluster.sql(&self.name, statements)
    }

    /// Leaves it until the cluster ends.
    pub fn keep(mut self) -> String {
        self.stays = true;
        self.name.clone()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !self.stays && !std::thread::panicking() {
            self.cluster.sql("postgres", &[&format!("DROP DATABASE {} WITH (FORCE)", self.name)]);
        }
    }
}

fn keep(folder: &Path, programs: &Path, port: u16, options: &str) -> Option<Child> {
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "keeper"]).arg(folder).arg(programs).arg(port.to_string()).arg(options);
    // In a group of its own: what ends the tests with a signal to their group must not end who cleans up.
    keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut keeper = keeper.spawn().expect("sh");
    let mut said = String::new();
    BufReader::new(keeper.stdout.take().expect("its output")).read_line(&mut said).expect("a line");
    if said.trim() == "ready" {
        return Some(keeper);
    }
    drop(keeper.stdin.take());
    keeper.wait().expect("its end");
    std::fs::create_dir_all(folder).expect("the folder");
    None
}
