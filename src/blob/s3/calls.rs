//! One way to call S3: with the breaker in front, a bound on the time, and the outcome sorted and counted.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::breaker::Breaker;
use super::counters::{Operation, Outcome, S3Counters};
use super::failure::Failure;

/// What all calls of one store share.
pub struct Calls {
    pub breaker: Breaker,
    pub counters: S3Counters,
}

impl Calls {
    /// Makes a call, repetitions by the SDK included. Only silence counts against the breaker: a server that refuses
    /// is there.
    pub async fn run<T, E>(
        &self,
        operation: Operation,
        patience: Duration,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let Some(pass) = self.breaker.admit() else {
            self.counters.count(operation, Outcome::NotSent);
            return Err(Failure::NotSent);
        };
        let result = match tokio::time::timeout(patience, call).await {
            Ok(result) => result.map_err(|error| Failure::of(operation, &error)),
            Err(_) => {
                Err(Failure::Unavailable(format!("{}: no result within {patience:?}", operation.label())))
            }
        };
        match &result {
            Err(Failure::Unavailable(_)) => pass.failed(),
            Ok(_) | Err(_) => pass.answered(),
        }
        self.counters.count(operation, result.as_ref().map_or_else(Failure::outcome, |_| Outcome::Done));
        result
    }
}
