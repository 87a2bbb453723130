//! Every setting once: its name, type, default and meaning, and how file, environment and flags resolve.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::access::AnonymousPull;

/// One setting. Its variable is `QUIRE_<NAME>`, its flag `--<name>` with dashes, its key in the file `name`.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    /// What a value looks like, for help and error messages.
    pub value: &'static str,
    /// The text of the default; `None`: not set.
    pub default: Option<&'static str>,
    /// One sentence.
    pub about: &'static str,
    /// Never printed, never a flag (flags show in process lists), and also read from `QUIRE_<NAME>_FILE`.
    pub secret: bool,
}

const fn setting(
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    about: &'static str,
) -> Setting {
    Setting { name, value, default, about, secret: false }
}

const fn secret(name: &'static str, value: &'static str, about: &'static str) -> Setting {
    Setting { name, value, default: None, about, secret: true }
}

/// The table that help, `check-config`, the man page and the parser are made from.
pub const SETTINGS: &[Setting] = &[
    setting("config", "FILE", None, "A TOML file with any of these settings by name."),
    setting(
        "listen",
        "ADDRESS:PORT",
        Some("127.0.0.1:5000"),
        "The address to serve on; port 0 takes a free one.",
    ),
    setting("data", "FOLDER", Some("./data"), "The folder of blobs, staging and the SQLite database."),
    secret(
        "database_url",
        "URL",
        "The PostgreSQL database, postgres://user:password@host/name; without it, SQLite in the data folder.",
    ),
    secret(
        "database_direct_url",
        "URL",
        "The same database past a pooler in transaction mode, for migrations and what nodes tell each other.",
    ),
    setting(
        "database_connections",
        "NUMBER",
        Some("16"),
        "Connections to PostgreSQL that this server keeps at most.",
    ),
    setting(
        "database_timeout",
        "MILLISECONDS",
        Some("900"),
        "How long PostgreSQL may take for one statement, and as long for a connection.",
    ),
    secret(
        "admin_token",
        "TOKEN",
        "The token that may do everything; without it one is made on the first start and kept in <data>/admin.token.",
    ),
    secret(
        "token_key",
        "PEM",
        "The Ed25519 key (PKCS#8) that signs short tokens; without it one is made and kept.",
    ),
    setting(
        "anonymous_pull",
        "none|system|all",
        Some("system"),
        "What may be pulled without a credential: nothing, the system catalog, or everything.",
    ),
    setting(
        "public_url",
        "URL",
        None,
        "How clients reach this server; without it, the Host of each request.",
    ),
    setting(
        "node_url",
        "URL",
        None,
        "How other replicas of the same registry reach this one; needed when there are several.",
    ),
    setting(
        "issuers",
        "FILE",
        None,
        "A TOML file of issuers whose JWTs are accepted; docs/access.md has the format.",
    ),
    setting(
        "auth_grace",
        "SECONDS",
        Some("600"),
        "How long callers that are known go on being served while the database is down.",
    ),
    setting(
        "caller_rate",
        "PER_SECOND",
        None,
        "Requests that one caller may make in a second, ten times as many at once; without it, no limit.",
    ),
    setting(
        "address_rate",
        "PER_SECOND",
        None,
        "Requests that may come from one address in a second, ten times as many at once; without it, no limit.",
    ),
    setting(
        "failed_logins",
        "PER_MINUTE",
        Some("10"),
        "Wrong credentials from one address in a minute that are answered at once; further ones wait a second.",
    ),
    setting("read_only", "true|false", Some("false"), "Refuse every write."),
    setting(
        "max_plugin_upload_bytes",
        "BYTES",
        Some("52428800"),
        "The largest package of a plugin that may be uploaded or pushed.",
    ),
    setting("max_blob_bytes", "BYTES", Some("10737418240"), "The largest blob that may be pushed."),
    setting(
        "s3_bucket",
        "BUCKET",
        None,
        "The S3 bucket that keeps every blob; without it, blobs are in the data folder alone.",
    ),
    setting("s3_endpoint", "URL", None, "Where S3 is; without it, AWS."),
    setting(
        "s3_region",
        "REGION",
        None,
        "The region of the bucket; without it, that of the AWS configuration, else us-east-1.",
    ),
    setting("s3_prefix", "TEXT", Some(""), "What all keys in the bucket begin with, such as `quire/`."),
    setting(
        "s3_mode",
        "auto|required|async",
        Some("auto"),
        "When a push is acknowledged: once it is in S3 (required), or before (async); auto is required, and goes without S3 where its credentials are missing or refused.",
    ),
    setting(
        "s3_path_style",
        "true|false",
        None,
        "Whether the bucket is in the path of URLs and not in the host name; without it, only with an s3_endpoint.",
    ),
    setting(
        "s3_checksums",
        "when_supported|when_required",
        Some("when_supported"),
        "Whether to send the SHA-256 of each body as a checksum if S3 takes one, or never.",
    ),
    setting("s3_connect_timeout", "SECONDS", Some("3"), "How long a connection to S3 may take to be made."),
    setting(
        "s3_timeout",
        "SECONDS",
        Some("10"),
        "How long a request to S3 may make no progress before it is tried again.",
    ),
    setting(
        "s3_redirect",
        "true|false",
        Some("false"),
        "Answer pulls of blobs with a signed URL of the bucket, where clients fetch the bytes.",
    ),
    setting(
        "near_max_bytes",
        "BYTES",
        None,
        "How much the data folder keeps of what is in S3, least recently used goes first; without it, everything.",
    ),
    setting(
        "sync_fetches",
        "NUMBER",
        Some("8"),
        "How many blobs a starting server fetches from S3 at the same time; 0: none before they are asked for.",
    ),
    setting(
        "ready",
        "always|hot|all",
        Some("always"),
        "When /readyz says ready, where there is S3: at once, when what tags lead to is in the data folder, or everything.",
    ),
    setting("cache_bytes", "BYTES", Some("67108864"), "Memory for manifests and small blobs."),
    setting(
        "upload_expiry",
        "SECONDS",
        Some("86400"),
        "How long an upload session may rest before it is dropped.",
    ),
    setting(
        "drain_timeout",
        "SECONDS",
        Some("30"),
        "How long a stopping server waits for requests under way.",
    ),
    setting("log", "FILTER", Some("info"), "Which log lines to print, as a tracing filter."),
    setting("log_format", "text|json", Some("text"), "How log lines are printed."),
];

