//! Short tokens: what `/token` signs for five minutes and every route reads without asking anybody.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::{SERVICE, SigningKey, TOKEN_LIFE, TokenError, VerifyingKey};
use crate::access::{Action, Grant, Permission, Principal, TokenScope};

/// How far clocks may be apart.
const LEEWAY: u64 = 5;

/// The content of a short token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortToken {
    pub owner: Owner,
    pub scopes: Vec<TokenScope>,
    /// The scope `registry:catalog:*`.
    pub lists_catalog: bool,
    /// When it stops working.
    pub expires: SystemTime,
}

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    Nobody,
    /// Somebody whose grants are looked up now, by what [`Principal::credential`] says.
    Credential(String),
    /// Somebody whom an issuer vouched for: nobody here keeps their grants, so the token does.
    Carried(Principal),
}

/// Signs and reads short tokens.
pub struct Tokens {
    signing: SigningKey,
    verifying: Vec<(String, DecodingKey)>,
    validation: Validation,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    /// Which credential it was made from.
    credential: String,
    access: Vec<AccessClaim>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grants: Option<Vec<GrantClaim>>,
}

#[derive(Serialize, Deserialize)]
struct AccessClaim {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct GrantClaim {
    catalog: String,
    everywhere: bool,
    permissions: Vec<String>,
    moves_tags: bool,
    name: String,
    repositories: Option<Vec<String>>,
}

impl GrantClaim {
    fn of(grant: &Grant) -> Self {
        let only = grant.only.as_ref();
        Self {
            catalog: grant.catalog.clone(),
            everywhere: grant.everywhere,
            permissions: grant.permissions.iter().map(|permission| permission.as_str().to_owned()).collect(),
            moves_tags: grant.moves_tags,
            name: grant.name.clone(),
            repositories: only.map(|globs| globs.iter().map(|glob| glob.as_str().to_owned()).collect()),
        }
    }

    fn grant(self) -> Result<Grant, TokenError> {
        let parse = |globs: Vec<String>| globs.iter().map(|glob| glob.parse()).collect::<Result<_, _>>();
        Ok(Grant {
            catalog: self.catalog,
            everywhere: self.everywhere,
            permissions: self.permissions.iter().filter_map(|text| Permission::parse(text)).collect(),
            moves_tags: self.moves_tags,
            name: self.name,
            only: self.repositories.map(parse).transpose().map_err(|_| TokenError::Invalid)?,
        })
    }
}

impl Tokens {
    /// `earlier` are keys that were replaced but whose tokens may still live.
    pub fn new(signing: SigningKey, earlier: &[VerifyingKey]) -> Self {
        let keys = std::iter::once(signing.verifying()).chain(earlier);
        let verifying = keys.map(|key| (key.id.clone(), DecodingKey::from_ed_der(&key.public))).collect();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[SERVICE]);
        validation.set_issuer(&[SERVICE]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        Self { signing, verifying, validation }
    }

    /// Signs the scopes that somebody was granted; it never outlives the credential that it is made from.
    /// `owner` is `None` for an anonymous caller.
    pub fn sign(
        &self,
        owner: Option<&Principal>,
        scopes: &[TokenScope],
        lists_catalog: bool,
        now: SystemTime,
    ) -> Result<String, TokenError> {
        let seconds =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs());
        let issued = seconds(now).map_err(|_| TokenError::Invalid)?;
        let ends = owner.and_then(|owner| owner.expires).and_then(|ends| seconds(ends).ok());
        let expires = ends.unwrap_or(u64::MAX).min(issued + TOKEN_LIFE.as_secs());
        let mut access: Vec<AccessClaim> = scopes
            .iter()
            .map(|scope| AccessClaim {
                kind: "repository".into(),
                name: scope.repository.to_string(),
                actions: scope.actions.iter().map(|action| action.as_str().to_owned()).collect(),
            })
            .collect();
        if lists_catalog {
            access.push(AccessClaim {
                kind: "registry".into(),
                name: "catalog".into(),
                actions: vec!["*".into()],
            });
        }
        let grants = owner
            .filter(|owner| owner.is_vouched_for())
            .map(|owner| owner.grants.iter().map(GrantClaim::of).collect());
        let claims = Claims {
            iss: SERVICE.into(),
            aud: SERVICE.into(),
            sub: owner.map(|owner| owner.subject.clone()).unwrap_or_default(),
            iat: issued,
            nbf: issued,
            exp: expires,
            credential: owner.map(|owner| owner.credential.clone()).unwrap_or_default(),
            access,
            grants,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.signing.verifying().id.clone());
        jsonwebtoken::encode(&header, &claims, &self.signing.encoding).map_err(|_| TokenError::Key)
    }

