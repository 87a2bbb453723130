//! A JSON Web Token in its compact form: taken apart, then checked claim by claim.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use thiserror::Error;

use super::algorithm::SigningAlgorithm;
use super::claim_pointer::ClaimPointer;

/// Longest token that is looked at, in bytes.
const TOKEN_LIMIT: usize = 16 * 1024;
/// How far the clock of an issuer may be from ours.
const LEEWAY: Duration = Duration::from_secs(60);
/// Longest subject, in characters.
const SUBJECT_LIMIT: usize = 255;

/// Why a token is refused. None of it repeats what the token says.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum Refusal {
    #[error("the token is longer than {TOKEN_LIMIT} bytes")]
    Length,
    #[error("the token is malformed")]
    Malformed,
    #[error("the token has critical headers, and none is understood here")]
    CriticalHeader,
    #[error("the algorithm of the token is not one of this issuer")]
    Algorithm,
    #[error("the keys of the issuer cannot be had at present")]
    NoKeys,
    #[error("none of the issuer's keys made the signature")]
    UnknownKey,
    #[error("the signature is wrong")]
    Signature,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token does not say when it expires")]
    NoExpiry,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the subject is absent, empty, too long or no plain text")]
    Subject,
}

/// A token in its parts. Nothing is checked yet.
#[derive(Clone, Copy)]
pub(super) struct JsonWebToken<'a> {
    header: &'a str,
    payload: &'a str,
    /// What is signed: the first two parts with the dot between them.
    pub message: &'a str,
    pub signature: &'a str,
}

/// What is read of a header. Keys that a token brings along (`jwk`, `jku`, `x5c`, `x5u`) are not.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// Whether a key is there, with whatever value.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'a> JsonWebToken<'a> {
    /// `None`: the text is not three parts.
    pub fn split(token: &'a str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        (!payload.contains('.')).then_some(Self { header, payload, message, signature })
    }

    /// Who says to have made it. Good for finding the issuer, and for nothing else.
    pub fn claimed_issuer(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Claims {
            iss: String,
        }
        decoded::<Claims>(self.payload).map(|claims| claims.iss)
    }

    /// The algorithm and the id of the key, if the header is one that we can follow.
    pub fn signer(
        &self,
        allowed: &[SigningAlgorithm],
    ) -> Result<(SigningAlgorithm, Option<String>), Refusal> {
        if self.message.len() + 1 + self.signature.len() > TOKEN_LIMIT {
            return Err(Refusal::Length);
        }
        let header: Header = decoded(self.header).ok_or(Refusal::Malformed)?;
        if header.crit {
            return Err(Refusal::CriticalHeader);
        }
        let algorithm = SigningAlgorithm::parse(&header.alg).filter(|one| allowed.contains(one));
        Ok((algorithm.ok_or(Refusal::Algorithm)?, header.kid))
    }

    /// The claims. To be believed only after the signature was found good.
    pub fn claims(&self) -> Result<Value, Refusal> {
        decoded(self.payload).ok_or(Refusal::Malformed)
    }
}

/// Reads a part that must be an object: a list would be taken for the fields of a struct in their order.
fn decoded<T: DeserializeOwned>(part: &str) -> Option<T> {
    let text = URL_SAFE_NO_PAD.decode(part).ok()?;
    if !text.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    serde_json::from_slice(&text).ok()
}

/// `aud` holds one of ours.
pub(super) fn check_audience(claims: &Value, audiences: &[String]) -> Result<(), Refusal> {
    let ours = |one: &Value| one.as_str().is_some_and(|text| audiences.iter().any(|own| own == text));
    let held = match claims.get("aud") {
        Some(Value::Array(list)) => list.iter().any(ours),
        Some(one) => ours(one),
        None => false,
    };
    held.then_some(()).ok_or(Refusal::Audience)
}

/// When the token stops being good, with the leeway; an error if it is not good now.
pub(super) fn check_times(claims: &Value, now: SystemTime) -> Result<SystemTime, Refusal> {
    let instant = |claim: &Value| numeric_date(claim).ok_or(Refusal::Malformed);
    let expiry = instant(claims.get("exp").ok_or(Refusal::NoExpiry)?)?;
    let expires = expiry.checked_add(LEEWAY).ok_or(Refusal::Malformed)?;
    if now >= expires {
        return Err(Refusal::Expired);
    }
    if let Some(not_before) = claims.get("nbf")
        && instant(not_before)? > now.checked_add(LEEWAY).ok_or(Refusal::Malformed)?
    {
        return Err(Refusal::NotYetValid);
    }
    Ok(expires)
}