impl Setting {
    /// `QUIRE_<NAME>`
    pub fn variable(&self) -> String {
        format!("QUIRE_{}", self.name.to_uppercase())
    }

    /// The long flag without its dashes.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Unset,
    Default,
    File(PathBuf),
    Variable(String),
    Flag,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unset => f.write_str("not set"),
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A setting with the value that won. It may be a secret, so it cannot be printed.
#[derive(Clone)]
pub struct Resolved {
    pub setting: Setting,
    pub value: Option<String>,
    pub origin: Origin,
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("{name} ({origin}): {value:?} is not {expected}")]
    Value { name: &'static str, origin: Origin, value: String, expected: String },
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{path}: unknown setting {key:?}{}", suggestion.map(|s| format!("; did you mean {s:?}?")).unwrap_or_default())]
    UnknownKey { path: PathBuf, key: String, suggestion: Option<&'static str> },
    #[error("{variable}: {reason}")]
    Variable { variable: String, reason: String },
}

/// What was said, resolved: file < environment < flag.
#[derive(Clone)]
pub struct Resolution {
    pub settings: Vec<Resolved>,
    /// Variables that look like ours and are not, with a suggestion. Not an error: container platforms
    /// set `QUIRE_PORT` and the like for a service that is called quire.
    pub stray_variables: Vec<(String, Option<&'static str>)>,
}

/// What is read of the environment besides `QUIRE_*`: where a person's logins and programs are.
pub const FOREIGN_VARIABLES: [&str; 7] = [
    "DOCKER_CONFIG",
    "HOME",
    "PATH",
    "REGISTRY_AUTH_FILE",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
];

/// The environment, given from outside so that tests need not change their own.
pub type Environment = BTreeMap<String, String>;

/// Resolves every setting. `flags` holds what the command line said, by setting name.
pub fn resolve(
    flags: &BTreeMap<&'static str, String>,
    environment: &Environment,
) -> Result<Resolution, ConfigError> {
    let mut file = BTreeMap::new();
    let mut file_path = PathBuf::new();
    let mut settings = Vec::with_capacity(SETTINGS.len());
    for setting in SETTINGS {
        let resolved = if let Some(value) = flags.get(setting.name) {
            Resolved { setting: *setting, value: Some(value.clone()), origin: Origin::Flag }
        } else if let Some((value, variable)) = from_environment(setting, environment)? {
            Resolved { setting: *setting, value: Some(value), origin: Origin::Variable(variable) }
        } else if let Some(value) = file.remove(setting.name) {
            Resolved { setting: *setting, value: Some(value), origin: Origin::File(file_path.clone()) }
        } else {
            let origin = if setting.default.is_some() { Origin::Default } else { Origin::Unset };
            Resolved { setting: *setting, value: setting.default.map(str::to_owned), origin }
        };
        if setting.name == "config"
            && let Some(path) = &resolved.value
        {
            file_path = PathBuf::from(path);
            file = read_file(&file_path)?;
        }
        settings.push(resolved);
    }
    Ok(Resolution { settings, stray_variables: stray_variables(environment) })
}

fn from_environment(
    setting: &Setting,
    environment: &Environment,
) -> Result<Option<(String, String)>, ConfigError> {
    let variable = setting.variable();
    if setting.secret {
        return secret_from_environment(&variable, environment);
    }
    Ok(environment.get(&variable).map(|value| (value.clone(), variable)))
}

/// A secret, and the variable that it came from: the one of that name, or the one that names a file.
pub fn secret_from_environment(
    variable: &str,
    environment: &Environment,
) -> Result<Option<(String, String)>, ConfigError> {
    let file_variable = format!("{variable}_FILE");
    match (environment.get(variable), environment.get(&file_variable)) {
        (Some(_), Some(_)) => Err(ConfigError::Variable {
            reason: format!("{variable} and {file_variable} are both set; keep one"),
            variable: file_variable,
        }),
        (Some(value), None) => Ok(Some((value.clone(), variable.to_owned()))),
        (None, Some(path)) => match fs::read_to_string(path) {
            Ok(value) => Ok(Some((value.trim_end_matches(['\r', '\n']).to_owned(), file_variable))),
            Err(error) => {
                Err(ConfigError::Variable { variable: file_variable, reason: format!("{path}: {error}") })
            }
        },
        (None, None) => Ok(None),
    }
}

fn read_file(path: &PathBuf) -> Result<BTreeMap<&'static str, String>, ConfigError> {
    let broken = |reason: String| ConfigError::File { path: path.clone(), reason };
    let text = fs::read_to_string(path).map_err(|error| broken(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| broken(error.to_string()))?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let Some(setting) = SETTINGS.iter().find(|s| s.name == key && s.name != "config") else {
            let suggestion = nearest(&key);
            return Err(ConfigError::UnknownKey { path: path.clone(), key, suggestion });
        };
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(truth) => truth.to_string(),
            other => {
                return Err(broken(format!("{key} is a {}, not a text, number or truth", other.type_str())));
            }
        };
        values.insert(setting.name, text);
    }
    Ok(values)
}

fn stray_variables(environment: &Environment) -> Vec<(String, Option<&'static str>)> {
    // What client commands and long tests read besides the settings.
    const OTHERS: [&str; 5] =
        ["QUIRE_URL", "QUIRE_TOKEN", "QUIRE_TOKEN_FILE", "QUIRE_SOAK", "QUIRE_TEST_STORE"];
    let known = |variable: &str| {
        OTHERS.contains(&variable)
            || SETTINGS.iter().any(|setting| {
                let own = setting.variable();
                variable == own || (setting.secret && variable.strip_suffix("_FILE") == Some(&own))
            })
    };
    let ours = environment.keys().filter(|variable| variable.starts_with("QUIRE_") && !known(variable));
    ours.map(|variable| (variable.clone(), nearest(&variable["QUIRE_".len()..].to_lowercase()))).collect()
}

/// The setting whose name is closest, if one is close at all.
fn nearest(key: &str) -> Option<&'static str> {
    let close = |setting: &&Setting| strsim::jaro_winkler(setting.name, key) > 0.8;
    let best = SETTINGS
        .iter()
        .filter(close)
        .max_by(|a, b| strsim::jaro_winkler(a.name, key).total_cmp(&strsim::jaro_winkler(b.name, key)));
    best.map(|setting| setting.name)
}

