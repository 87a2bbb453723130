//! URLs with a signature in them, the same ones for a while.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::PresigningConfig;

use super::bucket::{Bucket, OCTET_STREAM};
use super::counters::Operation;
use super::failure::Failure;
use crate::blob::far::Presigned;
use crate::digest::Sha256;

/// A URL is not given out when the credentials behind it end sooner than this.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);

impl Bucket {
    /// A URL for a GET of a blob; a HEAD has another signature. All who ask within a window, on whatever node, get the
    /// same one: it is signed with the time at which the window began, by the server's clock, and lives for two
    /// windows.
    ///
    /// Temporary credentials that end soon give none, as the URL ends with them.
    pub async fn presign(&self, digest: &Sha256) -> Result<Option<Presigned>, Failure> {
        let window = self.tuning.presign_window;
        let begun = beginning(self.clock.now(), window);
        let config = PresigningConfig::builder().start_time(begun).expires_in(2 * window).build();
        let config = config.map_err(|error| Failure::Other(format!("presign: {error}")))?;
        let request = self.client.get_object().bucket(&self.name).key(self.key(digest));
        let signed = request.response_content_type(OCTET_STREAM).presigned(config).await;
        let signed = signed.map_err(|error| Failure::of(Operation::Get, &error))?;
        let signature_ends = self.clock.to_local(begun + 2 * window);
        let expires = self.credentials.expiry().map_or(signature_ends, |expiry| expiry.min(signature_ends));
        let lives = expires.duration_since(SystemTime::now()).is_ok_and(|life| life >= SHORTEST_LIFE);
        Ok(lives.then(|| Presigned { url: signed.uri().to_owned(), expires }))
    }
}

/// When the window around a time began.
fn beginning(time: SystemTime, window: Duration) -> SystemTime {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let begun = since_1970 - since_1970 % window.as_secs().max(1);
    SystemTime::UNIX_EPOCH + Duration::from_secs(begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_one_window_have_one_beginning() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let window = Duration::from_secs(600);
        assert_eq!(beginning(at(1_200), window), at(1_200));
        assert_eq!(beginning(at(1_799), window), at(1_200));
        assert_eq!(beginning(at(1_800), window), at(1_800));
    }
}
