//! The part of a request behind the `?`: parameters, each read into its type or refused by name.

use percent_encoding::percent_decode_str;

use crate::access::{Action, TokenScope};
use crate::digest::{Algorithm, Digest, DigestError, Sha256};
use crate::name::{RepositoryName, Tag, TagError};
use crate::registry::PAGE_LIMIT;

/// Most `tag` parameters of one manifest push.
pub const TAG_PARAMETERS: usize = 64;

/// What a POST to `/blobs/uploads/` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadStart {
    Session {
        algorithm: Algorithm,
    },
    /// The whole blob is in the body.
    Whole {
        digest: Digest,
    },
    /// Without a source: from wherever the caller may read it.
    Mount {
        digest: Digest,
        from: Option<RepositoryName>,
    },
    /// The source named cannot be a repository: a session is opened.
    MountFromNowhere,
}

/// `n` and `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    pub limit: usize,
    pub last: Option<String>,
}

/// `n` and, from a `Link` of ours, `before`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    pub limit: usize,
    pub before: Option<u64>,
}

/// `limit` and `after` of the lists below `/api/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    pub limit: usize,
    pub after: Option<String>,
}

/// Which lines of the audit log are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditQuery {
    pub catalog: Option<String>,
    pub after: u64,
    /// `None`: all there are.
    pub limit: Option<u64>,
}

/// What a client asks the token endpoint for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenQuery {
    pub scopes: Vec<TokenScope>,
    pub lists_catalog: bool,
}

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryError {
    Digest(DigestError),
    Tag(TagError),
    TooManyTags,
    Parameter { name: &'static str, reason: String },
}

/// A raw query. A `+` is itself here: media types contain it, and nothing we read contains a blank.
pub struct Query<'a>(pub &'a str);

impl Query<'_> {
    pub fn values(&self, name: &'static str) -> Result<Vec<String>, QueryError> {
        let mut values = Vec::new();
        for pair in self.0.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if percent_decode_str(key).decode_utf8().is_ok_and(|key| key == name) {
                let value = percent_decode_str(value).decode_utf8();
                let value = value.map_err(|_| bad(name, "is not UTF-8"))?;
                if value.contains('\0') {
                    return Err(bad(name, "holds a NUL"));
                }
                values.push(value.into_owned());
            }
        }
        Ok(values)
    }

    pub fn single(&self, name: &'static str) -> Result<Option<String>, QueryError> {
        let mut values = self.values(name)?;
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(bad(name, "is given more than once")),
        }
    }

    /// What a node asks another to sign.
    pub fn challenge(&self) -> Result<String, QueryError> {
        let asked = self.single("challenge")?.unwrap_or_default();
        let fits = (16..=128).contains(&asked.len()) && asked.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(asked) } else { Err(bad("challenge", "is not 16 to 128 visible characters")) }
    }

    pub fn digest(&self, name: &'static str) -> Result<Option<Digest>, QueryError> {
        self.single(name)?.map(|text| text.parse().map_err(QueryError::Digest)).transpose()
    }

    pub fn sha256(&self, name: &'static str) -> Result<Option<Sha256>, QueryError> {
        self.single(name)?.map(|hex| Sha256::from_hex(&hex).map_err(QueryError::Digest)).transpose()
    }

    /// A whole number; one that does not fit is as large as can be.
    pub fn number(&self, name: &'static str) -> Result<Option<u64>, QueryError> {
        match self.single(name)? {
            None => Ok(None),
            Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Some(text.parse().unwrap_or(u64::MAX)))
            }
            Some(_) => Err(bad(name, "is not a whole number")),
        }
    }

    pub fn limit(&self) -> Result<usize, QueryError> {
        let asked = self.number("n")?.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        Ok(asked.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT))
    }

    pub fn list(&self) -> Result<ListQuery, QueryError> {
        Ok(ListQuery { limit: self.limit()?, last: self.single("last")?.filter(|last| !last.is_empty()) })
    }

    pub fn page(&self) -> Result<PageQuery, QueryError> {
        let asked = self.number("limit")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let after = self.single("after")?.filter(|after| !after.is_empty());
        Ok(PageQuery { limit: asked.unwrap_or(PAGE_LIMIT).clamp(1, PAGE_LIMIT), after })
    }

    /// `action` and `repository`: may I?
    pub fn question(&self) -> Result<(Action, RepositoryName), QueryError> {
        let action = self.single("action")?.as_deref().and_then(Action::parse);
        let action = action.ok_or_else(|| bad("action", "is pull, push or delete"))?;
        let repository = self.single("repository")?.unwrap_or_default();
        let repository =
            repository.parse().map_err(|error| bad("repository", &format!("is no name: {error}")))?;
        Ok((action, repository))
    }

    pub fn tags(&self) -> Result<Vec<Tag>, QueryError> {
        let mut tags: Vec<Tag> = Vec::new();
        for text in self.values("tag")? {
            let tag = text.parse().map_err(QueryError::Tag)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            if tags.len() > TAG_PARAMETERS {
                return Err(QueryError::TooManyTags);
            }
        }
        Ok(tags)
    }

    pub fn upload_start(&self) -> Result<UploadStart, QueryError> {
        if let Some(digest) = self.digest("mount")? {
            return Ok(match self.single("from")? {
                None => UploadStart::Mount { digest, from: None },
                Some(from) => match from.parse() {
                    Ok(from) => UploadStart::Mount { digest, from: Some(from) },
                    Err(_) => UploadStart::MountFromNowhere,
                },
            });
        }
        if let Some(digest) = self.digest("digest")? {
            return Ok(UploadStart::Whole { digest });
        }
        let algorithm = match self.single("digest-algorithm")? {
            None => Algorithm::Sha256,
            Some(text) => text.parse().map_err(QueryError::Digest)?,
        };
        Ok(UploadStart::Session { algorithm })
    }

    /// Scopes of kinds that we don't know are left out, as the token specification wants it.
    pub fn token(&self) -> Result<TokenQuery, QueryError> {
        let mut query = TokenQuery::default();
        for scopes in self.values("scope")? {
            for scope in scopes.split([' ', '+']) {
                let Some((kind, rest)) = scope.split_once(':') else { continue };
                let Some((name, actions)) = rest.rsplit_once(':') else { continue };
                match kind {
                    "repository" => {
                        let Ok(repository) = name.parse() else { continue };
                        query.scopes.push(TokenScope { repository, actions: actions_of(actions) });
                    }
                    "registry" if name == "catalog" && actions == "*" => query.lists_catalog = true,
                    _ => {}
                }
            }
        }
        if query.scopes.len() > 100 {
            return Err(bad("scope", "names more than 100 repositories"));
        }
        Ok(query)
    }
}

fn actions_of(text: &str) -> Vec<Action> {
    let words = text.split(',');
    words
        .flat_map(|word| match word {
            "*" => vec![Action::Pull, Action::Push, Action::Delete],
            word => Action::parse(word).into_iter().collect(),
        })
        .collect()
}

pub fn bad(name: &'static str, reason: &str) -> QueryError {
    QueryError::Parameter { name, reason: reason.to_owned() }
}