    /// Reads a token that one of our keys signed. Whether its owner still may anything is not decided here.
    pub fn verify(&self, token: &str) -> Result<ShortToken, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let key = self.verifying.iter().find(|(id, _)| header.kid.as_ref() == Some(id));
        let (_, key) = key.ok_or(TokenError::Invalid)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(claims.exp.saturating_add(LEEWAY));
        let owner = match (claims.sub, claims.grants) {
            (subject, None) if subject.is_empty() => Owner::Nobody,
            (_, None) => Owner::Credential(claims.credential),
            (subject, Some(grants)) => Owner::Carried(Principal {
                subject,
                grants: grants.into_iter().map(GrantClaim::grant).collect::<Result<_, _>>()?,
                credential: claims.credential,
                expires: Some(expires),
            }),
        };
        let mut short = ShortToken { owner, scopes: Vec::new(), lists_catalog: false, expires };
        for access in claims.access {
            match (access.kind.as_str(), access.name.parse()) {
                ("repository", Ok(repository)) => short.scopes.push(TokenScope {
                    repository,
                    actions: access.actions.iter().filter_map(|word| Action::parse(word)).collect(),
                }),
                ("registry", _) if access.name == "catalog" => short.lists_catalog = true,
                _ => return Err(TokenError::Invalid),
            }
        }
        Ok(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn scopes() -> Vec<TokenScope> {
        vec![TokenScope { repository: "acme/a".parse().unwrap(), actions: vec![Action::Pull] }]
    }

    fn tokens() -> Tokens {
        Tokens::new(SigningKey::generate().unwrap().0, &[])
    }

    fn principal() -> Principal {
        let only = Some(vec!["acme/a*".parse().unwrap()]);
        Principal {
            subject: "jwt:ci:somebody".into(),
            grants: vec![Role::Contributor.on("acme").unwrap().narrowed(only)],
            credential: "issuer:ci".into(),
            expires: None,
        }
    }

    #[test]
    fn what_was_signed_is_read() {
        let (tokens, principal) = (tokens(), Principal { credential: "token:x".into(), ..principal() });
        let token = tokens.sign(Some(&principal), &scopes(), true, SystemTime::now()).unwrap();
        let read = tokens.verify(&token).unwrap();
        assert_eq!(read.owner, Owner::Credential("token:x".into()));
        assert_eq!((read.scopes, read.lists_catalog), (scopes(), true));
        let token = tokens.sign(None, &[], false, SystemTime::now()).unwrap();
        assert_eq!(tokens.verify(&token).unwrap().owner, Owner::Nobody);
    }

    #[test]
    fn grants_are_carried_whole() {
        let (tokens, principal) = (tokens(), principal());
        let token = tokens.sign(Some(&principal), &scopes(), false, SystemTime::now()).unwrap();
        let read = tokens.verify(&token).unwrap();
        let Owner::Carried(owner) = read.owner else { panic!("{read:?}") };
        assert_eq!((owner.subject, owner.grants), (principal.subject, principal.grants));
        assert_eq!(owner.expires, Some(read.expires));
    }

    #[test]
    fn a_token_never_outlives_its_credential() {
        let (tokens, now) = (tokens(), SystemTime::now());
        let soon = Principal { expires: Some(now + Duration::from_secs(20)), ..principal() };
        let token = tokens.sign(Some(&soon), &[], false, now).unwrap();
        assert!(tokens.verify(&token).unwrap().expires <= now + Duration::from_secs(20 + LEEWAY));
    }

    #[test]
    fn a_replaced_key_verifies_while_it_is_listed() {
        let (old, _) = SigningKey::generate().unwrap();
        let token = Tokens::new(old.clone(), &[]).sign(None, &[], false, SystemTime::now()).unwrap();
        let (new, _) = SigningKey::generate().unwrap();
        let listed = Tokens::new(new.clone(), &[old.verifying().clone()]);
        assert!(listed.verify(&token).is_ok());
        assert!(Tokens::new(new, &[]).verify(&token).is_err());
    }

    #[test]
    fn altered_and_expired_tokens_are_refused() {
        let tokens = tokens();
        let long_ago = SystemTime::now() - TOKEN_LIFE - Duration::from_secs(60);
        let expired = tokens.sign(None, &scopes(), false, long_ago).unwrap();
        assert!(tokens.verify(&expired).is_err());
        let token = tokens.sign(None, &scopes(), false, SystemTime::now()).unwrap();
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
        let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let altered = URL_SAFE_NO_PAD.encode(
            String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap().replace("acme/a", "acme/b"),
        );
        for forged in [
            format!("{unsigned}.{claims}."),
            format!("{header}.{altered}.{signature}"),
            format!("{header}.{claims}."),
            String::new(),
            "..".to_owned(),
        ] {
            assert!(tokens.verify(&forged).is_err(), "{forged}");
        }
    }
}
