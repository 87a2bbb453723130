//! What is remembered of an upload that has begun, so that the next run goes on where this one ended.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::registry_url::RegistryUrl;
use crate::config::Environment;
use crate::digest::Sha256;

/// No registry keeps a session that rests for so long.
const OLDEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// One file per upload, in the folder for the state of programs.
pub struct UploadMemory {
    /// `None`: no such folder is known, and nothing is remembered.
    path: Option<PathBuf>,
    upload: Upload,
}

/// Which upload it is. What the file holds is compared with it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Upload {
    registry: String,
    repository: String,
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    #[serde(flatten)]
    upload: Upload,
    /// The session as the registry named it. Whoever has it needs the credential as well.
    location: String,
}

impl UploadMemory {
    pub fn of(environment: &Environment, registry: &RegistryUrl, repository: &str, digest: &Sha256) -> Self {
        let folder = |variable: &str| {
            let folder = environment.get(variable).map(PathBuf::from);
            // A relative one is to be ignored: freedesktop.org's base directories.
            folder.filter(|folder| folder.is_absolute())
        };
        let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
        let (registry, digest) = (registry.to_string(), digest.to_string());
        let key = Sha256::of(format!("{registry}\n{repository}\n{digest}").as_bytes()).hex();
        let path = state.map(|state| state.join("quire/uploads").join(format!("{key}.json")));
        Self { path, upload: Upload { registry, repository: repository.to_owned(), digest } }
    }

    /// Where the session is. What cannot be read is not remembered.
    pub(super) fn recall(&self) -> Option<String> {
        let bytes = fs::read(self.path.as_ref()?).ok()?;
        let remembered: Remembered = serde_json::from_slice(&bytes).ok()?;
        (remembered.upload == self.upload).then_some(remembered.location)
    }

    pub(super) fn keep(&self, location: &str) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        forget_old(folder);
        let remembered = Remembered { upload: self.upload.clone(), location: location.to_owned() };
        // Its owner alone can read it.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&remembered)?)?;
        file.persist(path)?;
        Ok(())
    }

    pub(super) fn forget(&self) {
        if let Some(path) = &self.path {
            // It may never have been there.
            let _ = fs::remove_file(path);
        }
    }
}

/// Files of pushes that nobody finished.
fn forget_old(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let changed = entry.metadata().and_then(|file| file.modified());
        let is_old = |changed: SystemTime| changed.elapsed().is_ok_and(|age| age > OLDEST);
        if changed.is_ok_and(is_old) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_upload_is_remembered_until_it_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let text = home.path().display().to_string();
        let environment = Environment::from([("HOME".to_owned(), text)]);
        let registry = RegistryUrl::parse("https://registry.test").unwrap();
        let other = RegistryUrl::parse("http://registry.test").unwrap();
        let digest = Sha256::of(b"zip");
        let memory = UploadMemory::of(&environment, &registry, "acme/tool", &digest);
        assert_eq!(memory.recall(), None);
        memory.keep("/v2/a").unwrap();
        memory.keep("/v2/b").unwrap();
        assert_eq!(memory.recall().as_deref(), Some("/v2/b"));
        for another in [
            UploadMemory::of(&environment, &other, "acme/tool", &digest),
            UploadMemory::of(&environment, &registry, "acme/other", &digest),
            UploadMemory::of(&environment, &registry, "acme/tool", &Sha256::of(b"other")),
        ] {
            assert_eq!(another.recall(), None);
        }
        let folder = home.path().join(".local/state/quire/uploads");
        let entries: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(entries.len(), 1);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&entries[0])), (0o700, 0o600));

        // Another one that nobody came back for goes with the next that is kept.
        let old = folder.join("old.json");
        let times = fs::FileTimes::new().set_modified(SystemTime::now() - OLDEST - Duration::from_secs(60));
        fs::File::create(&old).unwrap().set_times(times).unwrap();
        memory.keep("/v2/c").unwrap();
        assert!(!old.exists() && entries[0].exists());
        memory.forget();
        assert_eq!((memory.recall(), fs::read_dir(&folder).unwrap().count()), (None, 0));
        fs::write(&entries[0], "{}").unwrap();
        assert_eq!(memory.recall(), None);
    }

    #[test]
    fn without_a_folder_nothing_is_remembered() {
        let environment = Environment::from([("XDG_STATE_HOME".to_owned(), "relative".to_owned())]);
        let registry = RegistryUrl::parse("https://registry.test").unwrap();
        let memory = UploadMemory::of(&environment, &registry, "acme/tool", &Sha256::of(b"zip"));
        memory.keep("/v2/a").unwrap();
        assert_eq!(memory.recall(), None);
    }
}
