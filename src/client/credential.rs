//! Where the credential for a registry comes from, and where a login is kept.

use std::path::{Path, PathBuf};

use super::auth_file::AuthFile;
use super::credential_helper::CredentialHelper;
use super::error::ClientError;
use super::registry_url::RegistryUrl;
use super::secret::{Login, Secret};
use crate::config::{Environment, secret_from_environment};

/// The credential for a registry: `QUIRE_TOKEN`, the file that `QUIRE_TOKEN_FILE` names, or a login. `None`:
/// it is asked without one.
pub async fn credential(
    environment: &Environment,
    registry: &RegistryUrl,
) -> Result<Option<Secret>, ClientError> {
    // A job whose secret is not set has an empty variable.
    let given = secret_from_environment("QUIRE_TOKEN", environment)?.filter(|(token, _)| !token.is_empty());
    match given {
        Some((token, _)) => Ok(Some(Secret::new(token))),
        None => CredentialStore::of(environment, None).find(registry).await,
    }
}

/// The auth files and helpers of a person.
pub struct CredentialStore {
    /// The files that are read, in this order. They are those of podman and docker.
    reading: Vec<PathBuf>,
    /// The file that logins are written to: one that podman, skopeo, oras and docker all read.
    writing: Option<PathBuf>,
    search_path: Option<String>,
}