/// Seconds since the epoch (RFC 7519, section 2), perhaps with a fraction.
fn numeric_date(claim: &Value) -> Option<SystemTime> {
    let since = match (claim.as_u64(), claim.as_f64()) {
        (Some(seconds), _) => Duration::from_secs(seconds),
        (None, Some(seconds)) => Duration::try_from_secs_f64(seconds).ok()?,
        (None, None) => return None,
    };
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Whom the token is about.
pub(super) fn subject<'a>(claims: &'a Value, pointer: &ClaimPointer) -> Result<&'a str, Refusal> {
    let subject = pointer.find(claims).and_then(Value::as_str).ok_or(Refusal::Subject)?;
    let plain = !subject.is_empty() && !subject.contains(char::is_control);
    if plain && subject.chars().count() <= SUBJECT_LIMIT { Ok(subject) } else { Err(Refusal::Subject) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::part;
    use super::*;

    #[test]
    fn what_is_no_token() {
        for text in ["", ".", "a.b", "a.b.c.d", "quire_abc"] {
            assert!(JsonWebToken::split(text).is_none(), "{text}");
        }
        for payload in [json!({}), json!({ "iss": 1 }), json!({ "iss": ["a"] }), json!(["a"]), json!("a")] {
            let text = format!("{}.{}.", part(&json!({})), part(&payload));
            assert_eq!(JsonWebToken::split(&text).unwrap().claimed_issuer(), None, "{payload}");
        }
        let twice = URL_SAFE_NO_PAD.encode(r#"{"iss":"a","iss":"b"}"#);
        let text = format!("{}.{twice}.", part(&json!({})));
        assert_eq!(JsonWebToken::split(&text).unwrap().claimed_issuer(), None);
    }

    #[test]
    fn headers() {
        let signer = |header: Value| {
            let text = format!("{}.{}.AAAA", part(&header), part(&json!({})));
            let allowed = [SigningAlgorithm::Rs256, SigningAlgorithm::EdDsa];
            JsonWebToken::split(&text).unwrap().signer(&allowed)
        };
        let rsa = |id: Option<&str>| Ok((SigningAlgorithm::Rs256, id.map(str::to_owned)));
        assert_eq!(signer(json!({ "alg": "RS256", "kid": "a" })), rsa(Some("a")));
        assert_eq!(signer(json!({ "alg": "RS256", "typ": 7, "jwk": 7, "x5c": "x", "jku": [] })), rsa(None));
        for algorithm in ["none", "None", "", "HS256", "ES256", "RS512", "PS256", "rs256", "ES256K"] {
            assert_eq!(signer(json!({ "alg": algorithm })), Err(Refusal::Algorithm), "{algorithm}");
        }
        for crit in [json!(["b64"]), json!([]), json!(null), json!("exp")] {
            let header = json!({ "alg": "RS256", "crit": crit });
            assert_eq!(signer(header), Err(Refusal::CriticalHeader), "{crit}");
        }
        for header in [
            json!({}),
            json!({ "alg": ["RS256"] }),
            json!({ "alg": "RS256", "kid": 1 }),
            json!(["RS256", "a"]),
        ] {
            assert_eq!(signer(header.clone()), Err(Refusal::Malformed), "{header}");
        }
        let long = "a".repeat(TOKEN_LIMIT);
        assert_eq!(signer(json!({ "alg": "RS256", "kid": long })), Err(Refusal::Length));
    }

    #[test]
    fn audiences() {
        let ours = ["https://quire.example".to_owned(), "quire".to_owned()];
        for (audience, held) in [
            (json!("quire"), true),
            (json!(["other", "https://quire.example"]), true),
            (json!([1, null, "quire"]), true),
            (json!("https://quire.example/"), false),
            (json!("Quire"), false),
            (json!(["quire x"]), false),
            (json!([["quire"]]), false),
            (json!({ "quire": "quire" }), false),
            (json!(null), false),
            (json!([]), false),
        ] {
            assert_eq!(check_audience(&json!({ "aud": audience }), &ours).is_ok(), held, "{audience}");
        }
        assert_eq!(check_audience(&json!({}), &ours), Err(Refusal::Audience));
    }

    #[test]
    fn times_have_a_leeway() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let check = |claims| check_times(&claims, at(10_000));
        let far = 4_000_000_000_u64;
        for (claims, expected) in [
            (json!({ "exp": 10_100 }), Ok(at(10_160))),
            (json!({ "exp": 10_100.5 }), Ok(at(10_160) + Duration::from_millis(500))),
            (json!({ "exp": 9_941 }), Ok(at(10_001))),
            (json!({ "exp": 9_940 }), Err(Refusal::Expired)),
            (json!({ "exp": 0 }), Err(Refusal::Expired)),
            (json!({ "exp": far }), Ok(at(far + 60))),
            (json!({}), Err(Refusal::NoExpiry)),
            (json!({ "exp": null }), Err(Refusal::Malformed)),
            (json!({ "exp": "10100" }), Err(Refusal::Malformed)),
            (json!({ "exp": -1 }), Err(Refusal::Malformed)),
            (json!({ "exp": 1e300 }), Err(Refusal::Malformed)),
            (json!({ "exp": u64::MAX }), Err(Refusal::Malformed)),
            (json!({ "exp": far, "nbf": 10_060 }), Ok(at(far + 60))),
            (json!({ "exp": far, "nbf": 10_061 }), Err(Refusal::NotYetValid)),
            (json!({ "exp": far, "nbf": "0" }), Err(Refusal::Malformed)),
            (json!({ "exp": far, "nbf": null }), Err(Refusal::Malformed)),
        ] {
            assert_eq!(check(claims.clone()), expected, "{claims}");
        }
    }

    #[test]
    fn subjects() {
        let pointer = ClaimPointer::subject();
        let check = |claim: Value| subject(&json!({ "sub": claim }), &pointer).map(str::to_owned);
        assert_eq!(check(json!("repo:acme/plugins")), Ok("repo:acme/plugins".to_owned()));
        assert!(check(json!("ä".repeat(255))).is_ok());
        for bad in
            [json!(""), json!("a\nb"), json!("a\u{0}"), json!("\u{85}"), json!(7), json!(["a"]), json!(null)]
        {
            assert_eq!(check(bad.clone()), Err(Refusal::Subject), "{bad}");
        }
        assert_eq!(check(json!("ä".repeat(256))), Err(Refusal::Subject));
        assert_eq!(subject(&json!({}), &pointer), Err(Refusal::Subject));
    }
}
