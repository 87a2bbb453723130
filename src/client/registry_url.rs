//! Where a registry is, and which keys of an auth file mean it.

use std::fmt;

use reqwest::Url;

use super::error::ClientError;

/// Scheme, host and port of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryUrl(Url);

impl RegistryUrl {
    /// Reads `http(s)://host[:port]`.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let url = Url::parse(text).ok().filter(|url| {
            let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            let open = url.username().is_empty() && url.password().is_none();
            ["http", "https"].contains(&url.scheme()) && url.has_host() && bare && open
        });
        // The text may hold a password, so the message does not repeat it.
        url.map(Self).ok_or(ClientError::Url)
    }

    /// Reads `host[:port]`, as other clients name a registry: on this machine without TLS, elsewhere with it.
    pub fn of_host(text: &str) -> Result<Self, ClientError> {
        if text.contains("://") {
            return Self::parse(text);
        }
        let secure = Self::parse(&format!("https://{text}"))?;
        if secure.is_loopback() { Self::parse(&format!("http://{text}")) } else { Ok(secure) }
    }

    /// `host[:port]`: the key in auth files and for helpers. The port that the scheme implies is left out.
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    pub fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether a key of an auth file means this registry. With a scheme, as docker writes them, a path is of
    /// no account; without one, as podman writes them, it narrows the login to a namespace, and only the
    /// old `/v1/` and `/v2/` mean the registry itself.
    pub fn is_meant_by(&self, key: &str) -> bool {
        let with_scheme = key.split_once("://");
        let (scheme, rest) = with_scheme.unwrap_or((self.0.scheme(), key));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_whole = with_scheme.is_some() || ["", "v1", "v2"].contains(&path.trim_end_matches('/'));
        let url = Url::parse(&format!("{scheme}://{host}"));
        is_whole
            && url.is_ok_and(|meant| {
                meant.host() == self.0.host()
                    && meant.port_or_known_default() == self.0.port_or_known_default()
            })
    }

    /// The address of something on this registry. The path is made of our own words and checked ids.
    pub(super) fn at(&self, path: &str, query: &[(&str, String)]) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// The same for a path that ends in segments of others, whatever characters they have.
    pub(super) fn below(&self, path: &str, segments: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.at(path, query);
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(segments);
        }
        url
    }
}

impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> String {
        RegistryUrl::of_host(text).unwrap().to_string()
    }

    #[test]
    fn segments_of_others_stay_segments() {
        let registry = RegistryUrl::parse("https://registry.test").unwrap();
        let query = [("source", "a&b".to_owned())];
        let url = registry.below("/api/files", &["a b", "100%.txt", "c?d#e", "f/g", ".."], &query);
        assert_eq!(
            url.as_str(),
            "https://registry.test/api/files/a%20b/100%25.txt/c%3Fd%23e/f%2Fg?source=a%26b"
        );
    }

    #[test]
    fn what_is_the_url_of_a_registry() {
        for (text, shown) in [
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("https://Registry.Test/", "https://registry.test"),
            ("https://registry.test:443", "https://registry.test"),
            ("http://[::1]:5000", "http://[::1]:5000"),
        ] {
            assert_eq!(RegistryUrl::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            "registry.test",
            "ftp://registry.test",
            "http://",
            "http://registry.test/path",
            "http://registry.test?x",
            "http://user:hidden@registry.test",
        ] {
            let error = RegistryUrl::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn a_host_is_asked_without_tls_on_this_machine_alone() {
        assert_eq!(host("localhost:5000"), "http://localhost:5000");
        assert_eq!(host("127.0.0.7:5000"), "http://127.0.0.7:5000");
        assert_eq!(host("[::1]:5000"), "http://[::1]:5000");
        assert_eq!(host("registry.test:5000"), "https://registry.test:5000");
        assert_eq!(host("http://registry.test:5000"), "http://registry.test:5000");
        assert!(RegistryUrl::of_host("registry.test/acme").is_err());
    }

    #[test]
    fn keys_mean_a_host_and_a_port() {
        let registry = RegistryUrl::parse("https://registry.test").unwrap();
        for key in [
            "registry.test",
            "REGISTRY.test",
            "registry.test:443",
            "registry.test/",
            "registry.test/v2/",
            "https://registry.test",
            "https://registry.test/v1/",
            "https://registry.test/acme",
        ] {
            assert!(registry.is_meant_by(key), "{key}");
        }
        for key in [
            "",
            "registry.test:5000",
            "other.registry.test",
            "registry.test.evil.test",
            "registry.test/acme",
            "http://registry.test",
            "registry.test@evil.test",
        ] {
            assert!(!registry.is_meant_by(key), "{key}");
        }
        let local = RegistryUrl::parse("http://localhost:5000").unwrap();
        assert!(local.is_meant_by("localhost:5000") && local.is_meant_by("https://localhost:5000/v1/"));
        assert!(!local.is_meant_by("localhost"));
    }
}
