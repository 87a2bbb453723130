//! Method, path and query become a [`Route`], or a refusal. Pure: nothing is looked up here.

use std::borrow::Cow;

use http::{Method, Uri};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::query::{HistoryQuery, ListQuery, Query, QueryError, TokenQuery, UploadStart};
use crate::access::Action;
use crate::digest::{Digest, DigestError, Sha256};
use crate::name::{NameError, Reference, ReferenceError, RepositoryName, Tag, TagError};

/// Longest path with query that is read.
const URI_LIMIT: usize = 16 * 1024;
/// A request, fully parsed. HEAD is GET here; the answer loses its body later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    Base,
    Token(TokenQuery),
    Catalog(ListQuery),
    GetImmutable { sha256: Sha256 },
    GetBlob { repository: RepositoryName, digest: Digest },
    DeleteBlob { repository: RepositoryName, digest: Digest },
    GetManifest { repository: RepositoryName, reference: Reference },
    PutManifest { repository: RepositoryName, reference: Reference, tags: Vec<Tag> },
    DeleteManifest { repository: RepositoryName, reference: Reference },
    ListTags { repository: RepositoryName, query: ListQuery },
    TagHistory { repository: RepositoryName, tag: Tag, query: HistoryQuery },
    ListReferrers { repository: RepositoryName, query: ReferrersQuery },
    StartUpload { repository: RepositoryName, start: UploadStart },
    GetUpload { repository: RepositoryName, id: Uuid },
    AppendUpload { repository: RepositoryName, id: Uuid },
    FinishUpload { repository: RepositoryName, id: Uuid, digest: Digest },
    CancelUpload { repository: RepositoryName, id: Uuid },
    Live,
    Ready,
    Metrics,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferrersQuery {
    pub subject: Digest,
    /// Present also when it is empty.
    pub artifact_type: Option<String>,
    /// Our own, from a `Link`.
    pub after: Option<Sha256>,
}

/// Why a request is no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteError {
    NotFound,
    Method { allow: &'static str },
    UriTooLong,
    Path(&'static str),
    Name(NameError),
    Digest(DigestError),
    Tag(TagError),
    UploadUnknown,
    Query(QueryError),
}

impl From<QueryError> for RouteError {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

/// The closed set of labels for metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    Base,
    Token,
    Catalog,
    Immutable,
    Blob,
    Manifest,
    Tags,
    Referrers,
    Upload,
    Operation,
    Unknown,
}

impl RouteKind {
    pub const ALL: [Self; 11] = [
        Self::Base,
        Self::Token,
        Self::Catalog,
        Self::Immutable,
        Self::Blob,
        Self::Manifest,
        Self::Tags,
        Self::Referrers,
        Self::Upload,
        Self::Operation,
        Self::Unknown,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Token => "token",
            Self::Catalog => "catalog",
            Self::Immutable => "immutable",
            Self::Blob => "blob",
            Self::Manifest => "manifest",
            Self::Tags => "tags",
            Self::Referrers => "referrers",
            Self::Upload => "upload",
            Self::Operation => "operation",
            Self::Unknown => "unknown",
        }
    }
}

/// What has to be decided before a route runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    /// Anybody; the answer depends on what the caller may read.
    Nothing,
    /// Somebody who said who they are: `/v2/` is how clients find out that they should.
    Credential,
    /// A token, even one of nobody: clients send what they have only after a challenge, and without it
    /// would be shown the public repositories alone.
    Listing,
    Repository(Action, &'a RepositoryName),
}

impl Route {
    pub fn kind(&self) -> RouteKind {
        match self {
            Self::Base => RouteKind::Base,
            Self::Token(_) => RouteKind::Token,
            Self::Catalog(_) => RouteKind::Catalog,
            Self::GetImmutable { .. } => RouteKind::Immutable,
            Self::GetBlob { .. } | Self::DeleteBlob { .. } => RouteKind::Blob,
            Self::GetManifest { .. } | Self::PutManifest { .. } | Self::DeleteManifest { .. } => {
                RouteKind::Manifest
            }
            Self::ListTags { .. } | Self::TagHistory { .. } => RouteKind::Tags,
            Self::ListReferrers { .. } => RouteKind::Referrers,
            Self::StartUpload { .. }
            | Self::GetUpload { .. }
            | Self::AppendUpload { .. }
            | Self::FinishUpload { .. }
            | Self::CancelUpload { .. } => RouteKind::Upload,
            Self::Live | Self::Ready | Self::Metrics => RouteKind::Operation,
        }
    }

