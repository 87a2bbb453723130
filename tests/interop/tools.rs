//! Other people's programs: where they are, and a desk of their own for the clients of one test.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::harness::{ADMIN_TOKEN, Server};

/// A client that takes longer than this many seconds hangs.
const PATIENCE: &str = "170";

const INSTALLER: &str = "run tests/install-tools.sh";

/// skopeo looks for it at home only, the others where a variable says.
const REGISTRIES: &str = "home/.config/containers/registries.conf";

/// The folders that are searched, ours first.
fn search_path() -> Vec<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let path = std::env::var_os("PATH").unwrap_or_default();
    [tools.join("bin"), tools.join("venv/bin")].into_iter().chain(std::env::split_paths(&path)).collect()
}

pub fn find(program: &str) -> Option<PathBuf> {
    search_path().into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Whether something that a test needs is there. Without it the test ends early, and fails where everything
/// has to be tested.
pub fn have(what: &str, there: bool) -> bool {
    if !there {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{what} is missing: {INSTALLER}");
        eprintln!("SKIPPED {what}: {INSTALLER}");
    }
    there
}

/// A folder that holds every file which the clients of one test read or write: home, login, image storage.
/// Commands run inside it, so their arguments are short relative paths. The one file elsewhere that they
/// touch is a cache of places of blobs, which skopeo keeps for the machine when root runs it.
pub struct Desk {
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Desk {
    /// `None`: a program is missing, and the test has nothing to do.
    pub fn new(server: &Server, programs: &[&str]) -> Option<Self> {
        if !programs.iter().all(|program| have(program, find(program).is_some())) {
            return None;
        }
        // Not the system's temporary folder: that may be memory, and some of the files are large.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let desk = Self { folder, address: server.address };
        for name in ["home/.config/containers", "runtime", "temporary"] {
            fs::create_dir_all(desk.path(name)).expect("a folder");
        }
        let root = desk.path("").display().to_string();
        let accept = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        desk.write("home/.config/containers/policy.json", accept);
        desk.write("auth.json", r#"{"auths":{}}"#);
        let location = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", server.address);
        desk.write(REGISTRIES, location);
        let storage = "[storage]\ndriver = \"vfs\"\n";
        let storage =
            format!("{storage}graphroot = \"{root}storage\"\nrunroot = \"{root}runtime/storage\"\n");
        desk.write("storage.conf", storage);
        let engine =
            "[engine]\nlock_type = \"file\"\nevents_logger = \"none\"\ncgroup_manager = \"cgroupfs\"\n";
        desk.write("containers.conf", format!("{engine}tmp_dir = \"{root}runtime/libpod\"\n"));
        Some(desk)
    }

    /// A desk whose clients have the programs, and where everybody is logged in as the admin by `program`.
    pub fn logged_in(server: &Server, program: &str, programs: &[&str]) -> Option<Self> {
        let desk = Self::new(server, &[&[program], programs].concat())?;
        desk.log_in(program);
        Some(desk)
    }

    pub fn log_in(&self, program: &str) {
        let plain = if program == "oras" { "--plain-http" } else { "--tls-verify=false" };
        let line = format!("{program} login {plain} --username anyone --password-stdin {}", self.address);
        self.run_with_input(&line, ADMIN_TOKEN);
    }

    /// Where a file of this desk is; relative names are relative to the desk for its commands too.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn read_json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(name)).expect("JSON")
    }

    /// A command whose words stand between blanks, with the desk's environment and nothing else.
    pub fn command(&self, line: &str) -> Command {
        self.patient_command(line, PATIENCE)
    }

    /// The same with another number of seconds after which it hangs.
    pub fn patient_command(&self, line: &str, patience: &str) -> Command {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a program");
        let mut command = Command::new("timeout");
        command.arg(patience).arg(find(program).unwrap_or_else(|| panic!("{program} is missing")));
        command.args(words).current_dir(self.path(""));
        let search = std::env::join_paths(search_path()).expect("a search path");
        command.env_clear().env("PATH", search).env("LC_ALL", "C.UTF-8");
        for (variable, name) in [
            ("HOME", "home"),
            ("DOCKER_CONFIG", "home/.docker"),
            ("XDG_RUNTIME_DIR", "runtime"),
            ("TMPDIR", "temporary"),
            ("REGISTRY_AUTH_FILE", "auth.json"),
            ("CONTAINERS_CONF", "containers.conf"),
            ("CONTAINERS_REGISTRIES_CONF", REGISTRIES),
            ("CONTAINERS_STORAGE_CONF", "storage.conf"),
        ] {
            command.env(variable, self.path(name));
        }
        command
    }

    /// Runs a command that has to succeed, and returns what it printed on standard output.
    pub fn run(&self, line: &str) -> String {
        self.run_with_input(line, "")
    }

    pub fn run_with_input(&self, line: &str, input: &str) -> String {
        let output = finish(self.command(line), input);
        assert!(output.status.success(), "{line}\n{}", transcript(&output));
        String::from_utf8(output.stdout).expect("a text")
    }

    pub fn run_json(&self, line: &str) -> serde_json::Value {
        let text = self.run(line);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
    }

    /// Runs a command that has to fail, and returns everything that it printed.
    pub fn fail(&self, line: &str) -> String {
        self.fail_with_input(line, "")
    }

    pub fn fail_with_input(&self, line: &str, input: &str) -> String {
        let output = finish(self.command(line), input);
        assert!(matches!(output.status.code(), Some(code) if code != 124), "{line} hangs");
        assert!(!output.status.success(), "{line}\n{}", transcript(&output));
        transcript(&output)
    }
}

/// Runs a command to its end.
pub fn finish(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a program that starts");
    // A program that does not read its input may have closed it.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    child.wait_with_output().expect("its end")
}

/// Everything that a command printed.
pub fn transcript(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}
