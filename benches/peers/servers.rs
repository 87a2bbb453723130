//! The servers under test: each a process on the same core, on a free port, with its data in one folder.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::connection::Connection;

/// The core of whichever server is under test.
pub const SERVER_CORE: &str = "0";
/// The token that Quire is started with; the other servers ask for none.
pub const TOKEN: &str = "quire_bench-token-0123456789";

/// A running server. It ends by its pid when it is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub fn quire(folder: &Path) -> io::Result<Self> {
        let mut command = pinned(Path::new(env!("CARGO_BIN_EXE_quire")));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder);
        command.env("QUIRE_ADMIN_TOKEN", TOKEN).env("QUIRE_LOG", "warn");
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("no output to read"))?;
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.rsplit_once("http://")?.1.parse().ok());
        let address = address.ok_or_else(|| io::Error::other("quire did not say where it listens"))?;
        Ok(Self { child, address })
    }

    /// nginx over the files of a folder, set up to serve them as fast as it can.
    pub fn nginx(program: &Path, folder: &Path, files: &Path) -> io::Result<Self> {
        let address = free_address()?;
        fs::create_dir_all(folder)?;
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log warn;
             events {{ worker_connections 1024; }}
             http {{
                 access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
                 keepalive_timeout 600; keepalive_requests 1000000000; open_file_cache max=1000 inactive=600s;
                 client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
                 uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                 server {{ listen {address}; root {}; }}
             }}",
            files.display()
        );
        fs::write(folder.join("nginx.conf"), config)?;
        let mut command = pinned(program);
        command.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "error.log"]);
        Self::wait(command.spawn()?, address)
    }

    /// `docker-registry` with its descriptor cache on and its access log off.
    pub fn docker_registry(program: &Path, folder: &Path) -> io::Result<Self> {
        let address = free_address()?;
        fs::create_dir_all(folder)?;
        let config = format!(
            "version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {}}}
  cache: {{blobdescriptor: inmemory}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: {address}, secret: a-secret-for-the-bench}}
",
            folder.join("data").display()
        );
        let path = folder.join("config.yml");
        fs::write(&path, config)?;
        let mut command = pinned(program);
        command.arg("serve").arg(path).env("OTEL_TRACES_EXPORTER", "none");
        Self::wait(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?, address)
    }

    #[expect(clippy::disallowed_methods, reason = "this thread serves nobody")]
    fn wait(child: Child, address: SocketAddr) -> io::Result<Self> {
        let mut server = Self { child, address };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(io::Error::other(format!("a server ended at once: {status}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("a server did not listen in time"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Asks for a path once, which also warms it, and checks that these bytes come back.
    pub fn expect(&self, path: &str, headers: &[(&str, String)], bytes: &[u8]) -> io::Result<()> {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = Connection::open(self.address)?.request("GET", path, &headers, &[])?;
        if answer.status == 200 && answer.body == bytes {
            return Ok(());
        }
        Err(io::Error::other(format!("{}{path} answered {}, or other bytes", self.address, answer.status)))
    }
}

/// A program of the search path, or of the folder for daemons.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE]).arg(program).stdin(Stdio::null());
    command
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
