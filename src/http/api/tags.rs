//! `/api/catalogs/{catalog}/tags` and `…/tag-rules`: several tags at once, and what makes tags immutable.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Findings, Object, present, read, shown};
use crate::access::{Action, RepositoryGlob, Requester, Rule, TagGlob, Verdict};
use crate::digest::Digest;
use crate::http::error::ApiError;
use crate::http::problem::Finding;
use crate::http::reply::{Freshness, Reply};
use crate::http::request_body::RequestBody;
use crate::meta::{ImmutableTags, TagCondition, TagWrite, TagWriteRefusal, WriteTags};
use crate::name::{RepositoryName, Tag};
use crate::registry::{Registry, tag_refusal};

/// Most tags of one request.
const TAGS: usize = 1000;
/// Most rules of one catalog: each is looked at for each tag that moves.
const RULES: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTag {
    repository: String,
    tag: String,
    digest: String,
    /// A digest: the tag points there now; `null`: there is no such tag now; left out: whatever it is.
    #[serde(default, deserialize_with = "present")]
    expected: Option<Option<String>>,
}

/// Points tags to manifests that are there, all or none.
pub async fn write(
    registry: &Registry,
    requester: &Requester,
    catalog: &str,
    body: RequestBody,
) -> Result<Reply, ApiError> {
    let new: Vec<Object<NewTag>> = read(body).await?;
    let writes = check(catalog, &new)?;
    if registry.catalog(catalog).await?.is_none() {
        return Err(ApiError::Unknown("catalog"));
    }
    let writes: Vec<TagWrite> = writes
        .into_iter()
        .map(|write| {
            match registry.policy().may(&requester.caller, Action::Push, &write.repository) {
                Verdict::Allowed => {}
                Verdict::Denied(rule) => return Err(ApiError::Denied(rule)),
                Verdict::Unauthenticated | Verdict::NarrowToken => {
                    return Err(ApiError::Denied(Rule::PermissionMissing));
                }
            }
            let may_move = registry.policy().may_move_tags(&requester.caller, &write.repository);
            Ok(TagWrite { may_move, ..write })
        })
        .collect::<Result<_, _>>()?;
    match registry.write_tags(requester, writes.clone()).await? {
        WriteTags::Written => Ok(Reply::empty(StatusCode::NO_CONTENT, Freshness::Write)),
        WriteTags::Refused(refused) => {
            let finding = |(place, refusal): &(usize, TagWriteRefusal)| {
                writes.get(*place).map(|write| finding(*place, write, refusal))
            };
            Err(ApiError::TagsRefused(refused.iter().filter_map(finding).collect()))
        }
    }
}

fn finding(place: usize, write: &TagWrite, refusal: &TagWriteRefusal) -> Finding {
    let TagWrite { repository, tag, digest, .. } = write;
    match refusal {
        TagWriteRefusal::ManifestUnknown => {
            let detail = format!("{repository} has no manifest {digest}");
            Finding::new("manifest_unknown", format!("/{place}/digest"), detail)
        }
        TagWriteRefusal::Tag(refusal) => {
            let code = refusal.code();
            let detail = format!("{repository}: {}", tag_refusal(tag, refusal));
            Finding::new(code, format!("/{place}"), detail)
        }
    }
}

fn check(catalog: &str, new: &[Object<NewTag>]) -> Result<Vec<TagWrite>, ApiError> {
    let mut findings = Findings::default();
    if new.len() > TAGS {
        findings.add("tags", "", format!("at most {TAGS} tags are written at once"));
    }
    let mut writes: Vec<TagWrite> = Vec::new();
    let mut named = std::collections::HashSet::new();
    for (place, Object(item)) in new.iter().enumerate().take(TAGS) {
        let repository = item.repository.parse::<RepositoryName>();
        let repository = match repository {
            Ok(repository) if repository.catalog() == catalog => Some(repository),
            Ok(_) => {
                let detail = format!("is not in the catalog {catalog}");
                findings.add("repository", format!("/{place}/repository"), detail);
                None
            }
            Err(error) => {
                findings.add("repository", format!("/{place}/repository"), error);
                None
            }
        };
        let tag = item.tag.parse::<Tag>();
        let tag = tag.map_err(|error| findings.add("tag", format!("/{place}/tag"), error)).ok();
        let mut digest = |text: &str, field: &str| {
            let parsed = text.parse::<Digest>();
            parsed.map_err(|error| findings.add("digest", format!("/{place}/{field}"), error)).ok()
        };
        let target = digest(&item.digest, "digest");
        let condition = match &item.expected {
            None => Some(TagCondition::Any),
            Some(None) => Some(TagCondition::Absent),
            Some(Some(text)) => {
                digest(text, "expected").map(|expected| TagCondition::PointsTo(vec![expected]))
            }
        };
        if let (Some(repository), Some(tag), Some(digest), Some(condition)) =
            (repository, tag, target, condition)
        {
            if !named.insert((repository.clone(), tag.clone())) {
                findings.add("tag", format!("/{place}"), "this tag is named twice");
            }
            writes.push(TagWrite { repository, tag, digest, condition, may_move: false });
        }
    }
    findings.done()?;
    Ok(writes)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRules {
    immutable: Vec<Object<NewRule>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct NewRule {
    repositories: String,
    tags: String,
}

pub async fn rules(registry: &Registry, catalog: &str) -> Result<Reply, ApiError> {
    if registry.catalog(catalog).await?.is_none() {
        return Err(ApiError::Unknown("catalog"));
    }
    Ok(shown_rules(&registry.tag_rules(catalog).await?))
}

fn shown_rules(rules: &[ImmutableTags]) -> Reply {
    let rule = |rule: &ImmutableTags| NewRule {
        repositories: rule.repositories.as_str().to_owned(),
        tags: rule.tags.as_str().to_owned(),
    };
    shown(&json!({ "immutable": rules.iter().map(rule).collect::<Vec<_>>() }))
}

/// Replaces the rules. Tags that stand where they are told to stay are not touched.
pub async fn set_rules(
    registry: &Registry,
    requester: &Requester,
    catalog: &str,
    body: RequestBody,
) -> Result<Reply, ApiError> {
    let Object(new): Object<NewRules> = read(body).await?;
    let mut findings = Findings::default();
    if new.immutable.len() > RULES {
        findings.add("immutable", "/immutable", format!("a catalog has at most {RULES} rules"));
    }
    let mut rules = Vec::new();
    for (place, Object(rule)) in new.immutable.iter().enumerate().take(RULES) {
        let repositories = rule.repositories.parse::<RepositoryGlob>();
        let tags = rule.tags.parse::<TagGlob>();
        if let Err(error) = &repositories {
            findings.add("glob", format!("/immutable/{place}/repositories"), error);
        }
        if let Err(error) = &tags {
            findings.add("glob", format!("/immutable/{place}/tags"), error);
        }
        if let (Ok(repositories), Ok(tags)) = (repositories, tags) {
            if repositories.catalog() != catalog {
                let detail = format!("is not in the catalog {catalog}");
                findings.add("glob", format!("/immutable/{place}/repositories"), detail);
            }
            rules.push(ImmutableTags { repositories, tags });
        }
    }
    findings.done()?;
    let reply = shown_rules(&rules);
    match registry.set_tag_rules(requester, catalog, rules).await? {
        true => Ok(reply),
        false => Err(ApiError::Unknown("catalog")),
    }
}