/// How log lines are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// When a push is acknowledged where there is an S3 bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Mode {
    /// As [`S3Mode::Required`], but without S3 where its credentials are missing or refused at the start.
    Auto,
    /// When the bucket has it.
    Required,
    /// When this node has it; the bucket gets it later.
    Async,
}

impl FromStr for S3Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "required" => Ok(Self::Required),
            "async" => Ok(Self::Async),
            _ => Err(()),
        }
    }
}

/// When a server with S3 is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyWhen {
    /// At once: what is missing is fetched when it is asked for.
    Always,
    /// When everything that a tag leads to is in the data folder.
    Hot,
    /// When everything is.
    All,
}

impl FromStr for ReadyWhen {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "always" => Ok(Self::Always),
            "hot" => Ok(Self::Hot),
            "all" => Ok(Self::All),
            _ => Err(()),
        }
    }
}

/// The settings of S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    pub bucket: String,
    /// Scheme and authority, without a slash at the end; `None`: AWS.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub prefix: String,
    pub mode: S3Mode,
    pub path_style: Option<bool>,
    /// Send checksums, if S3 takes them.
    pub checksums: bool,
    pub connect_timeout: Duration,
    pub timeout: Duration,
}

/// Every setting with its type. It holds secrets, so it cannot be printed.
#[derive(Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub data: PathBuf,
    /// `postgres://…`; `None`: the SQLite file in the data folder.
    pub database_url: Option<String>,
    pub database_direct_url: Option<String>,
    pub database_connections: NonZeroUsize,
    pub database_timeout: Duration,
    pub admin_token: Option<String>,
    pub token_key: Option<String>,
    pub anonymous_pull: AnonymousPull,
    /// Scheme and authority, without a slash at the end.
    pub public_url: Option<String>,
    /// Scheme and authority, without a slash at the end.
    pub node_url: Option<String>,
    pub issuers: Option<PathBuf>,
    pub auth_grace: Duration,
    pub caller_rate: Option<NonZeroU32>,
    pub address_rate: Option<NonZeroU32>,
    pub failed_logins: u32,
    pub read_only: bool,
    pub max_plugin_upload_bytes: u64,
    pub max_blob_bytes: u64,
    /// `None`: blobs are in the data folder alone.
    pub s3: Option<S3Config>,
    pub s3_redirect: bool,
    /// `None`: the data folder keeps everything.
    pub near_max_bytes: Option<u64>,
    pub sync_fetches: u16,
    pub ready: ReadyWhen,
    pub cache_bytes: u64,
    pub upload_expiry: Duration,
    pub drain_timeout: Duration,
    pub log: String,
    pub log_format: LogFormat,
}

