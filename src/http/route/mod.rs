//! Method, path and query become a [`Route`], or a refusal. Pure: nothing is looked up here.

mod api;
mod plugins;
mod v2;

use std::borrow::Cow;

use http::{Method, Uri};
use percent_encoding::percent_decode_str;
use strum::{EnumDiscriminants, EnumIter};
use uuid::Uuid;

use super::plugin_query::{PluginListQuery, Source, VersionsQuery};
use super::query::{
    AuditQuery, HistoryQuery, ListQuery, PageQuery, Query, QueryError, TokenQuery, UploadStart,
};
use crate::access::{Action, Permission, SYSTEM_CATALOG};
use crate::digest::{Digest, DigestError, Sha256};
use crate::name::{NameError, Reference, RepositoryName, Tag, TagError};

pub use self::plugins::{DiffQuery, PluginName, SchemaQuery, UploadQuery, VersionName, View};

/// Longest path with query that is read.
const URI_LIMIT: usize = 16 * 1024;
/// A request, fully parsed. HEAD is GET here; the answer loses its body later.
#[derive(Debug, Clone, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(name(RouteName), derive(EnumIter, Hash), doc = "A route without what it holds.")]
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
    ListOrganisations(PageQuery),
    CreateOrganisation,
    GetOrganisation { id: String },
    UpdateOrganisation { id: String },
    DeleteOrganisation { id: String },
    ListTokens { catalog: Option<String>, page: PageQuery },
    CreateToken,
    RevokeToken { id: Option<Uuid> },
    WhoAmI,
    CanI { action: Action, repository: RepositoryName },
    Audit(AuditQuery),
    WriteTags { catalog: String },
    GetTagRules { catalog: String },
    SetTagRules { catalog: String },
    ListPlugins { view: View, query: PluginListQuery },
    PluginFacets { view: View, query: PluginListQuery },
    UploadPlugin { view: View, query: UploadQuery },
    GetPlugin { view: View, plugin: PluginName },
    ChangePlugin { view: View, id: Option<Uuid> },
    DisablePlugin { view: View, id: Option<Uuid> },
    ListVersions { view: View, pid: String, source: Option<Source>, query: VersionsQuery },
    GetVersion { view: View, version: VersionName },
    GetSettingsSchema { view: View, query: SchemaQuery },
    ListFiles { view: View, version: VersionName },
    GetFile { view: View, version: VersionName, path: String },
    GetReadme { view: View, version: VersionName },
    DiffVersions { view: View, query: DiffQuery },
    ListEnablements { organisation: String },
    GetEnablement { organisation: String, source: Source, pid: String },
    SetEnablement { organisation: String, source: Source, pid: String },
    DeleteEnablement { organisation: String, source: Source, pid: String },
    GetPlan { organisation: String },
    ListBlocks { after: Option<Sha256>, limit: usize },
    SetBlock { digest: Sha256 },
    DeleteBlock { digest: Sha256 },
    OpenApi,
    Live,
    Ready,
    Metrics,
    ProveNode { challenge: String },
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
    Organisation,
    ApiToken,
    Audit,
    TagWrites,
    Plugin,
    PackageFile,
    Enablement,
    Block,
    OpenApi,
    Operation,
    Unknown,
}

impl RouteKind {
    pub const ALL: [Self; 20] = [
        Self::Base,
        Self::Token,
        Self::Catalog,
        Self::Immutable,
        Self::Blob,
        Self::Manifest,
        Self::Tags,
        Self::Referrers,
        Self::Upload,
        Self::Organisation,
        Self::ApiToken,
        Self::Audit,
        Self::TagWrites,
        Self::Plugin,
        Self::PackageFile,
        Self::Enablement,
        Self::Block,
        Self::OpenApi,
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
            Self::Organisation => "organisation",
            Self::ApiToken => "api_token",
            Self::Audit => "audit",
            Self::TagWrites => "tag_writes",
            Self::Plugin => "plugin",
            Self::PackageFile => "package_file",
            Self::Enablement => "enablement",
            Self::Block => "block",
            Self::OpenApi => "openapi",
            Self::Operation => "operation",
            Self::Unknown => "unknown",
        }
    }
}

