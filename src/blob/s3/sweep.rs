//! Cleaning up what processes left in the bucket that ended in the middle of something.

use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;

use super::bucket::Bucket;
use super::failure::Failure;

/// Nothing that is younger is touched: another node may be at it.
const LEFT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

impl Bucket {
    /// Drops uploads in parts and probes that began more than a day ago, and returns how many. Of more than a
    /// thousand the rest goes the next time.
    pub async fn sweep(&self) -> Result<usize, Failure> {
        let limit = self.clock.now() - LEFT_FOR;
        let old = |begun: Option<&DateTime>| {
            let begun = begun.and_then(|begun| SystemTime::try_from(*begun).ok());
            begun.is_some_and(|begun| begun < limit)
        };
        let mut dropped = 0;
        for upload in self.list_uploads().await? {
            if let (true, Some(key), Some(id)) = (old(upload.initiated()), upload.key(), upload.upload_id()) {
                self.abort_upload(key, id).await?;
                dropped += 1;
            }
        }
        let (probes, _) = self.list(&self.probes(), "", 1000).await?;
        for probe in probes {
            if let (true, Some(key)) = (old(probe.last_modified()), probe.key()) {
                self.delete(key).await?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}
