//! The paths below `/api/`.

use http::Method;
use uuid::Uuid;

use super::super::query::{AuditQuery, Query};
use super::plugins::{self, View};
use super::{Route, RouteError, is_read, read_only};

pub(super) fn parse(method: &Method, segments: &[&str], query: &Query<'_>) -> Result<Route, RouteError> {
    match segments {
        ["orgs"] => match *method {
            Method::POST => Ok(Route::CreateOrganisation),
            _ if is_read(method) => Ok(Route::ListOrganisations(query.page()?)),
            _ => Err(RouteError::Method { allow: "GET, HEAD, POST" }),
        },
        ["orgs", id] => {
            let id = (*id).to_owned();
            match *method {
                Method::PATCH => Ok(Route::UpdateOrganisation { id }),
                Method::DELETE => Ok(Route::DeleteOrganisation { id }),
                _ if is_read(method) => Ok(Route::GetOrganisation { id }),
                _ => Err(RouteError::Method { allow: "GET, HEAD, PATCH, DELETE" }),
            }
        }
        ["tokens"] => match *method {
            Method::POST => Ok(Route::CreateToken),
            _ if is_read(method) => {
                Ok(Route::ListTokens { catalog: query.single("catalog")?, page: query.page()? })
            }
            _ => Err(RouteError::Method { allow: "GET, HEAD, POST" }),
        },
        // What is no id is the id of no token; who may not manage tokens is told that first.
        ["tokens", id] if method == Method::DELETE => Ok(Route::RevokeToken { id: Uuid::try_parse(id).ok() }),
        ["tokens", _] => Err(RouteError::Method { allow: "DELETE" }),
        ["whoami"] => read_only(method, Route::WhoAmI),
        ["can-i"] if is_read(method) => {
            let (action, repository) = query.question()?;
            Ok(Route::CanI { action, repository })
        }
        ["can-i"] => Err(RouteError::Method { allow: "GET, HEAD" }),
        ["audit"] if is_read(method) => {
            let (after, limit) = (query.number("after")?.unwrap_or(0), query.number("limit")?);
            Ok(Route::Audit(AuditQuery { catalog: query.single("catalog")?, after, limit }))
        }
        ["audit"] => Err(RouteError::Method { allow: "GET, HEAD" }),
        ["catalogs", catalog, "tags"] if method == Method::POST => {
            Ok(Route::WriteTags { catalog: (*catalog).to_owned() })
        }
        ["catalogs", _, "tags"] => Err(RouteError::Method { allow: "POST" }),
        ["catalogs", catalog, "tag-rules"] => {
            let catalog = (*catalog).to_owned();
            match *method {
                Method::PUT => Ok(Route::SetTagRules { catalog }),
                _ if is_read(method) => Ok(Route::GetTagRules { catalog }),
                _ => Err(RouteError::Method { allow: "GET, HEAD, PUT" }),
            }
        }
        ["orgs", id, "plugins", rest @ ..] => {
            plugins::parse(method, View::Organisation((*id).to_owned()), rest, query)
        }
        ["admin", "plugins", rest @ ..] => plugins::parse(method, View::System, rest, query),
        ["orgs", id, "enablements", rest @ ..] => plugins::enablements(method, id, rest),
        ["orgs", id, "orchestrator-plan"] => {
            read_only(method, Route::GetPlan { organisation: (*id).to_owned() })
        }
        ["admin", "blocked-digests", rest @ ..] => plugins::blocks(method, rest, query),
        ["openapi.json"] => read_only(method, Route::OpenApi),
        _ => Err(RouteError::NotFound),
    }
}
