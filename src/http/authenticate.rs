//! From the Authorization header to a caller, and the challenge for those who have none.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};

use super::query::TokenQuery;
use super::route::Need;
use crate::access::{Action, Caller, Grant, Policy, Scoped};
use crate::token::{AdminToken, SERVICE, TokenError, Tokens};

/// What this server accepts as a credential.
pub struct Credentials {
    pub admin: AdminToken,
    pub tokens: Tokens,
}

impl Credentials {
    /// `None`: there is a credential, and it is not good.
    pub fn authenticate(&self, headers: &HeaderMap) -> Option<Caller> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Some(Caller::Anonymous) };
        if values.next().is_some() {
            return None;
        }
        let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            self.bearer(rest)
        } else if scheme.eq_ignore_ascii_case("basic") {
            let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
            let (_, password) = decoded.split_once(':')?;
            self.admin.matches(password).then_some(Caller::Admin)
        } else {
            None
        }
    }

    fn bearer(&self, token: &str) -> Option<Caller> {
        if self.admin.matches(token) {
            return Some(Caller::Admin);
        }
        let live = |credential: &str| credential == self.admin.fingerprint();
        let scoped = self.tokens.verify(token, live).ok()?;
        // An anonymous token has no power of its own: what is public is decided now, and not when it was made.
        if scoped.subject.is_empty() {
            return Some(Caller::Anonymous);
        }
        Some(Caller::Scoped(Arc::new(scoped)))
    }

    /// A short token with what the caller may do of what was asked for.
    pub fn issue(&self, policy: &Policy, caller: &Caller, query: &TokenQuery) -> Result<String, TokenError> {
        let mut grants = Vec::new();
        for (repository, asked) in &query.repositories {
            let actions = policy.granted(caller, repository, asked);
            if !actions.is_empty() {
                grants.push(Grant { repository: repository.clone(), actions });
            }
        }
        let lists_catalog = query.lists_catalog && !caller.is_anonymous();
        let scoped = Scoped { subject: caller.subject().to_owned(), grants, lists_catalog };
        let credential = if caller.is_anonymous() { String::new() } else { self.admin.fingerprint() };
        self.tokens.sign(&scoped, &credential, SystemTime::now())
    }
}

/// The value of WWW-Authenticate. The realm is absolute: the configured URL, or else how the client came here.
pub fn challenge(
    public_url: Option<&str>,
    headers: &HeaderMap,
    authority: Option<&str>,
    need: Need<'_>,
) -> String {
    let host = authority.or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
    let host = host.filter(|host| host.parse::<http::uri::Authority>().is_ok()).unwrap_or("localhost");
    let realm = match public_url {
        Some(url) => format!("{url}/token"),
        None => format!("http://{host}/token"),
    };
    let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{SERVICE}\"");
    match need {
        Need::Nothing | Need::Credential => {}
        Need::Listing => challenge.push_str(",scope=\"registry:catalog:*\""),
        Need::Repository(action, repository) => {
            let actions = match action {
                Action::Pull => "pull",
                Action::Push => "pull,push",
                Action::Delete => "delete",
            };
            challenge.push_str(&format!(",scope=\"repository:{repository}:{actions}\""));
        }
    }
    challenge
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_realm_is_how_the_client_came_or_what_is_configured() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("registry.test:5000"));
        let repository = "acme/a".parse().unwrap();
        let need = Need::Repository(Action::Push, &repository);
        assert_eq!(
            challenge(None, &headers, None, need),
            "Bearer realm=\"http://registry.test:5000/token\",service=\"quire\",scope=\"repository:acme/a:pull,push\""
        );
        assert_eq!(
            challenge(Some("https://r.test"), &headers, None, Need::Credential),
            "Bearer realm=\"https://r.test/token\",service=\"quire\""
        );
        assert!(challenge(None, &headers, None, Need::Listing).ends_with(",scope=\"registry:catalog:*\""));
        headers.insert(HOST, HeaderValue::from_static("a\",evil=\"b"));
        assert!(!challenge(None, &headers, None, Need::Credential).contains("evil"));
    }
}
