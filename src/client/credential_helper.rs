//! Credential helpers: programs named `docker-credential-<name>` that keep logins outside of the auth files.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::auth_file::IDENTITY_TOKEN_USER;
use super::error::ClientError;
use super::registry_url::RegistryUrl;
use super::secret::{Login, Secret};

/// Helpers may ask a person to unlock a key.
const PATIENCE: Duration = Duration::from_secs(60);
/// What every helper prints when it has no login for a registry.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// One helper. Each call is a process that reads standard input to its end.
pub struct CredentialHelper {
    program: String,
    search_path: Option<String>,
    patience: Duration,
}

/// What helpers read and print.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    #[serde(default, rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

impl CredentialHelper {
    /// `search_path`: the folders that programs are in, as `PATH` has them.
    pub fn new(name: &str, search_path: Option<&String>) -> Result<Self, ClientError> {
        let program = format!("docker-credential-{name}");
        if name.contains('/') {
            return Err(ClientError::Helper { program, reason: "a helper is named without a path".into() });
        }
        Ok(Self { program, search_path: search_path.cloned(), patience: PATIENCE })
    }

    /// `None`: it has none.
    pub async fn get(&self, registry: &RegistryUrl) -> Result<Option<Login>, ClientError> {
        let printed = match self.call("get", registry.host().as_bytes()).await? {
            Ok(printed) => printed,
            Err(reason) if reason == NOT_FOUND => return Ok(None),
            Err(reason) => return Err(self.failed(reason)),
        };
        let message: Message = serde_json::from_str(&printed)
            .map_err(|_| self.failed("it did not print what helpers print for `get`"))?;
        let usable = !message.secret.is_empty() && message.username != IDENTITY_TOKEN_USER;
        Ok(usable.then(|| Login { user: message.username, secret: Secret::new(message.secret) }))
    }

    pub async fn store(&self, registry: &RegistryUrl, login: &Login) -> Result<(), ClientError> {
        let message = Message {
            server_url: registry.host(),
            username: login.user.clone(),
            secret: login.secret.expose().to_owned(),
        };
        // Texts alone: serialising them cannot fail.
        let message = serde_json::to_vec(&message).unwrap_or_default();
        // A helper may complain by showing what it was given.
        let without_secret = |reason: String| {
            let shows = reason.contains(login.secret.expose());
            self.failed(if shows { "it could not store the login".to_owned() } else { reason })
        };
        self.call("store", &message).await?.map(drop).map_err(without_secret)
    }

    /// Erases what the helper has, and says whether there was something: `erase` itself does not tell.
    pub async fn erase(&self, registry: &RegistryUrl) -> Result<bool, ClientError> {
        let host = registry.host();
        if self.call("get", host.as_bytes()).await?.is_err_and(|reason| reason == NOT_FOUND) {
            return Ok(false);
        }
        let erased = self.call("erase", host.as_bytes()).await?;
        erased.map(|_| true).map_err(|reason| self.failed(reason))
    }

    /// What the helper printed, or its complaint: helpers print that on standard output too.
    async fn call(&self, verb: &str, input: &[u8]) -> Result<Result<String, String>, ClientError> {
        let mut command = Command::new(&self.program);
        command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        if let Some(search_path) = &self.search_path {
            command.env("PATH", search_path);
        }
        let work = async {
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // One that needs no input may have closed it, and its exit code says how it went.
                let _ = stdin.write_all(input).await;
            }
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(self.patience, work).await;
        let output = output.map_err(|_| self.failed("it did not end in time"))?;
        let output = output.map_err(|error| self.failed(error.to_string()))?;
        let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            return Ok(Ok(printed));
        }
        Ok(Err(if printed.is_empty() { format!("it ended with {}", output.status) } else { printed }))
    }

    fn failed(&self, reason: impl Into<String>) -> ClientError {
        ClientError::Helper { program: self.program.clone(), reason: reason.into() }
    }
}

impl fmt::Display for CredentialHelper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    /// Makes a program of a shell script. Another process writes it: were it open for writing here, a test
    /// that starts a process at that moment would hold it open, and it could not be run.
    pub fn make_program(path: &Path, script: &str) {
        let mut install = std::process::Command::new("install");
        install.args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped());
        let mut install = install.spawn().unwrap();
        write!(install.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
        assert!(install.wait().unwrap().success());
    }

    fn registry() -> RegistryUrl {
        RegistryUrl::parse("http://registry.test:5000").unwrap()
    }

    fn login() -> Login {
        Login { user: "me".into(), secret: Secret::new("hidden") }
    }

    /// The helper that a shell script is, in a folder of its own.
    fn helper(folder: &Path, script: &str) -> CredentialHelper {
        make_program(&folder.join("docker-credential-test"), script);
        let search_path = format!("{}:/usr/bin:/bin", folder.display());
        CredentialHelper::new("test", Some(&search_path)).unwrap()
    }

    #[tokio::test]
    async fn a_login_goes_there_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            r#"cd '{}' || exit 2
case "$1" in
store) cat > kept ;;
erase) test "$(cat)" = registry.test:5000 && rm kept ;;
get) test "$(cat)" = registry.test:5000 && test -f kept && exec cat kept; echo '{NOT_FOUND}'; exit 1 ;;
esac"#,
            folder.path().display()
        );
        let helper = helper(folder.path(), &script);
        assert_eq!(helper.get(&registry()).await.unwrap(), None);
        helper.store(&registry(), &login()).await.unwrap();
        assert_eq!(helper.get(&registry()).await.unwrap(), Some(login()));
        let kept = fs::read_to_string(folder.path().join("kept")).unwrap();
        assert_eq!(kept, r#"{"ServerURL":"registry.test:5000","Username":"me","Secret":"hidden"}"#);
        assert!(helper.erase(&registry()).await.unwrap());
        assert!(!helper.erase(&registry()).await.unwrap());
        assert_eq!(helper.get(&registry()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn helpers_that_fail_are_told_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        for (script, reason) in [
            ("echo 'the keychain is locked'; exit 1", "the keychain is locked"),
            ("exit 3", "exit status: 3"),
            ("echo '{\"Username\": \"hidden\"'", "did not print"),
            ("cat; exit 1", "could not store"),
        ] {
            let helper = helper(folder.path(), script);
            let error = match reason {
                "could not store" => helper.store(&registry(), &login()).await.unwrap_err(),
                _ => helper.get(&registry()).await.unwrap_err(),
            };
            let error = error.to_string();
            assert!(error.starts_with("docker-credential-test: ") && error.contains(reason), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
        let missing = CredentialHelper::new("missing", Some(&folder.path().display().to_string())).unwrap();
        assert!(
            missing.get(&registry()).await.unwrap_err().to_string().contains("docker-credential-missing")
        );
        assert!(CredentialHelper::new("../evil", None).is_err());
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut helper = helper(folder.path(), "exec sleep 60");
        helper.patience = Duration::from_millis(200);
        let error = helper.get(&registry()).await.unwrap_err().to_string();
        assert!(error.contains("in time"), "{error}");
    }

    #[tokio::test]
    async fn identity_tokens_are_let_by() {
        let folder = tempfile::tempdir().unwrap();
        let helper = helper(folder.path(), r#"echo '{"Username": "<token>", "Secret": "x"}'"#);
        assert_eq!(helper.get(&registry()).await.unwrap(), None);
        assert!(helper.erase(&registry()).await.unwrap(), "but not when everything has to go");
    }
}
