//! A database URL: what tokio-postgres reads of it, and what libpq says about TLS.

use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode as Encryption};

use super::tls::{Roots, SslMode, Tls};

const PORT: u16 = 5432;

/// Where a database is and how to get in. It holds a password, so it cannot be printed.
#[derive(Clone)]
pub(super) struct Target {
    pub config: Config,
    pub tls: Tls,
    /// Hosts with their ports and the user, for messages.
    pub name: String,
}

/// Why a URL cannot be used. The text of the URL is in no message: it may hold a password anywhere.
#[derive(Debug, Error)]
pub(super) enum UrlError {
    #[error("it does not begin with postgres://")]
    Scheme,
    #[error(
        "it is not clear where the password ends: in user, password and parameters, '@' is %40 and '?' is %3F"
    )]
    Ambiguous,
    #[error("it names no host")]
    NoHost,
    #[error("{parameter} is not {expected}")]
    Parameter { parameter: &'static str, expected: &'static str },
    #[error("sslcert and sslkey go together")]
    HalfAnIdentity,
    #[error("sslrootcert=system goes with sslmode=verify-full")]
    WeakSystemRoots,
    /// tokio-postgres names the parameter, and never a value.
    #[error("{0}")]
    Refused(String),
}

impl FromStr for Target {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        let scheme = ["postgres://", "postgresql://"].into_iter().find(|scheme| url.starts_with(scheme));
        let scheme = scheme.ok_or(UrlError::Scheme)?;
        let (place, query) = url[scheme.len()..].split_once('?').unwrap_or((&url[scheme.len()..], ""));
        // The password might end at either of two, and the rest of it would be taken for a host or a parameter.
        if place.matches('@').count() > 1 || query.contains('@') {
            return Err(UrlError::Ambiguous);
        }
        let mut ssl = Ssl::default();
        let others = query.split('&').filter(|pair| !pair.is_empty() && !ssl.takes(pair));
        let others = others.collect::<Vec<_>>().join("&");
        let mut config: Config = format!("postgres://{place}?{others}")
            .parse()
            .map_err(|error: tokio_postgres::Error| UrlError::Refused(said(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(UrlError::NoHost);
        }
        let tls = ssl.tls()?;
        config.ssl_mode(match tls.mode {
            SslMode::Disable => Encryption::Disable,
            SslMode::Prefer if has_no_network(&config) => Encryption::Disable,
            SslMode::Prefer => Encryption::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Encryption::Require,
        });
        let user = config.get_user().map(|user| format!(" as user {user}")).unwrap_or_default();
        let name = format!("{}{user}", places(&config).join(", "));
        Ok(Self { config, tls, name })
    }
}

/// The cause says more than the error itself.
fn said(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// PostgreSQL has no TLS on Unix sockets.
fn has_no_network(config: &Config) -> bool {
    config.get_hostaddrs().is_empty() && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)))
}

fn places(config: &Config) -> Vec<String> {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(PORT);
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| match host {
        Host::Tcp(host) if host.contains(':') => format!("[{host}]:{}", port(index)),
        Host::Tcp(host) => format!("{host}:{}", port(index)),
        Host::Unix(folder) => format!("{}/.s.PGSQL.{}", folder.display(), port(index)),
    });
    let mut places: Vec<String> = hosts.collect();
    if places.is_empty() {
        let addresses = config.get_hostaddrs().iter().enumerate();
        places.extend(addresses.map(|(index, address)| format!("{address}:{}", port(index))));
    }
    places
}