    pub fn need(&self) -> Need<'_> {
        match self {
            Self::Token(_) | Self::GetImmutable { .. } => Need::Nothing,
            Self::Live | Self::Ready | Self::Metrics => Need::Nothing,
            Self::Base => Need::Credential,
            Self::Catalog(_) => Need::Listing,
            Self::GetBlob { repository, .. }
            | Self::GetManifest { repository, .. }
            | Self::ListTags { repository, .. }
            | Self::TagHistory { repository, .. }
            | Self::ListReferrers { repository, .. } => Need::Repository(Action::Pull, repository),
            Self::PutManifest { repository, .. }
            | Self::StartUpload { repository, .. }
            | Self::GetUpload { repository, .. }
            | Self::AppendUpload { repository, .. }
            | Self::FinishUpload { repository, .. }
            | Self::CancelUpload { repository, .. } => Need::Repository(Action::Push, repository),
            Self::DeleteBlob { repository, .. } | Self::DeleteManifest { repository, .. } => {
                Need::Repository(Action::Delete, repository)
            }
        }
    }

    /// Whether the request changes something; such a request is finished even when its client goes away.
    pub fn writes(&self) -> bool {
        match self.need() {
            Need::Repository(Action::Push | Action::Delete, _) => !matches!(self, Self::GetUpload { .. }),
            Need::Repository(Action::Pull, _) | Need::Nothing | Need::Credential | Need::Listing => false,
        }
    }

    /// Parses a request line.
    pub fn parse(method: &Method, uri: &Uri) -> Result<Self, RouteError> {
        let query = uri.query().unwrap_or_default();
        if uri.path().len() + query.len() > URI_LIMIT {
            return Err(RouteError::UriTooLong);
        }
        let segments = decode_path(uri.path())?;
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let query = Query(query);
        match segments[..] {
            ["v2"] | ["v2", ""] => read_only(method, Self::Base),
            ["v2", "_catalog"] => read_only(method, Self::Catalog(query.list()?)),
            ["v2", ref rest @ ..] => parse_v2(method, rest, &query),
            ["token"] => read_only(method, Self::Token(query.token()?)),
            ["blobs", "sha256", hex] => {
                let sha256 = Sha256::from_hex(hex).map_err(RouteError::Digest)?;
                read_only(method, Self::GetImmutable { sha256 })
            }
            ["livez"] => read_only(method, Self::Live),
            ["readyz"] => read_only(method, Self::Ready),
            ["metrics"] => read_only(method, Self::Metrics),
            _ => Err(RouteError::NotFound),
        }
    }
}

/// The segments of a path, each decoded once.
fn decode_path(path: &str) -> Result<Vec<Cow<'_, str>>, RouteError> {
    let segments = path.strip_prefix('/').unwrap_or(path).split('/');
    segments
        .map(|segment| {
            let decoded = percent_decode_str(segment).decode_utf8();
            let decoded = decoded.map_err(|_| RouteError::Path("the path is not UTF-8"))?;
            if decoded.contains(['/', '\\', '\0']) {
                return Err(RouteError::Path("a segment of the path holds a slash or NUL"));
            }
            if decoded == ".." || decoded == "." {
                return Err(RouteError::Path("the path holds dot segments"));
            }
            Ok(decoded)
        })
        .collect()
}

fn read_only(method: &Method, route: Route) -> Result<Route, RouteError> {
    if is_read(method) { Ok(route) } else { Err(RouteError::Method { allow: "GET, HEAD" }) }
}

fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Splits `<name>/<rest>` from the right, as a name may hold the words of the routes.
fn parse_v2(method: &Method, segments: &[&str], query: &Query<'_>) -> Result<Route, RouteError> {
    match segments {
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
            if method != Method::POST {
                return Err(RouteError::Method { allow: "POST" });
            }
            Ok(Route::StartUpload { repository: repository(name)?, start: query.upload_start()? })
        }
        [name @ .., "blobs", "uploads", id] => upload(method, repository(name)?, id, query),
        [name @ .., "blobs", digest] => {
            let repository = repository(name)?;
            let digest = digest.parse().map_err(RouteError::Digest)?;
            match method {
                &Method::DELETE => Ok(Route::DeleteBlob { repository, digest }),
                method if is_read(method) => Ok(Route::GetBlob { repository, digest }),
                _ => Err(RouteError::Method { allow: "GET, HEAD, DELETE" }),
            }
        }
        [name @ .., "manifests", reference] => manifest(method, repository(name)?, reference, query),
        [name @ .., "tags", "list"] => {
            let route = Route::ListTags { repository: repository(name)?, query: query.list()? };
            read_only(method, route)
        }
        // No component of a name begins with an underscore, so this is never part of one.
        [name @ .., "_quire", "tags", tag, "history"] => {
            let tag = tag.parse().map_err(RouteError::Tag)?;
            let query = HistoryQuery { limit: query.limit()?, before: query.number("before")? };
            read_only(method, Route::TagHistory { repository: repository(name)?, tag, query })
        }
        [name @ .., "referrers", subject] => {
            let repository = repository(name)?;
            let query = ReferrersQuery {
                subject: subject.parse().map_err(RouteError::Digest)?,
                artifact_type: query.single("artifactType")?,
                after: query.sha256("after")?,
            };
            read_only(method, Route::ListReferrers { repository, query })
        }
        _ => Err(RouteError::NotFound),
    }
}

fn repository(segments: &[&str]) -> Result<RepositoryName, RouteError> {
    segments.join("/").parse().map_err(RouteError::Name)
}

fn manifest(
    method: &Method,
    repository: RepositoryName,
    reference: &str,
    query: &Query<'_>,
) -> Result<Route, RouteError> {
    let reference = reference.parse().map_err(|error| match error {
        ReferenceError::Digest(error) => RouteError::Digest(error),
        ReferenceError::Tag(error) => RouteError::Tag(error),
    })?;
    match method {
        &Method::PUT => Ok(Route::PutManifest { repository, reference, tags: query.tags()? }),
        &Method::DELETE => Ok(Route::DeleteManifest { repository, reference }),
        method if is_read(method) => Ok(Route::GetManifest { repository, reference }),
        _ => Err(RouteError::Method { allow: "GET, HEAD, PUT, DELETE" }),
    }
}

