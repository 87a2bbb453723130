//! The Authorization header, and the challenge for those who have no credential.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, HeaderValue};

use super::route::Need;
use crate::access::Action;
use crate::token::SERVICE;

/// A request with several Authorization headers says nothing that could be believed.
pub struct MoreThanOne;

/// The Authorization header, if there is one.
pub fn single(headers: &HeaderMap) -> Result<Option<&HeaderValue>, MoreThanOne> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(MoreThanOne),
    }
}

/// The token of Bearer, or the password of Basic with whatever user name. `None`: neither.
pub fn credential(value: &HeaderValue) -> Option<String> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        Some(rest.to_owned())
    } else if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        decoded.split_once(':').map(|(_, password)| password.to_owned())
    } else {
        None
    }
}

/// The value of WWW-Authenticate. The realm is absolute: the configured URL, or else how the client came here.
pub fn challenge(
    public_url: Option<&str>,
    headers: &HeaderMap,
    authority: Option<&str>,
    need: Need<'_>,
) -> String {
    // A short token is no good there, so nobody is sent for one.
    if let Need::Known | Need::Permission(..) | Need::Members(_) = need {
        return format!("Bearer realm=\"{SERVICE}\"");
    }
    let host = authority.or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
    let host = host.filter(|host| host.parse::<http::uri::Authority>().is_ok()).unwrap_or("localhost");
    let realm = match public_url {
        Some(url) => format!("{url}/token"),
        None => format!("http://{host}/token"),
    };
    let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{SERVICE}\"");
    match need {
        Need::Nothing | Need::Credential | Need::Known | Need::Permission(..) | Need::Members(_) => {}
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