/// The parameters that tokio-postgres does not know, or knows less of.
#[derive(Default)]
struct Ssl {
    mode: Option<String>,
    root_certificate: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Ssl {
    /// Keeps the value of a `key=value` if the key is one of these.
    fn takes(&mut self, pair: &str) -> bool {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = match key {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.root_certificate,
            "sslcert" => &mut self.certificate,
            "sslkey" => &mut self.key,
            _ => return false,
        };
        *place = Some(percent_decode_str(value).decode_utf8_lossy().into_owned());
        true
    }

    fn tls(self) -> Result<Tls, UrlError> {
        let roots = match self.root_certificate {
            Some(word) if word == "system" => Some(Roots::System),
            Some(path) => Some(Roots::File(PathBuf::from(path))),
            None => None,
        };
        let mode = match self.mode.as_deref() {
            Some("disable") => SslMode::Disable,
            Some("prefer") => SslMode::Prefer,
            // As libpq has it: who says whom to trust wants to be asked.
            Some("require") if matches!(roots, Some(Roots::File(_))) => SslMode::VerifyCa,
            Some("require") => SslMode::Require,
            Some("verify-ca") => SslMode::VerifyCa,
            Some("verify-full") => SslMode::VerifyFull,
            None if roots.is_some() => SslMode::VerifyFull,
            None => SslMode::Prefer,
            Some(_) => {
                return Err(UrlError::Parameter {
                    parameter: "sslmode",
                    expected: "disable, prefer, require, verify-ca or verify-full",
                });
            }
        };
        if roots == Some(Roots::System) && mode != SslMode::VerifyFull {
            return Err(UrlError::WeakSystemRoots);
        }
        let identity = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some((PathBuf::from(certificate), PathBuf::from(key))),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(UrlError::HalfAnIdentity),
        };
        Ok(Tls { mode, roots: roots.unwrap_or(Roots::System), identity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    fn refusal(url: &str) -> String {
        url.parse::<Target>().err().unwrap_or_else(|| panic!("{url} was read")).to_string()
    }

    #[test]
    fn hosts_and_users_are_named_and_passwords_are_not() {
        for (url, name) in [
            ("postgres://quire:hunter2@db.example.com/quire", "db.example.com:5432 as user quire"),
            ("postgresql://quire@[::1]:6432/quire?application_name=x", "[::1]:6432 as user quire"),
            ("postgres://quire:hunter2@one:1,two:2/q", "one:1, two:2 as user quire"),
            ("postgres://quire@%2Frun%2Fpostgresql/q", "/run/postgresql/.s.PGSQL.5432 as user quire"),
            ("postgres:///q?host=/tmp/x&port=99", "/tmp/x/.s.PGSQL.99"),
            ("postgres://u@/q?hostaddr=10.0.0.1", "10.0.0.1:5432 as user u"),
        ] {
            assert_eq!(target(url).name, name);
        }
        let config = target("postgres://quire:p%40ss%2Fword@host/quire").config;
        assert_eq!(config.get_password(), Some("p@ss/word".as_bytes()));
        assert!(!format!("{config:?}").contains("p@ss"));
    }

    #[test]
    fn a_refusal_shows_nothing_of_a_password() {
        for url in [
            "mysql://quire:hunter2@host/quire",
            "postgres://quire:hun@ter2@host/quire",
            "postgres://quire:a@b?hunter2=1@host/quire",
            "postgres://quire:1?hunter2=1@host/quire",
            "postgres://quire:x@host:hunter2/quire",
            "postgres://quire:x@host/quire?sslmode=hunter2",
            "postgres://quire:x@host/quire?connect_timeout=hunter2",
            "postgres://quire:hunter2@/quire",
            "postgres://quire:x@host/quire?sslcert=hunter2",
            "postgres://quire:x@host/quire?sslmode=allow&password=hunter2",
        ] {
            let said = refusal(url);
            assert!(!said.contains("hunter2") && !said.contains("ter2") && said.len() > 10, "{said}");
        }
        assert!(refusal("postgres://u@h/d?sslmod=require").contains("sslmod"));
    }

    #[test]
    fn sslmode_is_that_of_libpq() {
        let file = || Roots::File("/etc/ca.pem".into());
        for (query, mode, roots, encryption) in [
            ("", SslMode::Prefer, Roots::System, Encryption::Prefer),
            ("sslmode=disable", SslMode::Disable, Roots::System, Encryption::Disable),
            ("sslmode=prefer", SslMode::Prefer, Roots::System, Encryption::Prefer),
            ("sslmode=require", SslMode::Require, Roots::System, Encryption::Require),
            ("sslmode=verify-full", SslMode::VerifyFull, Roots::System, Encryption::Require),
            ("sslrootcert=system", SslMode::VerifyFull, Roots::System, Encryption::Require),
            ("sslrootcert=/etc/ca.pem", SslMode::VerifyFull, file(), Encryption::Require),
            ("sslmode=require&sslrootcert=%2Fetc%2Fca.pem", SslMode::VerifyCa, file(), Encryption::Require),
            ("sslmode=verify-ca&sslrootcert=/etc/ca.pem", SslMode::VerifyCa, file(), Encryption::Require),
        ] {
            let Target { config, tls, .. } = target(&format!("postgres://u@h/d?{query}"));
            assert_eq!((tls.mode, tls.roots, config.get_ssl_mode()), (mode, roots, encryption), "{query}");
        }
        assert_eq!(target("postgres:///d?host=/tmp").config.get_ssl_mode(), Encryption::Disable);
        assert!(refusal("postgres://u@h/d?sslrootcert=system&sslmode=require").contains("verify-full"));
        let tls = target("postgres://u@h/d?sslcert=/c.pem&sslkey=/k.pem&connect_timeout=3").tls;
        assert_eq!(tls.identity, Some(("/c.pem".into(), "/k.pem".into())));
    }
}