impl Resolution {
    /// Reads every value into its type.
    pub fn config(&self) -> Result<Config, ConfigError> {
        Ok(Config {
            listen: self.required("listen", "an address and a port")?,
            data: self.required("data", "a folder")?,
            database_url: self.checked("database_url", DATABASE_URL, database_url)?,
            database_direct_url: self.checked("database_direct_url", DATABASE_URL, database_url)?,
            database_connections: self.required("database_connections", "a number above 0")?,
            database_timeout: Duration::from_millis(
                self.required::<NonZeroU32>("database_timeout", "a number of milliseconds above 0")?
                    .get()
                    .into(),
            ),
            admin_token: self.checked("admin_token", "at least 20 visible characters", |token| {
                let visible = token.bytes().all(|byte| byte.is_ascii_graphic());
                (visible && token.len() >= 20).then(|| token.to_owned())
            })?,
            token_key: self.checked("token_key", "a PEM text", |pem| {
                pem.contains("-----BEGIN PRIVATE KEY-----").then(|| pem.to_owned())
            })?,
            anonymous_pull: self.required("anonymous_pull", "none, system or all")?,
            public_url: self.checked("public_url", "http(s)://host[:port] without a path", public_url)?,
            node_url: self.checked("node_url", "http(s)://host[:port] without a path", public_url)?,
            issuers: self.checked("issuers", "a file", |path| Some(PathBuf::from(path)))?,
            // With less than the time between two polls, nobody would ever be known.
            auth_grace: Duration::from_secs(
                self.required::<u64>("auth_grace", "a number of seconds")?.max(2),
            ),
            caller_rate: self.checked("caller_rate", "a number above 0", |text| text.parse().ok())?,
            address_rate: self.checked("address_rate", "a number above 0", |text| text.parse().ok())?,
            failed_logins: self.required("failed_logins", "a number")?,
            read_only: self.required("read_only", "true or false")?,
            max_plugin_upload_bytes: self.required("max_plugin_upload_bytes", "a number of bytes")?,
            max_blob_bytes: self.required("max_blob_bytes", "a number of bytes")?,
            s3: self.s3()?,
            s3_redirect: self.required("s3_redirect", "true or false")?,
            sync_fetches: self.required("sync_fetches", "a number up to 65535")?,
            ready: self.required("ready", "always, hot or all")?,
            near_max_bytes: self.checked("near_max_bytes", "a number of bytes", |text| text.parse().ok())?,
            cache_bytes: self.required("cache_bytes", "a number of bytes")?,
            upload_expiry: Duration::from_secs(self.required("upload_expiry", "a number of seconds")?),
            drain_timeout: Duration::from_secs(self.required("drain_timeout", "a number of seconds")?),
            log: self.required("log", "a filter")?,
            log_format: self.required("log_format", "text or json")?,
        })
    }

