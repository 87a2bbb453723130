//! One request: parse, authenticate, authorise, then one match. No handler can forget to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tracing::Instrument;

use super::authenticate::{Credentials, challenge};
use super::delivery::Conditions;
use super::error::ApiError;
use super::reply::{Body, Freshness, Reply};
use super::request_body::RequestBody;
use super::route::{Need, Route, RouteKind};
use super::{blobs, health, lists, manifests, token_endpoint, uploads};
use crate::access::{Caller, ReadScope, Verdict};
use crate::registry::{Registry, SessionOf};
use crate::telemetry::Telemetry;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What every request sees.
pub struct Server {
    pub registry: Registry,
    pub credentials: Credentials,
    pub telemetry: Telemetry,
    pub public_url: Option<String>,
    pub read_only: bool,
    /// Set once a stop was asked for.
    pub stopping: AtomicBool,
    /// Request ids are `<start of the server>-<number>`.
    pub request_prefix: String,
    pub requests: AtomicU64,
}

impl Server {
    /// Answers one request. A request that writes goes on when its client goes away: it is absent or done.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number:x}", self.request_prefix);
        let (parts, body) = request.into_parts();
        let body = RequestBody::new(&parts, body);
        let line = (parts.method.clone(), parts.uri.clone());
        let parsed = Route::parse(&parts.method, &parts.uri);
        let kind = parsed.as_ref().map_or(RouteKind::Unknown, Route::kind);
        let is_v2 = parts.uri.path().starts_with("/v2/");
        let head = parts.method == Method::HEAD;

