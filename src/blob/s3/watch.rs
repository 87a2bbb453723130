//! What the SDK's HTTP client lacks: requests that make no progress are given up, and the server's clock is known.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::config::{ConfigBag, HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::time::Instant;

/// How far the server's clock is ahead of this one, as its last answer told.
#[derive(Debug, Default)]
pub struct ServerClock(AtomicI64);

impl ServerClock {
    /// The time by the server's clock.
    pub fn now(&self) -> SystemTime {
        shift(SystemTime::now(), self.0.load(Ordering::Relaxed))
    }

    /// A time by the server's clock as this one shows it.
    pub fn to_local(&self, time: SystemTime) -> SystemTime {
        shift(time, -self.0.load(Ordering::Relaxed))
    }

    fn learn(&self, response: &HttpResponse) {
        let date = response.headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        let Some(date) = date.and_then(|date| SystemTime::try_from(date).ok()) else { return };
        let ahead = match date.duration_since(SystemTime::now()) {
            Ok(ahead) => seconds(ahead),
            Err(behind) => -seconds(behind.duration()),
        };
        self.0.store(ahead, Ordering::Relaxed);
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn shift(time: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    let shifted = if seconds < 0 { time.checked_sub(by) } else { time.checked_add(by) };
    shifted.unwrap_or(time)
}

/// An HTTP client around another one.
///
/// The SDK's own time-outs are of whole attempts, and an attempt may have to move gigabytes. Here an attempt may take
/// as long as it likes, but not rest: neither while its body goes out nor while the answer is waited for. The error is
/// one that the SDK knows and repeats.
#[derive(Debug)]
pub struct WatchedClient {
    pub inner: SharedHttpClient,
    /// How long an attempt may rest.
    pub stall: Duration,
    pub clock: Arc<ServerClock>,
}

impl HttpClient for WatchedClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(WatchedConnector {
            inner: self.inner.http_connector(settings, components),
            stall: self.stall,
            clock: Arc::clone(&self.clock),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_final_config(components, config)
    }
}

#[derive(Debug)]
struct WatchedConnector {
    inner: SharedHttpConnector,
    stall: Duration,
    clock: Arc<ServerClock>,
}

impl HttpConnector for WatchedConnector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let progress = Progress::start();
        // A body in memory is small; the SDK looks at its bytes.
        if request.body().bytes().is_none() {
            let body = std::mem::replace(request.body_mut(), SdkBody::taken());
            *request.body_mut() =
                SdkBody::from_body_1_x(WatchedBody { body: Box::pin(body), progress: progress.clone() });
        }
        let answer = self.inner.call(request);
        let (stall, clock) = (self.stall, Arc::clone(&self.clock));
        HttpConnectorFuture::new(async move {
            let response = progress.unless_stalled(stall, answer).await?;
            clock.learn(&response);
            Ok(response)
        })
    }
}

#[derive(Debug, Error)]
#[error("no progress for {0:?}")]
struct Stalled(Duration);

/// When bytes of a request moved last, in milliseconds since it began.
#[derive(Clone)]
struct Progress {
    begun: Instant,
    last: Arc<AtomicU64>,
}

impl Progress {
    fn start() -> Self {
        Self { begun: Instant::now(), last: Arc::default() }
    }

    fn moved(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    async fn unless_stalled(
        &self,
        stall: Duration,
        mut answer: HttpConnectorFuture,
    ) -> Result<HttpResponse, ConnectorError> {
        loop {
            let deadline = self.last() + stall;
            match tokio::time::timeout_at(deadline, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) if self.last() + stall > deadline => {}
                Err(_) => return Err(ConnectorError::timeout(Stalled(stall).into())),
            }
        }
    }
}

/// A body that tells when its bytes are taken.
struct WatchedBody {
    body: Pin<Box<SdkBody>>,
    progress: Progress,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.body.as_mut().poll_frame(context));
        self.progress.moved();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
