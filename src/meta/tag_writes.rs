//! Writing tags: conditions, rules that keep a tag where it is, and several tags in one transaction.

use super::ManifestRecord;
use crate::access::{RepositoryGlob, TagGlob};
use crate::digest::Digest;
use crate::name::{RepositoryName, Tag};

/// What a tag has to be for a write to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagCondition {
    Any,
    Absent,
    Present,
    /// It points to one of these.
    PointsTo(Vec<Digest>),
}

impl TagCondition {
    /// Whether it holds for what the tag points to now.
    pub fn holds(&self, now: Option<&ManifestRecord>) -> bool {
        match (self, now) {
            (Self::Any, _) | (Self::Absent, None) | (Self::Present, Some(_)) => true,
            (Self::Absent, Some(_)) | (Self::Present | Self::PointsTo(_), None) => false,
            (Self::PointsTo(digests), Some(now)) => {
                digests.iter().any(|digest| now.digests.get(digest.algorithm()) == Some(*digest))
            }
        }
    }
}

/// Why a tag is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagRefusal {
    /// The condition does not hold; `now` is what the tag points to.
    Moved { now: Option<Digest> },
    /// It points to `now`, or did until it was deleted, and stays there.
    Kept { rule: TagRule, now: Digest },
    /// In a repository of a plugin a version names nothing but the plugin of that version.
    NotThisVersion,
    /// `latest` of a plugin follows its versions.
    Follows,
}

impl TagRefusal {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Moved { .. } => "tag_moved",
            Self::Kept { rule, .. } => rule.code(),
            Self::NotThisVersion => "not_this_version",
            Self::Follows => "latest_follows",
        }
    }
}

/// What keeps a tag where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagRule {
    /// It is a version of a plugin.
    Version,
    /// A rule of the catalog says so.
    Immutable,
    /// The caller may create tags and not move them.
    CreateOnly,
}

impl TagRule {
    /// The stable code of the refusal.
    pub fn code(self) -> &'static str {
        match self {
            Self::Version => "version_immutable",
            Self::Immutable => "tag_immutable",
            Self::CreateOnly => "create_only",
        }
    }
}

/// Tags of a catalog that never move: those that both globs match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImmutableTags {
    pub repositories: RepositoryGlob,
    pub tags: TagGlob,
}

/// One tag to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagWrite {
    pub repository: RepositoryName,
    pub tag: Tag,
    pub digest: Digest,
    pub condition: TagCondition,
    /// Whether the caller may move tags of this repository, and not only create them.
    pub may_move: bool,
}

/// What came of writing several tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteTags {
    Written,
    /// Nothing was written; each that stood in the way, by its place in the list.
    Refused(Vec<(usize, TagWriteRefusal)>),
}

/// Why one of several tags stood in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagWriteRefusal {
    ManifestUnknown,
    Tag(TagRefusal),
}