fn upload(
    method: &Method,
    repository: RepositoryName,
    id: &str,
    query: &Query<'_>,
) -> Result<Route, RouteError> {
    let id = Uuid::try_parse(id).map_err(|_| RouteError::UploadUnknown)?;
    match *method {
        Method::GET | Method::HEAD => Ok(Route::GetUpload { repository, id }),
        Method::PATCH => Ok(Route::AppendUpload { repository, id }),
        Method::DELETE => Ok(Route::CancelUpload { repository, id }),
        Method::PUT => {
            let digest = query.digest("digest")?;
            let digest = digest.ok_or(RouteError::Digest(DigestError::Shape))?;
            Ok(Route::FinishUpload { repository, id, digest })
        }
        _ => Err(RouteError::Method { allow: "GET, HEAD, PATCH, PUT, DELETE" }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::query::bad;
    use super::*;
    use crate::registry::PAGE_LIMIT;
    use proptest::prelude::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn parse(method: &str, uri: &str) -> Result<Route, RouteError> {
        Route::parse(&method.parse().unwrap(), &uri.parse().unwrap())
    }

    /// Metrics are indexed by the number of the kind.
    #[test]
    fn every_kind_stands_at_its_place() {
        for (place, kind) in RouteKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }

    #[test]
    fn names_may_hold_the_words_of_the_routes() {
        for (uri, name) in [
            ("/v2/a/manifests/manifests/v1", "a/manifests"),
            ("/v2/a/blobs/uploads/manifests/v1", "a/blobs/uploads"),
            ("/v2/a/tags/tags/list", "a/tags"),
            ("/v2/tags/list/tags/list", "tags/list"),
        ] {
            match parse("GET", uri).unwrap() {
                Route::GetManifest { repository, .. } | Route::ListTags { repository, .. } => {
                    assert_eq!(repository.as_str(), name, "{uri}");
                }
                other => panic!("{uri}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_digest_may_be_escaped_once() {
        let plain = parse("GET", &format!("/v2/a/b/blobs/sha256:{HEX}"));
        assert!(plain.is_ok());
        assert_eq!(parse("GET", &format!("/v2/a/b/blobs/sha256%3A{HEX}")), plain);
        assert_eq!(
            parse("GET", &format!("/v2/a/b/blobs/sha256%253A{HEX}")),
            Err(RouteError::Digest(DigestError::Shape))
        );
    }

    #[test]
    fn what_is_refused() {
        for (method, uri, error) in [
            ("GET", "/", RouteError::NotFound),
            ("GET", "/v2/a/b", RouteError::NotFound),
            ("POST", "/v2/", RouteError::Method { allow: "GET, HEAD" }),
            ("GET", "/v2/a/b/blobs/uploads/", RouteError::Method { allow: "POST" }),
            ("GET", "/v2/A/b/tags/list", RouteError::Name(NameError::Grammar)),
            ("GET", "/v2/a//b/tags/list", RouteError::Name(NameError::Grammar)),
            ("GET", "/v2/a/tags/list", RouteError::Name(NameError::Catalog)),
            ("GET", "/v2/a/b/blobs/sha256:xyz", RouteError::Digest(DigestError::Hex)),
            ("GET", "/v2/a/b/manifests/v1:2", RouteError::Digest(DigestError::Algorithm)),
            ("GET", "/v2/a/b/manifests/.x", RouteError::Tag(TagError)),
            ("PATCH", "/v2/a/b/blobs/uploads/17", RouteError::UploadUnknown),
            ("GET", "/v2/a/%2e%2e/b/tags/list", RouteError::Path("the path holds dot segments")),
            ("GET", "/v2/a%2fb/tags/list", RouteError::Path("a segment of the path holds a slash or NUL")),
            ("GET", "/v2/a/b/tags/list?n=-1", RouteError::Query(bad("n", "is not a whole number"))),
            ("GET", "/v2/a/b/tags/list?n=1&n=2", RouteError::Query(bad("n", "is given more than once"))),
            (
                "POST",
                "/v2/a/b/blobs/uploads/?digest-algorithm=md5",
                RouteError::Query(QueryError::Digest(DigestError::Algorithm)),
            ),
            (
                "POST",
                "/v2/a/b/blobs/uploads/?mount=x",
                RouteError::Query(QueryError::Digest(DigestError::Shape)),
            ),
        ] {
            assert_eq!(parse(method, uri), Err(error), "{method} {uri}");
        }
        let id = Uuid::now_v7();
        let no_digest = parse("PUT", &format!("/v2/a/b/blobs/uploads/{id}"));
        assert_eq!(no_digest, Err(RouteError::Digest(DigestError::Shape)));
    }

    #[test]
    fn lists_take_n_and_last() {
        let Route::ListTags { query, .. } = parse("GET", "/v2/a/b/tags/list?n=0&last=x").unwrap() else {
            panic!()
        };
        assert_eq!(query, ListQuery { limit: 0, last: Some("x".into()) });
        let Route::ListTags { query, .. } =
            parse("GET", "/v2/a/b/tags/list?n=999999999999999999999").unwrap()
        else {
            panic!()
        };
        assert_eq!(query.limit, PAGE_LIMIT);
    }

    #[test]
    fn a_plus_in_a_media_type_is_a_plus() {
        let uri = format!("/v2/a/b/referrers/sha256:{HEX}?artifactType=application/x.y+json");
        let Route::ListReferrers { query, .. } = parse("GET", &uri).unwrap() else { panic!() };
        assert_eq!(query.artifact_type.as_deref(), Some("application/x.y+json"));
    }

    #[test]
    fn a_mount_never_fails_for_its_source() {
        let uri = format!("/v2/a/b/blobs/uploads/?mount=sha256:{HEX}&from=NOT%20A%20NAME");
        let Route::StartUpload { start, .. } = parse("POST", &uri).unwrap() else { panic!() };
        assert_eq!(start, UploadStart::MountFromNowhere);
    }

    #[test]
    fn scopes_come_singly_or_together() {
        let uri =
            "/token?service=x&scope=repository:a/b:pull,push&scope=repository:c/d:*%20registry:catalog:*";
        let Route::Token(query) = parse("GET", uri).unwrap() else { panic!() };
        assert_eq!(query.repositories.len(), 2);
        assert_eq!(query.repositories[1].1, [Action::Pull, Action::Push, Action::Delete]);
        assert!(query.lists_catalog);
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "/(v2/|blobs/|)[ -~]{0,60}") {
            for method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
                if let Ok(uri) = path.parse::<Uri>() {
                    let _ = Route::parse(&method.parse().unwrap(), &uri);
                }
            }
        }
    }
}