    /// Values are checked also where there is no bucket yet.
    fn s3(&self) -> Result<Option<S3Config>, ConfigError> {
        let word = |text: &str| {
            (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
        };
        let checksums = |text: &str| match text {
            "when_supported" => Some(true),
            "when_required" => Some(false),
            _ => None,
        };
        let prefix = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
            let odd = text.starts_with('/') || text.contains("//") || text.contains("..");
            (plain && !odd && text.len() <= 200).then(|| text.to_owned())
        };
        let seconds = |name| {
            let seconds: NonZeroU32 = self.required(name, "a number of seconds above 0")?;
            Ok::<_, ConfigError>(Duration::from_secs(seconds.get().into()))
        };
        let config = S3Config {
            bucket: String::new(),
            endpoint: self.checked("s3_endpoint", "http(s)://host[:port] without a path", public_url)?,
            region: self.checked("s3_region", "a region", word)?,
            prefix: self
                .checked("s3_prefix", "letters, digits, `-_.` and single slashes, none at its start", prefix)?
                .unwrap_or_default(),
            mode: self.required("s3_mode", "auto, required or async")?,
            path_style: self.checked("s3_path_style", "true or false", |text| text.parse().ok())?,
            checksums: self
                .checked("s3_checksums", "when_supported or when_required", checksums)?
                .unwrap_or(true),
            connect_timeout: seconds("s3_connect_timeout")?,
            timeout: seconds("s3_timeout")?,
        };
        let bucket = self.checked("s3_bucket", "the name of a bucket", word)?;
        Ok(bucket.map(|bucket| S3Config { bucket, ..config }))
    }

    fn required<T: FromStr>(&self, name: &'static str, expected: &str) -> Result<T, ConfigError> {
        let value = self.checked(name, expected, |text| text.parse().ok())?;
        value.ok_or_else(|| ConfigError::Value {
            name,
            origin: Origin::Unset,
            value: String::new(),
            expected: expected.to_owned(),
        })
    }

    fn checked<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(Resolved { setting, value: Some(value), origin }) =
            self.settings.iter().find(|resolved| resolved.setting.name == name)
        else {
            return Ok(None);
        };
        match parse(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(ConfigError::Value {
                name,
                origin: origin.clone(),
                value: if setting.secret { "(secret)".to_owned() } else { value.clone() },
                expected: expected.to_owned(),
            }),
        }
    }
}

const DATABASE_URL: &str = "postgres://user:password@host/name";

/// What stands behind the scheme is read where it is used.
fn database_url(text: &str) -> Option<String> {
    let known = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    known.then(|| text.to_owned())
}

