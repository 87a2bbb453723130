//! The SDK's client, set up: retries with a budget, no checksums of its own, an HTTP client that is watched.

use std::sync::Arc;
use std::time::Duration;

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::{
    BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, ConfigBag, Intercept, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, RuntimeComponents, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use metrics::Counter;

use super::credentials::KnownCredentials;
use super::settings::{S3Settings, S3Tuning};
use super::watch::{ServerClock, WatchedClient};
use crate::digest::Sha256;

/// Waiting times before retries are drawn from nothing up to this, which doubles.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// A client with the store's manners.
///
/// The SDK's own retries are used: they wind bodies back, learn the server's clock, know which errors pass, wait with
/// full jitter and take from a budget. The partition makes that budget the store's own.
pub fn client(
    settings: &S3Settings,
    tuning: &S3Tuning,
    region: Region,
    credentials: KnownCredentials,
    clock: Arc<ServerClock>,
    retries: Counter,
) -> Client {
    let retry = RetryConfig::standard()
        .with_max_attempts(tuning.attempts)
        .with_initial_backoff(FIRST_BACKOFF)
        .with_max_backoff(LONGEST_BACKOFF);
    let tokens = TokenBucket::builder().capacity(tuning.retry_tokens).refill_rate(1.0).build();
    let http = WatchedClient { inner: http_client(), stall: settings.stall_timeout, clock };
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region)
        .credentials_provider(credentials)
        .force_path_style(settings.path_style())
        .retry_config(retry)
        .retry_partition(RetryPartition::custom("quire").token_bucket(tokens).build())
        .timeout_config(TimeoutConfig::builder().connect_timeout(settings.connect_timeout).build())
        .http_client(http)
        // Its rests are watched, whole bodies have a bound, and the check that the SDK has looks at neither.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Digests are known before anything is sent, and who reads computes them again.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(CountRetries(retries));
    config.set_endpoint_url(settings.endpoint.clone());
    Client::from_conf(config.build())
}

/// The one that the SDK makes by itself, which has to be named to be watched.
fn http_client() -> aws_sdk_s3::config::SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut builder = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder.set_proxy_config(Some(ProxyConfig::from_env()));
        builder.build()
    })
}

#[derive(Debug)]
struct CountRetries(Counter);

impl Intercept for CountRetries {
    fn name(&self) -> &'static str {
        "CountRetries"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if config.load::<RequestAttempts>().is_some_and(|attempts| attempts.attempts() > 1) {
            self.0.increment(1);
        }
        Ok(())
    }
}

/// Signs a body by its digest, which is known. Without it a body that is streamed is not signed at all.
#[derive(Debug)]
pub struct SignedBody(pub Sha256);

impl Intercept for SignedBody {
    fn name(&self) -> &'static str {
        "SignedBody"
    }

    fn modify_before_signing(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.0.hex()));
        Ok(())
    }
}
