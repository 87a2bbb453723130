//! What changes in catalogs, whichever node changed it: news for those who keep something in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{Change, Event, MetaError};
use crate::name::RepositoryName;

/// How often a feed looks when nothing wakes it. Two of these and the looks themselves stay below a second.
pub const BEAT: Duration = Duration::from_millis(300);

/// Events of one catalog that are read one by one. Where there are more, all of its repositories count as changed.
pub const EVENTS: usize = 1000;

/// Has a feed look at once.
pub type Nudge = Arc<Notify>;

/// What happened since the last look, by the event logs of the catalogs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Anything may have changed. Every catalog that has events, with its sequence.
    Anything(HashMap<String, u64>),
    /// These catalogs moved, and no other; none at all when it is quiet.
    Moved(Vec<Moved>),
}

/// A catalog with new events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub catalog: String,
    /// Of its last event that was read.
    pub sequence: u64,
    pub touched: Touched,
}

/// What events are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    Repositories(Vec<Touch>),
    /// Too many to read them one by one.
    Everything,
}

/// A repository with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    pub repository: RepositoryName,
    /// Whether something of it was deleted, so that it may hold no longer what it held.
    pub deleted: bool,
}

impl From<Event> for Touch {
    fn from(event: Event) -> Self {
        let deleted = match event.change {
            Change::ManifestDeleted { .. } | Change::BlobDeleted { .. } => true,
            Change::VersionChanged { .. }
            | Change::ManifestPushed { .. }
            | Change::TagSet { .. }
            | Change::TagDeleted { .. } => false,
        };
        Self { repository: event.repository, deleted }
    }
}

/// An answer of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Everything that was committed before this moment is in these news or in earlier ones.
    pub as_of: Instant,
    pub news: News,
}

/// Follows the event logs of all catalogs.
///
/// The first look tells [`News::Anything`]; after that, every event is told in the order of its catalog's sequence,
/// once it is committed. What this very store wrote need not wake the feed, and need not be named: who wrote it knows. A
/// nudge has its sequence told.
/// More may be told than changed. After an error a feed is of no use any more.
#[async_trait]
pub trait Feed: Send {
    /// Waits until there may be news, and at most for [`BEAT`], and looks.
    async fn next(&mut self) -> Result<Look, MetaError>;
}
