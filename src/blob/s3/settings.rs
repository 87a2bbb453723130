//! Where the bucket is, and how patient calls are with it.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// Which bucket, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    pub bucket: String,
    /// `http(s)://host[:port]`; `None`: AWS.
    pub endpoint: Option<String>,
    /// `None`: the one of the AWS configuration, else `us-east-1`.
    pub region: Option<String>,
    /// What all keys begin with, as it is: a slash at its end is part of it.
    pub prefix: String,
    /// `None`: buckets are in the path when there is an endpoint, and in the host name at AWS.
    pub path_style: Option<bool>,
    /// Send the SHA-256 of each body in `x-amz-checksum-sha256`, as far as the server takes it.
    pub checksums: bool,
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// How long an attempt may rest: while its body goes out, until the answer begins, between two pieces of it.
    pub stall_timeout: Duration,
}

impl S3Settings {
    pub fn path_style(&self) -> bool {
        self.path_style.unwrap_or(self.endpoint.is_some())
    }
}

/// What has one right value in service, and other ones in tests.
#[derive(Debug, Clone)]
pub struct S3Tuning {
    /// Larger blobs are sent in parts. S3 takes 5 GiB at once.
    pub largest_single_put: u64,
    /// The size of a part, unless the blob would have more than 10,000 of them.
    pub part_size: u64,
    /// Parts of one blob that are under way at a time.
    pub parts_at_once: usize,
    /// How often a call is tried, the first time included.
    pub attempts: u32,
    /// Tokens that all retries share. A retry takes 5 of them when the server says so, 10 when it said nothing; a call
    /// that succeeds brings 1, and so does every second.
    pub retry_tokens: usize,
    /// Calls that fail in a row until the breaker opens.
    pub breaker_failures: u32,
    /// How long the breaker rests.
    pub breaker_rest: Duration,
    /// A body that is slower than this many bytes in a second is taken for one that does not come.
    pub slowest: u64,
    /// How often a bucket that could not be probed is probed again.
    pub probe_every: Duration,
    /// How long the credentials and the first probe may take; a start waits for them.
    pub start_timeout: Duration,
    /// How long a presigned URL stays the same.
    pub presign_window: Duration,
}

impl Default for S3Tuning {
    fn default() -> Self {
        Self {
            largest_single_put: 5 * 1024 * MIB,
            part_size: 64 * MIB,
            parts_at_once: 4,
            attempts: 3,
            retry_tokens: 100,
            breaker_failures: 5,
            breaker_rest: Duration::from_secs(5),
            slowest: 256 * 1024,
            probe_every: Duration::from_secs(5),
            start_timeout: Duration::from_secs(10),
            presign_window: Duration::from_secs(600),
        }
    }
}

impl S3Tuning {
    /// The bound on a call, its retries included, that moves this many bytes.
    pub fn patience(&self, stall: Duration, bytes: u64) -> Duration {
        stall * self.attempts + Duration::from_secs(bytes / self.slowest.max(1))
    }

    /// The size of the parts of a blob.
    pub fn part_size(&self, size: u64) -> u64 {
        const MOST_PARTS: u64 = 10_000;
        self.part_size.max(size.div_ceil(MOST_PARTS)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_has_at_most_ten_thousand_parts() {
        let tuning = S3Tuning::default();
        assert_eq!(tuning.part_size(6 * 1024 * MIB), 64 * MIB);
        let largest = 5 * 1024 * 1024 * MIB;
        assert_eq!(largest.div_ceil(tuning.part_size(largest)), 10_000);
    }
}
