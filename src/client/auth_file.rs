//! Container auth files (containers-auth.json(5), docker's config.json): logins by registry, and their helpers.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

use super::error::ClientError;
use super::registry_url::RegistryUrl;
use super::secret::{Login, Secret};

/// The user name with which other clients mark a secret that is no password, and that only they can use.
pub const IDENTITY_TOKEN_USER: &str = "<token>";

/// An auth file as it was read. Several programs keep their settings in it, so all that is not about the
/// registry at hand stays.
#[derive(Debug)]
pub struct AuthFile {
    path: PathBuf,
    content: Map<String, Value>,
}

impl AuthFile {
    /// A file that is not there, or is empty, holds no logins.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        let broken = |reason: String| ClientError::AuthFile { path: path.to_owned(), reason };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(broken(error.to_string())),
        };
        if text.trim_ascii().is_empty() {
            return Ok(Self { path: path.to_owned(), content: Map::new() });
        }
        // The place of a mistake, and not its text: that may be a secret.
        let content = serde_json::from_slice::<Value>(&text).map_err(|error| {
            broken(format!("not JSON at line {} column {}", error.line(), error.column()))
        })?;
        let Value::Object(content) = content else { return Err(broken("not a JSON object".into())) };
        let file = Self { path: path.to_owned(), content };
        for table in ["auths", "credHelpers"] {
            if file.content.get(table).is_some_and(|table| !table.is_object() && !table.is_null()) {
                return Err(file.broken(format!("{table} is no object")));
            }
        }
        Ok(file)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn broken(&self, reason: impl Into<String>) -> ClientError {
        ClientError::AuthFile { path: self.path.clone(), reason: reason.into() }
    }

    /// The login that stands in the file itself.
    pub fn login(&self, registry: &RegistryUrl) -> Result<Option<Login>, ClientError> {
        for (key, entry) in self.entries("auths", registry) {
            let auth = match entry.get("auth") {
                None | Some(Value::Null) => continue,
                Some(Value::String(auth)) if auth.is_empty() => continue,
                Some(auth) => auth,
            };
            let login = auth.as_str().and_then(decode);
            let login =
                login.ok_or_else(|| self.broken(format!("the auth of {key:?} is no user:password")))?;
            if login.user != IDENTITY_TOKEN_USER {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    /// The name of the helper that keeps the login of a registry: its own, or the one for all.
    pub fn helper(&self, registry: &RegistryUrl) -> Option<&str> {
        let own = self.entries("credHelpers", registry).into_iter().find_map(|(_, helper)| helper.as_str());
        let for_all = self.content.get("credsStore").and_then(Value::as_str);
        own.or(for_all).filter(|name| !name.is_empty())
    }

    /// Sets the login of a registry; `None`: a helper has it, and the file only knows of the registry.
    pub fn set(&mut self, registry: &RegistryUrl, login: Option<&Login>) {
        let host = registry.host();
        let mut entry = self.remove_entries(registry).remove(&host).unwrap_or_default();
        if !entry.is_object() {
            entry = json!({});
        }
        if let Value::Object(entry) = &mut entry {
            // Other clients would take these before the login.
            for key in ["auth", "username", "password", "identitytoken", "registrytoken"] {
                entry.remove(key);
            }
            if let Some(Login { user, secret }) = login {
                let auth = STANDARD.encode(format!("{user}:{}", secret.expose()));
                entry.insert("auth".into(), auth.into());
            }
        }
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        if auths.is_null() {
            *auths = json!({});
        }
        if let Value::Object(auths) = auths {
            auths.insert(host, entry);
        }
    }

    /// Removes what the file has of a registry, and says whether there was something.
    pub fn remove(&mut self, registry: &RegistryUrl) -> bool {
        !self.remove_entries(registry).is_empty()
    }

    /// Writes beside the file and renames, so that it is whole at any time. Only its owner can read it.
    pub fn write(&self) -> Result<(), ClientError> {
        self.write_whole().map_err(|error| self.broken(error.to_string()))
    }

    fn write_whole(&self) -> io::Result<()> {
        // A link to the file stays one.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = folder.join(format!(".{name}.{}", std::process::id()));
        // One that is there was left by a process that had the same number.
        let _ = fs::remove_file(&beside);
        let written = self.write_to(&beside).and_then(|()| fs::rename(&beside, &path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written?;
        File::open(folder)?.sync_all()
    }

    fn write_to(&self, path: &Path) -> io::Result<()> {
        // With tabs, as the other clients do.
        let mut text = Vec::new();
        self.content
            .serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t")))?;
        text.push(b'\n');
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&text)?;
        file.sync_all()
    }

    /// What a table has for a registry; the key that is spelled as we do comes first.
    fn entries(&self, table: &str, registry: &RegistryUrl) -> Vec<(&str, &Value)> {
        let entries = self.content.get(table).and_then(Value::as_object).into_iter().flatten();
        let entries = entries.map(|(key, entry)| (key.as_str(), entry));
        let mut meant: Vec<_> = entries.filter(|(key, _)| registry.is_meant_by(key)).collect();
        let host = registry.host();
        meant.sort_by_key(|(key, _)| *key != host);
        meant
    }

    fn remove_entries(&mut self, registry: &RegistryUrl) -> Map<String, Value> {
        let Some(Value::Object(auths)) = self.content.get_mut("auths") else { return Map::new() };
        let (meant, others) =
            std::mem::take(auths).into_iter().partition(|(key, _)| registry.is_meant_by(key));
        *auths = others;
        meant
    }
}

/// Reads base64 of `user:password`. Some clients pad with zeros.
fn decode(auth: &str) -> Option<Login> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, secret) = text.split_once(':')?;
    let secret = secret.trim_end_matches('\0');
    (!secret.is_empty()).then(|| Login { user: user.to_owned(), secret: Secret::new(secret) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn registry() -> RegistryUrl {
        RegistryUrl::parse("https://registry.test").unwrap()
    }

    fn login(user: &str, secret: &str) -> Login {
        Login { user: user.into(), secret: Secret::new(secret) }
    }

    /// An auth file with a text, in a folder that goes with the test.
    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn json_of(path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn logins_are_found_by_host_and_port() {
        let auth = |text: &str| json!({ "auth": STANDARD.encode(text) });
        for (auths, expected) in [
            (json!({}), None),
            (json!({ "registry.test": auth("me:pass:word") }), Some(login("me", "pass:word"))),
            (json!({ "https://registry.test/v1/": auth("me:old\0\0") }), Some(login("me", "old"))),
            (
                json!({ "https://registry.test": auth("me:old"), "registry.test": auth("me:new") }),
                Some(login("me", "new")),
            ),
            (json!({ "registry.test": {}, "https://registry.test": auth("a:b") }), Some(login("a", "b"))),
            (json!({ "registry.test:5000": auth("me:x"), "registry.test/acme": auth("me:y") }), None),
            (json!({ "registry.test": { "identitytoken": "x" } }), None),
            (json!({ "registry.test": auth("<token>:x") }), None),
        ] {
            let (_folder, path) = file(&json!({ "auths": auths }).to_string());
            assert_eq!(AuthFile::read(&path).unwrap().login(&registry()).unwrap(), expected, "{auths}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_with_the_name_of_the_file() {
        for text in ["{", "[]", r#"{"auths": 3}"#, r#"{"credHelpers": []}"#, "hidden"] {
            let (_folder, path) = file(text);
            let error = AuthFile::read(&path).unwrap_err().to_string();
            assert!(error.contains("config.json") && !error.contains("hidden"), "{error}");
        }
        for auth in [json!("!!"), json!(STANDARD.encode("hidden")), json!(STANDARD.encode("me:")), json!(7)] {
            let (_folder, path) =
                file(&json!({ "auths": { "registry.test": { "auth": auth } } }).to_string());
            let error = AuthFile::read(&path).unwrap().login(&registry()).unwrap_err().to_string();
            assert!(error.contains("config.json") && error.contains("registry.test"), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
        for text in ["", " \n", "{}", r#"{"auths": null}"#] {
            let (_folder, path) = file(text);
            assert_eq!(AuthFile::read(&path).unwrap().login(&registry()).unwrap(), None);
        }
    }

    #[test]
    fn a_registry_has_the_helper_of_its_own_or_the_one_for_all() {
        let helper = |content: Value| {
            let (_folder, path) = file(&content.to_string());
            AuthFile::read(&path).unwrap().helper(&registry()).map(str::to_owned)
        };
        assert_eq!(helper(json!({})), None);
        assert_eq!(helper(json!({ "credsStore": "" })), None);
        assert_eq!(helper(json!({ "credsStore": "all" })).unwrap(), "all");
        let own =
            json!({ "credsStore": "all", "credHelpers": { "registry.test": "own", "other.test": "x" } });
        assert_eq!(helper(own).unwrap(), "own");
        assert_eq!(helper(json!({ "credHelpers": { "other.test": "x" } })), None);
    }

    #[test]
    fn what_is_not_ours_stays() {
        let before = json!({
            "HttpHeaders": { "X-Meta": "a" },
            "auths": {
                "https://registry.test/v1/": { "auth": "b2xkOm9sZA==" },
                "other.test": { "auth": "YTpi", "email": "a@other.test" },
                "registry.test": { "identitytoken": "old", "note": 1 },
            },
            "psFormat": "table",
        });
        let (_folder, path) = file(&before.to_string());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut auths = AuthFile::read(&path).unwrap();
        auths.set(&registry(), Some(&login("quire", "secret")));
        auths.write().unwrap();
        let mut expected = before.clone();
        expected["auths"] = json!({
            "other.test": { "auth": "YTpi", "email": "a@other.test" },
            "registry.test": { "auth": STANDARD.encode("quire:secret"), "note": 1 },
        });
        assert_eq!(json_of(&path), expected);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let mut auths = AuthFile::read(&path).unwrap();
        assert_eq!(auths.login(&registry()).unwrap(), Some(login("quire", "secret")));
        assert!(auths.remove(&registry()) && !auths.remove(&registry()));
        auths.write().unwrap();
        expected["auths"] = json!({ "other.test": { "auth": "YTpi", "email": "a@other.test" } });
        assert_eq!(json_of(&path), expected);
    }

    #[test]
    fn a_file_is_made_with_its_folder_and_a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/.docker/config.json");
        let mut auths = AuthFile::read(&path).unwrap();
        auths.set(&registry(), None);
        auths.write().unwrap();
        assert_eq!(json_of(&path), json!({ "auths": { "registry.test": {} } }));
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing is left beside it");

        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut auths = AuthFile::read(&link).unwrap();
        auths.set(&registry(), Some(&login("a", "b")));
        auths.write().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(json_of(&path)["auths"]["registry.test"]["auth"], "YTpi");
    }
}
