//! Fetches the key set of an issuer: one request, tightly limited in time, size and destination.

use std::error::Error;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use thiserror::Error;

use super::address::{PrivateAddress, PublicResolver, is_public};

/// Largest key set that is read, in bytes.
pub(super) const KEY_SET_LIMIT: usize = 256 * 1024;

/// Why a URL cannot be one of keys.
#[derive(Debug, Error)]
pub(super) enum KeyUrlError {
    #[error("it is no URL: {0}")]
    Grammar(String),
    #[error("it must begin with https://; http:// needs allow_private_addresses")]
    Scheme,
    #[error("it must not hold a user or a password")]
    Credentials,
    #[error(transparent)]
    Address(#[from] PrivateAddress),
    #[error("{0}")]
    Client(String),
}

/// Why a key set could not be fetched.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("the answer has status {0}, not 200")]
    Status(u16),
    #[error("the answer is larger than {KEY_SET_LIMIT} bytes")]
    Size,
    #[error("{0}")]
    Transport(String),
}

/// How long a fetch may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until there is a connection, with the look-up of the name.
    pub connect: Duration,
    /// In all.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), total: Duration::from_secs(5) }
    }
}

/// Fetches one URL, and follows it nowhere else.
pub(super) struct Fetcher {
    client: Client,
    url: Url,
}

impl Fetcher {
    /// `allow_private` lifts the check of addresses, and allows plain HTTP.
    pub fn new(url: &str, allow_private: bool, patience: Patience) -> Result<Self, KeyUrlError> {
        let url = Url::parse(url).map_err(|error| KeyUrlError::Grammar(error.to_string()))?;
        match url.scheme() {
            "https" => {}
            "http" if allow_private => {}
            _ => return Err(KeyUrlError::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(KeyUrlError::Credentials);
        }
        let mut builder = Client::builder()
            .user_agent(concat!("quire/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            // A proxy would resolve the name where our check of addresses does not reach.
            .no_proxy()
            .https_only(!allow_private)
            .connect_timeout(patience.connect)
            .timeout(patience.total)
            .pool_max_idle_per_host(0);
        if !allow_private {
            // Literals never come to a resolver, so they are judged here.
            if literal(&url).is_some_and(|address| !is_public(address)) {
                return Err(PrivateAddress.into());
            }
            builder = builder.dns_resolver(PublicResolver);
        }
        let client = builder.build().map_err(|error| KeyUrlError::Client(chain(&error)))?;
        Ok(Self { client, url })
    }

    /// The body of the answer.
    pub async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        let transport = |error: reqwest::Error| FetchError::Transport(chain(&error.without_url()));
        let request = self.client.get(self.url.clone());
        let request =
            request.header(ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
        let mut answer = request.send().await.map_err(transport)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > KEY_SET_LIMIT {
                return Err(FetchError::Size);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The address that a URL names as its host. The parser has brought every spelling into the usual one.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// An error with its causes: reqwest tells only the outermost by itself.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Answer, Stub};
    use super::*;

    const SHORT: Patience =
        Patience { connect: Duration::from_millis(500), total: Duration::from_millis(500) };

    async fn fetched(stub: &Stub) -> Result<Vec<u8>, FetchError> {
        fetched_within(stub, Patience::default()).await
    }

    async fn fetched_within(stub: &Stub, patience: Patience) -> Result<Vec<u8>, FetchError> {
        Fetcher::new(&stub.url("/keys"), true, patience).unwrap().fetch().await
    }

    #[tokio::test]
    async fn a_body_is_read() {
        let stub = Stub::start(|_| Answer::ok("{}"));
        assert_eq!(fetched(&stub).await.unwrap(), b"{}");
    }

    #[tokio::test]
    async fn other_answers_are_refused() {
        let elsewhere = Stub::start(|_| Answer::ok("{}"));
        let target = elsewhere.url("/keys");
        let stub =
            Stub::start(move |_| Answer::raw(format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\n\r\n")));
        assert!(matches!(fetched(&stub).await, Err(FetchError::Status(302))));
        assert_eq!(elsewhere.requests(), 0, "no redirect is followed");
        for status in ["201 Created", "304 Not Modified", "404 Not Found", "500 Internal Server Error"] {
            let stub =
                Stub::start(move |_| Answer::raw(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")));
            assert!(matches!(fetched(&stub).await, Err(FetchError::Status(_))), "{status}");
        }
    }

    #[tokio::test]
    async fn the_size_is_limited_whatever_the_head_says() {
        let stub = Stub::start(|_| Answer::ok(&" ".repeat(KEY_SET_LIMIT)));
        assert_eq!(fetched(&stub).await.unwrap().len(), KEY_SET_LIMIT);
        let stub = Stub::start(|_| Answer::ok(&" ".repeat(KEY_SET_LIMIT + 1)));
        assert!(matches!(fetched(&stub).await, Err(FetchError::Size)));
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(KEY_SET_LIMIT * 2));
        let stub = Stub::start(move |_| Answer::raw(endless.clone()));
        assert!(matches!(fetched(&stub).await, Err(FetchError::Size)));
    }

    #[tokio::test]
    async fn the_time_is_limited() {
        for begun in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"] {
            let stub = Stub::start(move |_| Answer::raw(begun).held());
            let refused = fetched_within(&stub, SHORT).await;
            assert!(matches!(refused, Err(FetchError::Transport(_))), "{begun}");
            assert_eq!(stub.requests(), 1);
        }
    }

    #[test]
    fn urls_that_are_refused() {
        let refusal =
            |url: &str, allow_private| Fetcher::new(url, allow_private, SHORT).err().map(|e| e.to_string());
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "127.0.0.1.",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "169.254.169.254",
            "10.0.0.1",
            "[fd00::1]",
        ] {
            let text = refusal(&format!("https://{host}/keys"), false).unwrap();
            assert!(text.contains("no public address"), "{host}: {text}");
            assert_eq!(refusal(&format!("https://{host}/keys"), true), None, "{host}");
        }
        assert!(refusal("http://issuer.example/keys", false).unwrap().contains("https://"));
        assert!(refusal("file:///etc/passwd", true).unwrap().contains("https://"));
        assert!(refusal("https://a:b@issuer.example/", false).unwrap().contains("password"));
        assert!(refusal("https://a@issuer.example/", false).unwrap().contains("user"));
        assert!(refusal("keys", false).unwrap().contains("no URL"));
        assert_eq!(refusal("https://issuer.example/keys", false), None);
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_refused_before_anything_is_sent() {
        let stub = Stub::start(|_| Answer::ok("{}"));
        let url = stub.url("/keys").replace("http://127.0.0.1", "https://localhost");
        let error = Fetcher::new(&url, false, Patience::default()).unwrap().fetch().await.unwrap_err();
        assert!(error.to_string().contains("no public address"), "{error}");
        assert_eq!(stub.connections(), 0);
    }
}
