//! Trying again: which failures pass, and how long to wait before the next attempt.

use std::time::Duration;

use super::error::ClientError;
use super::push::{Event, Watch};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Failures in a row, without getting on in between, after which the last one counts. Together about 36 s: a
/// registry that is restarted is back by then.
const ATTEMPTS: u32 = 9;

/// Whether the same request may go through a moment later.
pub fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Problem(problem) => match problem.status {
            // Another request writes to the session, or the offset is another one.
            408 | 409 | 416 | 429 => true,
            // The body broke off on its way.
            400 => problem.code == "BLOB_UPLOAD_INVALID",
            404 => problem.code == "BLOB_UPLOAD_UNKNOWN",
            status => status >= 500,
        },
        _ => false,
    }
}

/// Failures in a row.
#[derive(Default)]
pub struct Patience(u32);

impl Patience {
    /// Something got on.
    pub fn restore(&mut self) {
        self.0 = 0;
    }

    /// Waits, unless the failure is final or there were too many.
    pub async fn bear(&mut self, error: ClientError, watch: &Watch) -> Result<(), ClientError> {
        self.0 += 1;
        let pause = pause(self.0).filter(|_| passes(&error));
        let Some(pause) = pause else { return Err(error) };
        watch(Event::Pausing(&error));
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// The pause after so many failures in a row.
fn pause(failures: u32) -> Option<Duration> {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    (failures < ATTEMPTS).then(|| FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Problem;

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<_> = (1..=ATTEMPTS).map_while(pause).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    }

    #[test]
    fn what_a_moment_does_not_change_is_final() {
        let problem = |status: u16, code: &str| {
            let body = serde_json::json!({ "errors": [{ "code": code, "message": "x" }] });
            let status = reqwest::StatusCode::from_u16(status).unwrap();
            ClientError::Problem(Box::new(Problem::of(status, body.to_string().as_bytes())))
        };
        for (status, code, expected) in [
            (400, "BLOB_UPLOAD_INVALID", true),
            (400, "DIGEST_INVALID", false),
            (401, "UNAUTHORIZED", false),
            (403, "DENIED", false),
            (404, "BLOB_UPLOAD_UNKNOWN", true),
            (404, "NAME_UNKNOWN", false),
            (409, "BLOB_UPLOAD_INVALID", true),
            (413, "SIZE_INVALID", false),
            (416, "BLOB_UPLOAD_INVALID", true),
            (429, "TOOMANYREQUESTS", true),
            (500, "INTERNAL_ERROR", true),
            (503, "UNAVAILABLE", true),
        ] {
            assert_eq!(passes(&problem(status, code)), expected, "{status} {code}");
        }
        assert!(passes(&ClientError::Unreachable { url: String::new(), reason: String::new() }));
        assert!(!passes(&ClientError::Credential));
    }
}
