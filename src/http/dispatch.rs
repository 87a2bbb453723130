//! One request: parse, authenticate, authorise, then one match. No handler can forget to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tracing::Instrument;

use super::api::kept::KeptAnswers;
use super::api::plugins::Desk;
use super::api::{audit, blocks, openapi, organisations, tags, tokens, whoami};
use super::delivery::Conditions;
use super::error::{ApiError, Dialect};
use super::forward::Forwarder;
use super::origin::{Connection, Origin};
use super::rates::RateLimits;
use super::reply::{Body, Freshness, Reply};
use super::request_body::RequestBody;
use super::route::{Route, RouteKind};
use super::{access_log, blobs, health, lists, manifests, token_endpoint, uploads};
use crate::access::Requester;
use crate::callers::Callers;
use crate::registry::{Refusal, Registry, SessionOf};
use crate::telemetry::Telemetry;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What every request sees.
pub struct Server {
    pub registry: Arc<Registry>,
    pub callers: Callers,
    pub rates: RateLimits,
    pub telemetry: Telemetry,
    /// Answers about plugins that were given a moment ago.
    pub kept: KeptAnswers,
    /// Passes on what belongs to another node.
    pub forwarder: Forwarder,
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
    pub async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
    ) -> Response<Body> {
        let started = Instant::now();
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let (parts, body) = request.into_parts();
        let body = RequestBody::new(&parts, body);
        let line = (parts.method.clone(), parts.uri.clone());
        let came = || Origin {
            connection: Arc::clone(connection),
            request_id: format!("{}-{number:x}", self.request_prefix),
        };
        let (origin, parsed) = match self.forwarder.passed(&parts) {
            Ok(passed) => {
                let parsed = Route::parse(&parts.method, &parts.uri).map_err(ApiError::Route);
                (passed.unwrap_or_else(came), parsed)
            }
            Err(error) => (came(), Err(error)),
        };
        let kind = parsed.as_ref().map_or(RouteKind::Unknown, Route::kind);
        let is_v2 = parts.uri.path().starts_with("/v2/");
        let dialect = Dialect::of(parts.uri.path());
        let (id, address) = (origin.request_id.clone(), origin.address());
        let head = parts.method == Method::HEAD;

        let outcome = match parsed {
            Err(error) => Err(error),
            Ok(route) => match route.attempt() {
                None => self.guard(route, None, &parts, body, origin).await,
                Some(attempt) => {
                    let server = Arc::clone(&self);
                    let span = tracing::info_span!("request", request_id = id);
                    let task = async move { server.guard(route, Some(attempt), &parts, body, origin).await };
                    let task = tokio::spawn(task.instrument(span));
                    task.await.unwrap_or_else(|error| Err(ApiError::Panicked(error.to_string())))
                }
            },
        };
        let mut reply = match outcome {
            Ok(reply) => reply,
            Err(error) => {
                if let Some(fault) = error.fault() {
                    tracing::error!(request_id = id, %fault, "a request failed");
                }
                error.reply(&id, dialect)
            }
        };
        if head {
            reply.without_body();
        }
        sign(&mut reply, &id, is_v2);
        let duration = started.elapsed();
        self.telemetry.request(kind as usize, reply.status.as_u16(), duration);
        access_log::log(&line.0, &line.1, address, &id, &reply, duration);
        reply.into_response()
    }

    /// What takes in bytes is boxed, so that a pull does not carry the room for it.
    pub(super) async fn run(
        self: &Arc<Self>,
        route: Route,
        requester: &Requester,
        parts: &Parts,
        mut body: RequestBody,
    ) -> Result<Reply, ApiError> {
        let (registry, caller) = (&self.registry, &requester.caller);
        let headers = &parts.headers;
        let conditions = Conditions { headers, head: parts.method == Method::HEAD };
        let base = self.public_url.as_deref().map_or("", |url| url.trim_end_matches('/'));
        let desk = Desk { registry, caller, conditions: &conditions, kept: &self.kept, base };
        match route {
            Route::Base => {
                let mut reply = Reply::bytes(StatusCode::OK, "{}".into(), Freshness::Operation);
                reply.header("content-type", "application/json");
                Ok(reply)
            }
            Route::Token(query) => token_endpoint::issue(&self.callers, registry.policy(), caller, &query),
            Route::Catalog(query) => lists::repositories(registry, caller, &query).await,
            Route::GetImmutable { sha256 } => {
                let reply = blobs::get_immutable(registry, &conditions, caller, &sha256).await?;
                reply.ok_or_else(|| self.absent(caller, parts))
            }
            Route::GetBlob { repository, digest } => {
                blobs::get(registry, &conditions, &repository, &digest).await
            }
            Route::DeleteBlob { repository, digest } => {
                blobs::delete(registry, requester, &repository, &digest).await
            }
            Route::GetManifest { repository, reference } => {
                manifests::get(registry, &conditions, &repository, &reference).await
            }
            Route::PutManifest { repository, reference, tags } => {
                let put = manifests::put(registry, requester, repository, reference, tags, headers, body);
                Box::pin(put).await
            }
            Route::DeleteManifest { repository, reference } => {
                manifests::delete(registry, requester, &repository, &reference, headers).await
            }
            Route::ListTags { repository, query } => lists::tags(registry, &repository, &query).await,
            Route::TagHistory { repository, tag, query } => {
                lists::tag_history(registry, &repository, &tag, &query).await
            }
            Route::ListReferrers { repository, query } => {
                lists::referrers(registry, &repository, &query).await
            }
            Route::StartUpload { repository, start } => {
                Box::pin(uploads::start(registry, requester, &repository, start, headers, body)).await
            }
            Route::GetUpload { repository, id } => {
                let session = SessionOf { requester, repository: &repository, id };
                let got = uploads::get(registry, &session).await;
                Box::pin(self.or_passed_on(got, requester, parts, body)).await
            }
            Route::AppendUpload { repository, id } => {
                let session = SessionOf { requester, repository: &repository, id };
                let appended = Box::pin(uploads::append(registry, &session, headers, &mut body)).await;
                Box::pin(self.or_passed_on(appended, requester, parts, body)).await
            }
            Route::FinishUpload { repository, id, digest } => {
                let session = SessionOf { requester, repository: &repository, id };
                let finished =
                    Box::pin(uploads::finish(registry, &session, &digest, headers, &mut body)).await;
                Box::pin(self.or_passed_on(finished, requester, parts, body)).await
            }
            Route::CancelUpload { repository, id } => {
                let session = SessionOf { requester, repository: &repository, id };
                let cancelled = uploads::cancel(registry, &session).await;
                Box::pin(self.or_passed_on(cancelled, requester, parts, body)).await
            }
            Route::ListOrganisations(query) => {
                organisations::list(registry, self.own(caller, parts)?, &query).await
            }
            Route::CreateOrganisation => Box::pin(organisations::create(registry, requester, body)).await,
            Route::GetOrganisation { id } => organisations::get(registry, &id).await,
            Route::UpdateOrganisation { id } => {
                Box::pin(organisations::update(registry, requester, &id, body)).await
            }
            Route::DeleteOrganisation { id } => organisations::delete(registry, requester, &id).await,
            Route::ListTokens { catalog, page } => {
                tokens::list(registry, self.own(caller, parts)?, catalog.as_deref(), &page).await
            }
            Route::CreateToken => {
                Box::pin(tokens::create(registry, requester, self.own(caller, parts)?, body)).await
            }
            Route::RevokeToken { id } => {
                tokens::revoke(registry, requester, self.own(caller, parts)?, id).await
            }
            Route::WhoAmI => Ok(whoami::who_am_i(self.own(caller, parts)?)),
            Route::CanI { action, repository } => whoami::can_i(registry, caller, action, &repository).await,
            Route::Audit(query) => audit::stream(Arc::clone(registry), self.own(caller, parts)?, query).await,
            Route::WriteTags { catalog } => Box::pin(tags::write(registry, requester, &catalog, body)).await,
            Route::GetTagRules { catalog } => tags::rules(registry, &catalog).await,
            Route::SetTagRules { catalog } => {
                Box::pin(tags::set_rules(registry, requester, &catalog, body)).await
            }
            Route::ListPlugins { view, query } => Box::pin(desk.list(&view, &query)).await,
            Route::PluginFacets { view, query } => Box::pin(desk.facets(&view, &query)).await,
            Route::UploadPlugin { view, query } => {
                Box::pin(desk.upload(requester, &view, query, headers, body)).await
            }
            Route::GetPlugin { view, plugin } => Box::pin(desk.plugin(&view, &plugin)).await,
            Route::ChangePlugin { view, id } => Box::pin(desk.change(requester, &view, id, body)).await,
            Route::DisablePlugin { view, id } => Box::pin(desk.disable(requester, &view, id)).await,
            Route::ListVersions { view, pid, source, query } => {
                Box::pin(desk.versions(&view, &pid, source, &query)).await
            }
            Route::GetVersion { view, version } => Box::pin(desk.one_version(&view, &version)).await,
            Route::GetSettingsSchema { view, query } => Box::pin(desk.settings_schema(&view, &query)).await,
            Route::ListFiles { view, version } => Box::pin(desk.files(&view, &version)).await,
            Route::GetFile { view, version, path } => Box::pin(desk.file(&view, &version, &path)).await,
            Route::GetReadme { view, version } => Box::pin(desk.readme(&view, &version)).await,
            Route::DiffVersions { view, query } => Box::pin(desk.diff(&view, &query)).await,
            Route::ListEnablements { organisation } => Box::pin(desk.enablements(&organisation)).await,
            Route::GetEnablement { organisation, source, pid } => {
                Box::pin(desk.enablement(&organisation, source, &pid)).await
            }
            Route::SetEnablement { organisation, source, pid } => {
                Box::pin(desk.enable(requester, &organisation, source, &pid, body)).await
            }
            Route::DeleteEnablement { organisation, source, pid } => {
                Box::pin(desk.no_longer_enable(requester, &organisation, source, &pid)).await
            }
            Route::GetPlan { organisation } => Box::pin(desk.plan(&organisation)).await,
            Route::ListBlocks { after, limit } => blocks::list(registry, after, limit).await,
            Route::SetBlock { digest } => Box::pin(blocks::set(registry, requester, digest, body)).await,
            Route::DeleteBlock { digest } => blocks::delete(registry, requester, &digest).await,
            Route::OpenApi => Ok(openapi::get(&desk)),
            Route::Live => Ok(health::live()),
            Route::Ready => {
                let stopping = self.stopping.load(Ordering::Relaxed);
                health::ready(registry, stopping, headers).await
            }
            Route::Metrics => Ok(health::metrics(&self.telemetry)),
            Route::ProveNode { challenge } => Ok(self.forwarder.proof(&challenge)),
        }
    }
}

impl Server {
    /// What is refused only because another node has the session's bytes is asked of that node.
    async fn or_passed_on(
        &self,
        outcome: Result<Reply, ApiError>,
        requester: &Requester,
        parts: &Parts,
        body: RequestBody,
    ) -> Result<Reply, ApiError> {
        match outcome {
            Err(ApiError::Refused(Refusal::UploadElsewhere(home))) => {
                self.forwarder.pass_on(&home, parts, requester, body).await
            }
            outcome => outcome,
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