impl RouteKind {
    /// Whether writes of this kind are events of their catalog.
    pub fn has_events(self) -> bool {
        match self {
            Self::Blob | Self::Manifest | Self::TagWrites | Self::Plugin => true,
            Self::Base
            | Self::Token
            | Self::Catalog
            | Self::Immutable
            | Self::Tags
            | Self::Referrers
            | Self::Upload
            | Self::Organisation
            | Self::ApiToken
            | Self::Audit
            | Self::PackageFile
            | Self::Enablement
            | Self::Block
            | Self::OpenApi
            | Self::Operation
            | Self::Unknown => false,
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
    /// Somebody with a credential of their own, whatever it allows.
    Known,
    Permission(Permission, &'a str),
    /// The right to manage the members of this catalog, or of any if none is named.
    Members(Option<&'a str>),
}

/// What the audit log tells of a write that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub action: &'static str,
    pub catalog: Option<String>,
    pub object: String,
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
            Self::ListOrganisations(_)
            | Self::CreateOrganisation
            | Self::GetOrganisation { .. }
            | Self::UpdateOrganisation { .. }
            | Self::DeleteOrganisation { .. } => RouteKind::Organisation,
            Self::ListTokens { .. }
            | Self::CreateToken
            | Self::RevokeToken { .. }
            | Self::WhoAmI
            | Self::CanI { .. } => RouteKind::ApiToken,
            Self::Audit(_) => RouteKind::Audit,
            Self::WriteTags { .. } | Self::GetTagRules { .. } | Self::SetTagRules { .. } => {
                RouteKind::TagWrites
            }
            Self::ListPlugins { .. }
            | Self::PluginFacets { .. }
            | Self::UploadPlugin { .. }
            | Self::GetPlugin { .. }
            | Self::ChangePlugin { .. }
            | Self::DisablePlugin { .. }
            | Self::ListVersions { .. }
            | Self::GetVersion { .. }
            | Self::GetSettingsSchema { .. }
            | Self::DiffVersions { .. } => RouteKind::Plugin,
            Self::ListFiles { .. } | Self::GetFile { .. } | Self::GetReadme { .. } => RouteKind::PackageFile,
            Self::ListEnablements { .. }
            | Self::GetEnablement { .. }
            | Self::SetEnablement { .. }
            | Self::DeleteEnablement { .. }
            | Self::GetPlan { .. } => RouteKind::Enablement,
            Self::ListBlocks { .. } | Self::SetBlock { .. } | Self::DeleteBlock { .. } => RouteKind::Block,
            Self::OpenApi => RouteKind::OpenApi,
            Self::Live | Self::Ready | Self::Metrics | Self::ProveNode { .. } => RouteKind::Operation,
        }
    }

    pub fn need(&self) -> Need<'_> {
        match self {
            Self::Token(_) | Self::GetImmutable { .. } => Need::Nothing,
            Self::Live | Self::Ready | Self::Metrics | Self::ProveNode { .. } | Self::OpenApi => {
                Need::Nothing
            }
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
            Self::ListOrganisations(_) | Self::WhoAmI | Self::CanI { .. } | Self::RevokeToken { .. } => {
                Need::Known
            }
            Self::CreateOrganisation
            | Self::UpdateOrganisation { .. }
            | Self::DeleteOrganisation { .. }
            | Self::ListBlocks { .. }
            | Self::SetBlock { .. }
            | Self::DeleteBlock { .. } => Need::Permission(Permission::SystemAdmin, SYSTEM_CATALOG),
            Self::GetOrganisation { id } => Need::Permission(Permission::OrgPluginsRead, id),
            Self::CreateToken => Need::Members(None),
            Self::ListTokens { catalog, .. } => Need::Members(catalog.as_deref()),
            Self::Audit(query) => Need::Members(query.catalog.as_deref()),
            Self::WriteTags { catalog } => Need::Permission(Permission::of_write(catalog), catalog),
            Self::GetTagRules { catalog } => Need::Permission(Permission::of_read(catalog), catalog),
            Self::SetTagRules { catalog } => Need::Members(Some(catalog)),
            Self::ListPlugins { view, .. }
            | Self::PluginFacets { view, .. }
            | Self::GetPlugin { view, .. }
            | Self::ListVersions { view, .. }
            | Self::GetVersion { view, .. }
            | Self::GetSettingsSchema { view, .. }
            | Self::ListFiles { view, .. }
            | Self::GetFile { view, .. }
            | Self::GetReadme { view, .. }
            | Self::DiffVersions { view, .. } => Need::Permission(view.read(), view.catalog()),
            Self::UploadPlugin { view, .. }
            | Self::ChangePlugin { view, .. }
            | Self::DisablePlugin { view, .. } => Need::Permission(view.write(), view.catalog()),
            Self::ListEnablements { organisation }
            | Self::GetEnablement { organisation, .. }
            | Self::GetPlan { organisation } => Need::Permission(Permission::OrgPluginsRead, organisation),
            Self::SetEnablement { organisation, .. } | Self::DeleteEnablement { organisation, .. } => {
                Need::Permission(Permission::OrgPluginsWrite, organisation)
            }
        }
    }

