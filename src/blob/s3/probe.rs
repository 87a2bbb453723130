//! The probe: what a bucket and its server can do, tried on an object of a few bytes before any blob depends on it.

use std::fmt;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use uuid::Uuid;

use super::bucket::{Bucket, Payload};
use super::failure::Failure;
use crate::digest::Sha256;

/// What the probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Usable(Findings),
    /// No answer; it says nothing about the bucket.
    Unreachable(String),
    /// The credentials are wrong, or may not do what is needed.
    Refused(String),
    NoBucket(String),
    /// The server answers, and cannot be used.
    Unfit(String),
}

/// How a server treats what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    pub checksums: Checksums,
    pub conditions: Conditions,
    /// Why objects cannot be removed, if they cannot.
    pub removal: Result<(), String>,
}

/// How a server treats `x-amz-checksum-sha256`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksums {
    /// Bytes with another checksum are refused.
    Compared,
    Ignored,
    /// The setting is off.
    NotSent,
    /// Refused, so that they are not sent.
    Refused(String),
}

/// How a server treats `If-None-Match: *`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conditions {
    Honoured,
    Ignored,
    /// Refused, so that they are not sent.
    Refused(String),
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.checksums {
            Checksums::Compared => f.write_str("checksums are compared")?,
            Checksums::Ignored => f.write_str("checksums are ignored")?,
            Checksums::NotSent => f.write_str("checksums are not sent")?,
            Checksums::Refused(why) => write!(f, "checksums are refused and not sent ({why})")?,
        }
        match &self.conditions {
            Conditions::Honoured => f.write_str(", conditions are honoured")?,
            Conditions::Ignored => f.write_str(", conditions are ignored")?,
            Conditions::Refused(why) => write!(f, ", conditions are refused and not sent ({why})")?,
        }
        match &self.removal {
            Ok(()) => Ok(()),
            Err(why) => write!(f, ", objects cannot be removed ({why})"),
        }
    }
}

impl From<Failure> for Verdict {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(why) => Self::Unreachable(why),
            Failure::NotSent => Self::Unreachable("it did not answer lately".to_owned()),
            Failure::Denied(why) => Self::Refused(why),
            Failure::NoBucket(why) => Self::NoBucket(why),
            Failure::Unsupported(why) | Failure::Other(why) => Self::Unfit(why),
            Failure::Absent => Self::Unfit("an object that was written is not there".to_owned()),
            Failure::Conflict => Self::Unfit("a new object is said to be there already".to_owned()),
        }
    }
}

impl Bucket {
    /// Where probes leave their objects for a moment.
    pub fn probes(&self) -> String {
        format!("{}probe/", self.prefix)
    }

    /// Writes, reads, lists and removes an object, and finds out what may be sent with blobs.
    pub async fn probe(&self) -> Verdict {
        let id = Uuid::now_v7();
        let key = format!("{}{id}", self.probes());
        let bytes = Bytes::from(format!("quire looks whether this bucket can be used: {id}\n"));
        let found = self.find_out(&key, &bytes).await;
        let removal = self.delete(&key).await;
        match (found, removal) {
            (Err(verdict), _) => verdict,
            (Ok((checksums, conditions)), removal) => {
                let removal = removal.map_err(|failure| format!("{failure:?}"));
                Verdict::Usable(Findings { checksums, conditions, removal })
            }
        }
    }

    async fn find_out(&self, key: &str, bytes: &Bytes) -> Result<(Checksums, Conditions), Verdict> {
        let mut checksums = self.try_checksums(key, bytes).await?;
        let conditions = self.try_conditions(key, bytes).await?;
        self.conditions.store(!matches!(conditions, Conditions::Refused(_)), Ordering::Relaxed);
        if checksums == Checksums::Compared && self.takes_wrong_checksums(key, bytes).await {
            checksums = Checksums::Ignored;
        }
        self.try_absence(key).await?;
        self.try_list(key).await?;
        Ok((checksums, conditions))
    }

    /// Writes the object with its checksum, or without when the server takes none, and reads it back: some servers
    /// keep the framing of a transfer in the object.
    async fn try_checksums(&self, key: &str, bytes: &Bytes) -> Result<Checksums, Verdict> {
        let plainly = |why| async move {
            self.write(key, bytes, None).await?;
            if self.reads(key, bytes).await? {
                // Only now: a probe that ends here is made again with checksums.
                self.checksums.store(false, Ordering::Relaxed);
                return Ok(why);
            }
            Err(Verdict::Unfit("an object has other bytes than those that were written".to_owned()))
        };
        if !self.checksums.load(Ordering::Relaxed) {
            return plainly(Checksums::NotSent).await;
        }
        match self.write(key, bytes, Some(Sha256::of(bytes))).await {
            Ok(()) if self.reads(key, bytes).await? => Ok(Checksums::Compared),
            Ok(()) => plainly(Checksums::Refused("they end up in the object".to_owned())).await,
            Err(Failure::Unsupported(why) | Failure::Other(why)) => plainly(Checksums::Refused(why)).await,
            Err(failure) => Err(failure.into()),
        }
    }

    async fn write(&self, key: &str, bytes: &Bytes, checksum: Option<Sha256>) -> Result<(), Failure> {
        self.put(key, Payload::of_bytes(bytes.clone()), checksum, false).await
    }

    async fn reads(&self, key: &str, expected: &Bytes) -> Result<bool, Failure> {
        let incoming = self.get(key, 0).await?;
        let body = tokio::time::timeout(self.stall, incoming.body.collect()).await;
        let broke_off = || Failure::Unavailable("get: the body broke off".to_owned());
        let body = body.map_err(|_| broke_off())?.map_err(|_| broke_off())?;
        Ok(incoming.size == expected.len() as u64 && body.into_bytes() == expected)
    }

    /// The object is there, so that a condition that it is not has to fail.
    async fn try_conditions(&self, key: &str, bytes: &Bytes) -> Result<Conditions, Verdict> {
        let checksum = self.checksum(Sha256::of(bytes));
        match self.put(key, Payload::of_bytes(bytes.clone()), checksum, true).await {
            Err(Failure::Conflict) => Ok(Conditions::Honoured),
            Ok(()) => Ok(Conditions::Ignored),
            Err(Failure::Unsupported(why)) => Ok(Conditions::Refused(why)),
            // Either it is gone, or it cannot cope with the condition.
            Err(Failure::Unavailable(why)) => {
                self.write(key, bytes, checksum).await?;
                Ok(Conditions::Refused(why))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// However it is said no: if the server is gone, what is tried next will tell.
    async fn takes_wrong_checksums(&self, key: &str, bytes: &Bytes) -> bool {
        self.write(key, bytes, Some(Sha256::of(b"other bytes"))).await.is_ok()
    }

    /// To who may not list a bucket, S3 does not say what is not there: then every blob that is missing would look
    /// like a refusal.
    async fn try_absence(&self, key: &str) -> Result<(), Verdict> {
        match self.get(&format!("{key}-absent"), 0).await.map(drop) {
            Err(Failure::Absent) => Ok(()),
            Ok(()) => Err(Verdict::Unfit("there is an object that nobody wrote".to_owned())),
            Err(Failure::Denied(why)) => {
                Err(Verdict::Refused(format!("what is absent is refused; allow s3:ListBucket ({why})")))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn try_list(&self, key: &str) -> Result<(), Verdict> {
        let (listed, _) = self.list(key, "", 10).await?;
        if listed.iter().any(|object| object.key() == Some(key)) {
            return Ok(());
        }
        Err(Verdict::Unfit("a list lacks an object that is there".to_owned()))
    }
}