        let outcome = match parsed {
            Err(error) => Err(ApiError::Route(error)),
            Ok(route) if route.writes() => {
                let server = Arc::clone(&self);
                let span = tracing::info_span!("request", request_id = id);
                let task = async move { server.guard(route, &parts, body).await };
                let task = tokio::spawn(task.instrument(span));
                task.await.unwrap_or_else(|error| Err(ApiError::Panicked(error.to_string())))
            }
            Ok(route) => self.guard(route, &parts, body).await,
        };
        let mut reply = match outcome {
            Ok(reply) => reply,
            Err(error) => {
                if let Some(fault) = error.fault() {
                    tracing::error!(request_id = id, %fault, "a request failed");
                }
                error.reply(&id)
            }
        };
        if head {
            reply.without_body();
        }
        sign(&mut reply, &id, is_v2);
        let duration = started.elapsed();
        self.telemetry.request(kind as usize, reply.status.as_u16(), duration);
        log(&line.0, &line.1, &id, &reply, duration);
        reply.into_response()
    }

    /// Authenticates and authorises, and only then runs the route.
    async fn guard(&self, route: Route, parts: &Parts, body: RequestBody) -> Result<Reply, ApiError> {
        let need = route.need();
        let unauthorized = |message| self.unauthorized(parts, need, message);
        let Some(caller) = self.credentials.authenticate(&parts.headers) else {
            return Err(unauthorized("this credential is not known here, or no longer"));
        };
        let verdict = match need {
            Need::Nothing => Verdict::Allowed,
            Need::Credential | Need::Listing if parts.headers.contains_key("authorization") => {
                Verdict::Allowed
            }
            Need::Credential | Need::Listing => Verdict::Unauthenticated,
            Need::Repository(action, repository) => self.registry.policy().may(&caller, action, repository),
        };
        match verdict {
            Verdict::Allowed => {}
            Verdict::Unauthenticated => return Err(unauthorized("this needs a credential")),
            Verdict::NarrowToken => return Err(unauthorized("the token was not made for this scope")),
            Verdict::Denied => return Err(ApiError::Denied),
        }
        if self.read_only && route.writes() {
            return Err(ApiError::ReadOnly);
        }
        self.run(route, caller, parts, body).await
    }

    fn unauthorized(&self, parts: &Parts, need: Need<'_>, message: &'static str) -> ApiError {
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        let challenge = challenge(self.public_url.as_deref(), &parts.headers, authority, need);
        ApiError::Unauthorized { challenge, message }
    }

    /// The answer for bytes that the caller can't reach, whether or not they exist. Who may read everything
    /// learns what is not there; a stranger gets the same answer either way (P3).
    fn absent(&self, caller: &Caller, parts: &Parts) -> ApiError {
        match self.registry.policy().readable(caller) {
            ReadScope::Everything => ApiError::BlobUnknown,
            ReadScope::Only { .. } if caller.is_anonymous() => {
                let message = "nothing by this digest can be read without a credential";
                self.unauthorized(parts, Need::Nothing, message)
            }
            ReadScope::Only { .. } => ApiError::Denied,
        }
    }

    /// What takes in bytes is boxed, so that a pull does not carry the room for it.
    async fn run(
        &self,
        route: Route,
        caller: Caller,
        parts: &Parts,
        body: RequestBody,
    ) -> Result<Reply, ApiError> {
        let registry = &self.registry;
        let headers = &parts.headers;
        let conditions = Conditions { headers, head: parts.method == Method::HEAD };
        match route {
            Route::Base => {
                let mut reply = Reply::bytes(StatusCode::OK, "{}".into(), Freshness::Operation);
                reply.header("content-type", "application/json");
                Ok(reply)
            }
            Route::Token(query) => {
                token_endpoint::issue(&self.credentials, registry.policy(), &caller, &query)
            }
            Route::Catalog(query) => lists::repositories(registry, &caller, &query).await,
            Route::GetImmutable { sha256 } => {
                let reply = blobs::get_immutable(registry, &conditions, &caller, &sha256).await?;
                reply.ok_or_else(|| self.absent(&caller, parts))
            }
            Route::GetBlob { repository, digest } => {
                blobs::get(registry, &conditions, &repository, &digest).await
            }
            Route::DeleteBlob { repository, digest } => {
                blobs::delete(registry, &caller, &repository, &digest).await
            }
            Route::GetManifest { repository, reference } => {
                manifests::get(registry, &conditions, &repository, &reference).await
            }
            Route::PutManifest { repository, reference, tags } => {
                Box::pin(manifests::put(registry, &caller, repository, reference, tags, headers, body)).await
            }
            Route::DeleteManifest { repository, reference } => {
                manifests::delete(registry, &caller, &repository, &reference, headers).await
            }
            Route::ListTags { repository, query } => lists::tags(registry, &repository, &query).await,
            Route::TagHistory { repository, tag, query } => {
                lists::tag_history(registry, &repository, &tag, &query).await
            }
            Route::ListReferrers { repository, query } => {
                lists::referrers(registry, &repository, &query).await
            }
            Route::StartUpload { repository, start } => {
                Box::pin(uploads::start(registry, &caller, &repository, start, headers, body)).await
            }
            Route::GetUpload { repository, id } => {
                let session = SessionOf { caller: &caller, repository: &repository, id };
                uploads::get(registry, &session).await
            }
            Route::AppendUpload { repository, id } => {
                let session = SessionOf { caller: &caller, repository: &repository, id };
                Box::pin(uploads::append(registry, &session, headers, body)).await
            }
            Route::FinishUpload { repository, id, digest } => {
                let session = SessionOf { caller: &caller, repository: &repository, id };
                Box::pin(uploads::finish(registry, &session, &digest, headers, body)).await
            }
            Route::CancelUpload { repository, id } => {
                let session = SessionOf { caller: &caller, repository: &repository, id };
                uploads::cancel(registry, &session).await
            }
            Route::Live => Ok(health::live()),
            Route::Ready => health::ready(registry, self.stopping.load(Ordering::Relaxed)).await,
            Route::Metrics => Ok(health::metrics(&self.telemetry)),
        }
    }
}

/// Headers that every answer has.
fn sign(reply: &mut Reply, id: &str, is_v2: bool) {
    reply.header(&REQUEST_ID, id);
    reply.headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");
    reply.headers.insert(CONTENT_SECURITY_POLICY, policy);
    if is_v2 {
        reply.headers.insert(&API_VERSION, HeaderValue::from_static("registry/2.0"));
    }
}

/// Reads that succeed are many, and told at debug level only. The query is left out: it may hold anything.
fn log(method: &Method, uri: &http::Uri, id: &str, reply: &Reply, duration: Duration) {
    let status = reply.status.as_u16();
    let milliseconds = duration.as_secs_f64() * 1000.0;
    let path = uri.path();
    if (method == Method::GET || method == Method::HEAD) && status < 400 {
        tracing::debug!(target: "quire::access", %method, path, status, milliseconds, request_id = id, "answered");
    } else {
        tracing::info!(target: "quire::access", %method, path, status, milliseconds, request_id = id, "answered");
    }
}