impl CredentialStore {
    /// `file`: one that somebody named, in place of all others.
    pub fn of(environment: &Environment, file: Option<&Path>) -> Self {
        let folder =
            |variable: &str| environment.get(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = |inside: &str| folder("HOME").map(|home| home.join(inside));
        let search_path = environment.get("PATH").cloned();
        if let Some(file) = file.map(Path::to_owned).or_else(|| folder("REGISTRY_AUTH_FILE")) {
            return Self { reading: vec![file.clone()], writing: Some(file), search_path };
        }
        let docker = folder("DOCKER_CONFIG").or_else(|| home(".docker"));
        let docker = docker.map(|docker| docker.join("config.json"));
        let podman = [folder("XDG_RUNTIME_DIR"), folder("XDG_CONFIG_HOME").or_else(|| home(".config"))];
        let podman = podman.into_iter().flatten().map(|folder| folder.join("containers/auth.json"));
        Self { reading: podman.chain(docker.clone()).collect(), writing: docker, search_path }
    }

    /// The secret of the first login that is found.
    pub async fn find(&self, registry: &RegistryUrl) -> Result<Option<Secret>, ClientError> {
        for path in &self.reading {
            if let Some(login) = self.login_in(&AuthFile::read(path)?, registry).await? {
                return Ok(Some(login.secret));
            }
        }
        Ok(None)
    }

    /// A file that is read before the one that is written, and has a login for the registry.
    pub async fn hidden_by(&self, registry: &RegistryUrl) -> Result<Option<&Path>, ClientError> {
        let earlier = self.reading.iter().take_while(|path| Some(*path) != self.writing.as_ref());
        for path in earlier {
            if self.login_in(&AuthFile::read(path)?, registry).await?.is_some() {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Keeps a login, and says where: a file or a helper.
    pub async fn store(&self, registry: &RegistryUrl, login: &Login) -> Result<String, ClientError> {
        let mut file = self.file_to_write()?;
        let helper = self.helper(&file, registry)?;
        let place = match &helper {
            Some(helper) => {
                helper.store(registry, login).await?;
                file.set(registry, None);
                helper.to_string()
            }
            None => {
                file.set(registry, Some(login));
                file.path().display().to_string()
            }
        };
        file.write()?;
        Ok(place)
    }

    /// Removes a login, and says whether there was one.
    pub async fn remove(&self, registry: &RegistryUrl) -> Result<bool, ClientError> {
        let mut file = self.file_to_write()?;
        let mut found = match self.helper(&file, registry)? {
            Some(helper) => helper.erase(registry).await?,
            None => false,
        };
        if file.remove(registry) {
            found = true;
            file.write()?;
        }
        Ok(found)
    }

    async fn login_in(&self, file: &AuthFile, registry: &RegistryUrl) -> Result<Option<Login>, ClientError> {
        if let Some(helper) = self.helper(file, registry)?
            && let Some(login) = helper.get(registry).await?
        {
            return Ok(Some(login));
        }
        file.login(registry)
    }

    fn helper(
        &self,
        file: &AuthFile,
        registry: &RegistryUrl,
    ) -> Result<Option<CredentialHelper>, ClientError> {
        let name = file.helper(registry);
        name.map(|name| CredentialHelper::new(name, self.search_path.as_ref())).transpose()
    }

    fn file_to_write(&self) -> Result<AuthFile, ClientError> {
        AuthFile::read(self.writing.as_ref().ok_or(ClientError::NoAuthFile)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::credential_helper::tests::make_program;
    use std::fs;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    fn registry() -> RegistryUrl {
        RegistryUrl::parse("https://registry.test").unwrap()
    }

    fn login(secret: &str) -> Login {
        Login { user: "quire".into(), secret: Secret::new(secret) }
    }

    /// A folder that is home, and an environment that knows of nothing else.
    fn home() -> (tempfile::TempDir, Environment) {
        let folder = tempfile::tempdir().unwrap();
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let home = folder.path().display().to_string();
        (folder, Environment::from([("HOME".to_owned(), home), ("PATH".to_owned(), path)]))
    }

    fn write(path: &Path, content: &Value) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content.to_string()).unwrap();
    }

    fn auths(secret: &str) -> Value {
        json!({ "auths": { "registry.test": { "auth": STANDARD.encode(format!("me:{secret}")) } } })
    }

    async fn found(environment: &Environment) -> Option<String> {
        credential(environment, &registry()).await.unwrap().map(|secret| secret.expose().to_owned())
    }

    #[tokio::test]
    async fn each_place_comes_before_those_that_stand_above_it_here() {
        let (folder, mut environment) = home();
        let path = |name: &str| folder.path().join(name);
        assert_eq!(found(&environment).await, None);
        for (variable, value, file) in [
            ("", "", ".docker/config.json"),
            ("DOCKER_CONFIG", "docker", "docker/config.json"),
            ("", "", ".config/containers/auth.json"),
            ("XDG_CONFIG_HOME", "config", "config/containers/auth.json"),
            ("XDG_RUNTIME_DIR", "runtime", "runtime/containers/auth.json"),
            ("REGISTRY_AUTH_FILE", "auth.json", "auth.json"),
        ] {
            if !variable.is_empty() {
                environment.insert(variable.into(), path(value).display().to_string());
            }
            write(&path(file), &auths(file));
            assert_eq!(found(&environment).await.as_deref(), Some(file));
        }
        fs::remove_file(path("auth.json")).unwrap();
        assert_eq!(found(&environment).await, None, "the file that was named is the only one");
        fs::write(path("token"), "from-file\n").unwrap();
        environment.insert("QUIRE_TOKEN_FILE".into(), path("token").display().to_string());
        assert_eq!(found(&environment).await.as_deref(), Some("from-file"));
        environment.insert("QUIRE_TOKEN".into(), "from-variable".into());
        assert!(credential(&environment, &registry()).await.is_err(), "both are set");
        environment.remove("QUIRE_TOKEN_FILE");
        assert_eq!(found(&environment).await.as_deref(), Some("from-variable"));
        environment.insert("QUIRE_TOKEN".into(), String::new());
        assert_eq!(found(&environment).await, None);
    }

    #[tokio::test]
    async fn a_login_is_kept_found_and_removed() {
        let (folder, environment) = home();
        let store = CredentialStore::of(&environment, None);
        assert!(!store.remove(&registry()).await.unwrap());
        let place = store.store(&registry(), &login("secret")).await.unwrap();
        assert_eq!(place, folder.path().join(".docker/config.json").display().to_string());
        assert_eq!(found(&environment).await.as_deref(), Some("secret"));
        assert_eq!(store.hidden_by(&registry()).await.unwrap(), None);

        let podman = folder.path().join(".config/containers/auth.json");
        write(&podman, &auths("other"));
        assert_eq!(store.hidden_by(&registry()).await.unwrap(), Some(podman.as_path()));
        fs::remove_file(&podman).unwrap();
        assert!(store.remove(&registry()).await.unwrap());
        assert_eq!(found(&environment).await, None);

        let named = folder.path().join("named.json");
        CredentialStore::of(&environment, Some(&named)).store(&registry(), &login("x")).await.unwrap();
        assert_eq!(found(&environment).await, None);
        assert!(named.is_file());
        let nowhere = CredentialStore::of(&Environment::new(), None);
        assert!(matches!(nowhere.store(&registry(), &login("x")).await, Err(ClientError::NoAuthFile)));
    }

    #[tokio::test]
    async fn a_helper_keeps_the_secret_out_of_the_file() {
        let (folder, environment) = home();
        let script = format!(
            "cd '{}'\ncase \"$1\" in\nstore) cat > kept ;;\nerase) rm kept ;;\n\
             get) test -f kept && exec cat kept\necho 'credentials not found in native keychain'\nexit 1 ;;\nesac",
            folder.path().display()
        );
        make_program(&folder.path().join("docker-credential-test"), &script);
        let config = folder.path().join(".docker/config.json");
        let mut before = auths("from-before");
        before["credHelpers"] = json!({ "registry.test": "test" });
        write(&config, &before);
        assert_eq!(found(&environment).await.as_deref(), Some("from-before"), "the helper has none");

        let store = CredentialStore::of(&environment, None);
        assert_eq!(store.store(&registry(), &login("secret")).await.unwrap(), "docker-credential-test");
        let content: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
        let expected =
            json!({ "auths": { "registry.test": {} }, "credHelpers": { "registry.test": "test" } });
        assert_eq!(content, expected);
        assert_eq!(found(&environment).await.as_deref(), Some("secret"));
        assert!(store.remove(&registry()).await.unwrap());
        assert_eq!(found(&environment).await, None);
        assert!(!store.remove(&registry()).await.unwrap());
    }

    #[tokio::test]
    async fn a_broken_file_is_an_error_and_not_a_missing_login() {
        let (folder, environment) = home();
        fs::create_dir_all(folder.path().join(".docker")).unwrap();
        fs::write(folder.path().join(".docker/config.json"), "{").unwrap();
        let error = credential(&environment, &registry()).await.unwrap_err().to_string();
        assert!(error.contains(".docker/config.json"), "{error}");
    }
}