    /// The catalog whose contents the answer to a read tells of. `None`: it tells of none, or of several.
    pub fn reads(&self) -> Option<&str> {
        match self.need() {
            Need::Repository(Action::Pull, repository) => Some(repository.catalog()),
            Need::Permission(_, catalog) => Some(catalog),
            Need::Repository(Action::Push | Action::Delete, _)
            | Need::Nothing
            | Need::Credential
            | Need::Listing
            | Need::Known
            | Need::Members(_) => None,
        }
    }

    /// What the request tries to change; such a request is finished even when its client goes away.
    /// `None`: it only reads.
    pub fn attempt(&self) -> Option<Attempt> {
        let on = |action, repository: &RepositoryName, what: &dyn std::fmt::Display| {
            let catalog = Some(repository.catalog().to_owned());
            Some(Attempt { action, catalog, object: format!("{repository}{what}") })
        };
        let of = |action, catalog: Option<&str>, object: &str| {
            Some(Attempt { action, catalog: catalog.map(str::to_owned), object: object.to_owned() })
        };
        match self {
            Self::Base
            | Self::Token(_)
            | Self::Catalog(_)
            | Self::GetImmutable { .. }
            | Self::GetBlob { .. }
            | Self::GetManifest { .. }
            | Self::ListTags { .. }
            | Self::TagHistory { .. }
            | Self::ListReferrers { .. }
            | Self::GetUpload { .. }
            | Self::ListOrganisations(_)
            | Self::GetOrganisation { .. }
            | Self::ListTokens { .. }
            | Self::WhoAmI
            | Self::CanI { .. }
            | Self::Audit(_)
            | Self::GetTagRules { .. }
            | Self::ListPlugins { .. }
            | Self::PluginFacets { .. }
            | Self::GetPlugin { .. }
            | Self::ListVersions { .. }
            | Self::GetVersion { .. }
            | Self::GetSettingsSchema { .. }
            | Self::ListFiles { .. }
            | Self::GetFile { .. }
            | Self::GetReadme { .. }
            | Self::DiffVersions { .. }
            | Self::ListEnablements { .. }
            | Self::GetEnablement { .. }
            | Self::GetPlan { .. }
            | Self::ListBlocks { .. }
            | Self::OpenApi
            | Self::Live
            | Self::Ready
            | Self::Metrics
            | Self::ProveNode { .. } => None,
            Self::PutManifest { repository, reference, .. } => {
                on("manifest.push", repository, &at(reference))
            }
            Self::DeleteManifest { repository, reference } => match reference {
                Reference::Digest(_) => on("manifest.delete", repository, &at(reference)),
                Reference::Tag(_) => on("tag.delete", repository, &at(reference)),
            },
            Self::DeleteBlob { repository, digest } => {
                on("blob.delete", repository, &format_args!("@{digest}"))
            }
            Self::StartUpload { repository, start } => match start {
                UploadStart::Mount { digest, .. } => on("blob.mount", repository, &format_args!("@{digest}")),
                UploadStart::Whole { digest } => on("blob.push", repository, &format_args!("@{digest}")),
                UploadStart::Session { .. } | UploadStart::MountFromNowhere => {
                    on("blob.push", repository, &"")
                }
            },
            Self::AppendUpload { repository, .. } | Self::CancelUpload { repository, .. } => {
                on("blob.push", repository, &"")
            }
            Self::FinishUpload { repository, digest, .. } => {
                on("blob.push", repository, &format_args!("@{digest}"))
            }
            Self::CreateOrganisation => of("organisation.create", None, ""),
            Self::UpdateOrganisation { id } => of("organisation.update", Some(id), id),
            Self::DeleteOrganisation { id } => of("organisation.delete", Some(id), id),
            Self::CreateToken => of("token.create", None, ""),
            Self::RevokeToken { id } => {
                of("token.revoke", None, &id.map_or(String::new(), |id| format!("token:{id}")))
            }
            Self::WriteTags { catalog } => of("tag.set", Some(catalog), catalog),
            Self::SetTagRules { catalog } => of("tag_rules.set", Some(catalog), catalog),
            Self::UploadPlugin { view, .. } => of("plugin.upload", Some(view.catalog()), view.catalog()),
            Self::ChangePlugin { view, id } | Self::DisablePlugin { view, id } => {
                let object = id.map_or(String::new(), |id| format!("plugin:{id}"));
                of("version.change", Some(view.catalog()), &object)
            }
            Self::SetEnablement { organisation, source, pid } => {
                of("enablement.set", Some(organisation), &plugin_of(organisation, *source, pid))
            }
            Self::DeleteEnablement { organisation, source, pid } => {
                of("enablement.delete", Some(organisation), &plugin_of(organisation, *source, pid))
            }
            Self::SetBlock { digest } => of("block.set", Some(SYSTEM_CATALOG), &digest.to_string()),
            Self::DeleteBlock { digest } => of("block.delete", Some(SYSTEM_CATALOG), &digest.to_string()),
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
            ["v2", ref rest @ ..] => v2::parse(method, rest, &query),
            ["api", ref rest @ ..] => api::parse(method, rest, &query),
            ["token"] => read_only(method, Self::Token(query.token()?)),
            ["blobs", "sha256", hex] => {
                let sha256 = Sha256::from_hex(hex).map_err(RouteError::Digest)?;
                read_only(method, Self::GetImmutable { sha256 })
            }
            ["livez"] => read_only(method, Self::Live),
            ["readyz"] => read_only(method, Self::Ready),
            ["metrics"] => read_only(method, Self::Metrics),
            ["node"] => read_only(method, Self::ProveNode { challenge: query.challenge()? }),
            _ => Err(RouteError::NotFound),
        }
    }
}

/// A plugin that an organisation sees, as `<catalog>/<pid>`.
fn plugin_of(organisation: &str, source: Source, pid: &str) -> String {
    match source {
        Source::System => format!("{SYSTEM_CATALOG}/{pid}"),
        Source::Org => format!("{organisation}/{pid}"),
    }
}

/// `:<tag>` or `@<digest>`
fn at(reference: &Reference) -> String {
    match reference {
        Reference::Digest(digest) => format!("@{digest}"),
        Reference::Tag(tag) => format!(":{tag}"),
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
        assert_eq!(query.scopes.len(), 2);
        assert_eq!(query.scopes[1].actions, [Action::Pull, Action::Push, Action::Delete]);
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
