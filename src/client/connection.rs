//! One registry over HTTP: requests, answers and lists.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, ClientBuilder, Method, RequestBuilder, Response, Url};
use serde_json::Value;

use super::error::{ClientError, Problem};
use super::list::List;
use super::pages::Pages;
use super::registry_url::RegistryUrl;
use super::secret::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a request as a whole, and for the silence between two parts of a stream.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer that is held in memory.
const ANSWER_LIMIT: usize = 32 << 20;
const USER_AGENT: &str = concat!("quire/", env!("CARGO_PKG_VERSION"));

/// A registry with the credential that it is asked with.
pub struct Connection {
    http: reqwest::Client,
    registry: RegistryUrl,
    authorization: Option<HeaderValue>,
}

impl Connection {
    pub fn new(registry: RegistryUrl, credential: Option<&Secret>) -> Result<Self, ClientError> {
        let authorization = credential.map(|secret| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.expose()))
                .map_err(|_| ClientError::Credential)?;
            value.set_sensitive(true);
            Ok::<_, ClientError>(value)
        });
        let http = build(&registry, |http| http.read_timeout(TIMEOUT))?;
        Ok(Self { http, registry, authorization: authorization.transpose()? })
    }

    /// The same for bodies that may take long to send, as long as they get on.
    pub(super) fn for_long_bodies(&self) -> Result<Self, ClientError> {
        let http = build(&self.registry, |http| http.tcp_user_timeout(TIMEOUT))?;
        Ok(Self { http, registry: self.registry.clone(), authorization: self.authorization.clone() })
    }

    pub fn registry(&self) -> &RegistryUrl {
        &self.registry
    }

    pub fn is_anonymous(&self) -> bool {
        self.authorization.is_none()
    }

    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, ClientError> {
        let request = self.request(Method::GET, self.registry.at(path, query)).timeout(TIMEOUT);
        self.json(self.send(request).await?).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.json(self.send_json(Method::POST, path, body).await?).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.json(self.send_json(Method::PATCH, path, body).await?).await
    }

    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, self.registry.at(path, &[])).timeout(TIMEOUT);
        self.send(request).await.map(drop)
    }

    /// Every item of a list, over all of its pages.
    pub async fn list(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<Value>, ClientError> {
        let mut list = List::of(self, path, query);
        let mut items = Vec::new();
        while let Some(more) = list.next_page().await? {
            items.extend(more);
        }
        Ok(items)
    }

    /// One page of a list, and where the next one is.
    pub(super) async fn page(
        &self,
        url: Url,
        pages: &mut Pages,
    ) -> Result<(Vec<Value>, Option<Url>), ClientError> {
        let answer = self.send(self.request(Method::GET, url.clone()).timeout(TIMEOUT)).await?;
        let next = pages.next(&url, answer.headers())?;
        match self.json(answer).await? {
            Value::Array(items) => Ok((items, next)),
            _ => Err(self.unexpected("its answer is no list")),
        }
    }

    /// As [`Connection::post`], for what is put under a name of the client's.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.json(self.send_json(Method::PUT, path, body).await?).await
    }

    pub(super) async fn open(&self, url: Url) -> Result<Response, ClientError> {
        self.send(self.request(Method::GET, url)).await
    }

    /// Sends what is not JSON. A refusal is a problem.
    pub(super) async fn send_body(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: impl Into<Body>,
        timeout: Duration,
    ) -> Result<Response, ClientError> {
        self.send(self.request(method, url).timeout(timeout).headers(headers).body(body)).await
    }

    /// Whether something is there.
    pub(super) async fn has(&self, url: Url) -> Result<bool, ClientError> {
        match self.send(self.request(Method::HEAD, url).timeout(TIMEOUT)).await {
            Ok(_) => Ok(true),
            Err(ClientError::Problem(problem)) if problem.status == 404 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A place that an answer named. The credential is for the server that it came from.
    pub(super) fn place(&self, named: &str) -> Result<Url, ClientError> {
        let base = self.registry.at("/", &[]);
        let url = base.join(named).ok().filter(|url| url.origin() == base.origin());
        url.ok_or_else(|| self.unexpected("it sends to another server, which is not followed"))
    }

    pub(super) fn unexpected(&self, reason: impl Into<String>) -> ClientError {
        ClientError::Unexpected { url: self.registry.to_string(), reason: reason.into() }
    }

    pub(super) fn broke_off(&self, error: &reqwest::Error) -> ClientError {
        unreachable(&self.registry.to_string(), error)
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url).header(ACCEPT, "application/json, application/*;q=0.9");
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }

    async fn send_json(&self, method: Method, path: &str, body: &Value) -> Result<Response, ClientError> {
        let request = self.request(method, self.registry.at(path, &[])).timeout(TIMEOUT);
        self.send(request.header(CONTENT_TYPE, "application/json").body(body.to_string())).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let answer = request.send().await.map_err(|error| self.broke_off(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        if status.is_redirection() {
            // The credential is for the server that was named.
            let place = answer.headers().get(LOCATION).and_then(|place| place.to_str().ok());
            let place = place.map(|place| format!(" to {place}")).unwrap_or_default();
            return Err(self.unexpected(format!("it redirects{place}, which is not followed")));
        }
        let body = self.body(answer).await?;
        Err(ClientError::Problem(Box::new(Problem::of(status, &body))))
    }

    async fn json(&self, answer: Response) -> Result<Value, ClientError> {
        let body = self.body(answer).await?;
        serde_json::from_slice(&body).map_err(|_| self.unexpected("its answer is no JSON"))
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| self.broke_off(&error))? {
            if body.len() + part.len() > ANSWER_LIMIT {
                return Err(self.unexpected("its answer is too long"));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }
}

fn build(
    registry: &RegistryUrl,
    more: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<reqwest::Client, ClientError> {
    let mut http = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT);
    if !registry.is_encrypted() {
        // The certificates of the system would be looked for, and may not be there.
        http = http.tls_certs_only([]);
    }
    if registry.is_loopback() {
        http = http.no_proxy();
    }
    more(http).build().map_err(|error| unreachable(&registry.to_string(), &error))
}

/// The innermost cause says what happened; what stands around it says only that a request was sent.
fn unreachable(url: &str, error: &reqwest::Error) -> ClientError {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let reason = if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
    ClientError::Unreachable { url: url.to_owned(), reason }
}