fn public_url(text: &str) -> Option<String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let uri: http::Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
    let authority = uri.authority()?;
    (uri.path() == "/" && uri.query().is_none()).then(|| format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn defaults_are_a_configuration() {
        let config = resolve(&BTreeMap::new(), &Environment::new()).unwrap().config().unwrap();
        assert_eq!(config.listen, "127.0.0.1:5000".parse().unwrap());
        assert_eq!(config.anonymous_pull, AnonymousPull::System);
        assert_eq!(config.max_blob_bytes, 10 << 30);
    }

    #[test]
    fn file_then_variable_then_flag() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quire.toml");
        fs::write(&path, "data = '/from/file'\nread_only = true\nmax_blob_bytes = 7\n").unwrap();
        let variables = environment(&[
            ("QUIRE_CONFIG", path.to_str().unwrap()),
            ("QUIRE_DATA", "/from/variable"),
            ("QUIRE_MAX_BLOB_BYTES", "8"),
        ]);
        let flags = BTreeMap::from([("max_blob_bytes", "9".to_owned())]);
        let resolution = resolve(&flags, &variables).unwrap();
        let config = resolution.config().unwrap();
        assert!(config.read_only);
        assert_eq!(config.data, PathBuf::from("/from/variable"));
        assert_eq!(config.max_blob_bytes, 9);
        let origin = |name| &resolution.settings.iter().find(|r| r.setting.name == name).unwrap().origin;
        assert_eq!(*origin("read_only"), Origin::File(path));
        assert_eq!(*origin("data"), Origin::Variable("QUIRE_DATA".into()));
        assert_eq!(*origin("max_blob_bytes"), Origin::Flag);
        assert_eq!(*origin("listen"), Origin::Default);
    }

    #[test]
    fn a_bucket_is_all_that_s3_takes() {
        let config = |pairs| resolve(&BTreeMap::new(), &environment(pairs)).unwrap().config().unwrap();
        assert_eq!(config(&[("QUIRE_S3_REGION", "eu-west-1")]).s3, None);
        let s3 = config(&[("QUIRE_S3_BUCKET", "artifacts")]).s3.unwrap();
        assert_eq!((s3.bucket.as_str(), s3.prefix.as_str(), s3.mode), ("artifacts", "", S3Mode::Auto));
        assert!(s3.checksums && s3.endpoint.is_none() && s3.path_style.is_none());
        assert_eq!(s3.timeout, Duration::from_secs(10));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_a_suggestion() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quire.toml");
        fs::write(&path, "anonymous_pul = 'all'\n").unwrap();
        let error = resolve(&BTreeMap::from([("config", path.display().to_string())]), &Environment::new());
        let message = error.err().unwrap().to_string();
        assert!(message.contains("did you mean \"anonymous_pull\"?"), "{message}");
    }

    #[test]
    fn a_stray_variable_is_told() {
        let resolution = resolve(&BTreeMap::new(), &environment(&[("QUIRE_ANONYMUS_PULL", "all")])).unwrap();
        assert_eq!(resolution.stray_variables, [("QUIRE_ANONYMUS_PULL".to_owned(), Some("anonymous_pull"))]);
    }

    #[test]
    fn secrets_come_from_files_and_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "too-short\n").unwrap();
        let variables = environment(&[("QUIRE_ADMIN_TOKEN_FILE", path.to_str().unwrap())]);
        let message = resolve(&BTreeMap::new(), &variables).unwrap().config().err().unwrap().to_string();
        assert!(message.contains("QUIRE_ADMIN_TOKEN_FILE"), "{message}");
        assert!(!message.contains("too-short"), "{message}");
        let variables = environment(&[("QUIRE_DATABASE_URL", "mysql://quire:hunter2@host/quire")]);
        let message = resolve(&BTreeMap::new(), &variables).unwrap().config().err().unwrap().to_string();
        assert!(message.contains("postgres://") && !message.contains("hunter2"), "{message}");
        let both = environment(&[("QUIRE_ADMIN_TOKEN", "x"), ("QUIRE_ADMIN_TOKEN_FILE", "y")]);
        assert!(resolve(&BTreeMap::new(), &both).is_err());
    }

    #[test]
    fn values_are_checked() {
        for (variable, value) in [
            ("QUIRE_LISTEN", "localhost"),
            ("QUIRE_READ_ONLY", "yes"),
            ("QUIRE_MAX_BLOB_BYTES", "-1"),
            ("QUIRE_ANONYMOUS_PULL", "some"),
            ("QUIRE_PUBLIC_URL", "https://host/path"),
            ("QUIRE_PUBLIC_URL", "host"),
            ("QUIRE_LOG_FORMAT", "xml"),
            ("QUIRE_CALLER_RATE", "0"),
            ("QUIRE_S3_ENDPOINT", "minio:9000"),
            ("QUIRE_S3_MODE", "on"),
            ("QUIRE_S3_REDIRECT", "always"),
            ("QUIRE_NEAR_MAX_BYTES", "10G"),
            ("QUIRE_SYNC_FETCHES", "-1"),
            ("QUIRE_READY", "soon"),
            ("QUIRE_S3_PREFIX", "/quire"),
            ("QUIRE_S3_PATH_STYLE", "yes"),
            ("QUIRE_S3_CHECKSUMS", "never"),
            ("QUIRE_S3_TIMEOUT", "0"),
            ("QUIRE_DATABASE_CONNECTIONS", "0"),
            ("QUIRE_DATABASE_TIMEOUT", "0.5"),
        ] {
            let resolution = resolve(&BTreeMap::new(), &environment(&[(variable, value)])).unwrap();
            let message = resolution.config().err().unwrap().to_string();
            assert!(message.contains(variable) && message.contains(value), "{message}");
        }
    }
}
