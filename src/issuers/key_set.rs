//! The keys of an issuer: a JWK set (RFC 7517) read key by key, or one shared secret.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::algorithm::SigningAlgorithm;

/// Most keys that are used of a set.
const KEY_LIMIT: usize = 64;
/// Most keys that are tried for one token.
const TRIAL_LIMIT: usize = 16;
/// Fewest bits of an RSA modulus, from RFC 7518, section 3.3.
const RSA_BITS: usize = 2048;

/// The text is no JWK set: an object with a list `keys`.
#[derive(Debug, Error)]
#[error("no JWK set: {0}")]
pub(super) struct KeySetError(#[from] serde_json::Error);

/// One key, good for one algorithm.
struct Key {
    id: Option<String>,
    algorithm: SigningAlgorithm,
    decoding: DecodingKey,
}

/// Every key that is good for anything here.
pub(super) struct KeySet {
    keys: Vec<Key>,
}

/// What the keys have to say about a signature.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum SignatureCheck {
    Good,
    /// By a key that the token names.
    Bad,
    /// No key was named and none of them made it, or the one named is not here: a newer set may know more.
    UnknownKey,
}

impl KeySet {
    /// Reads a set. A key that we cannot use is passed over, because issuers may publish keys of any kind for
    /// others; so a set may be empty.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(text)?;
        Ok(Self { keys: set.keys.iter().filter_map(usable).take(KEY_LIMIT).collect() })
    }

    /// The one secret of an issuer, which no token needs to name.
    pub fn of_secret(secret: &[u8]) -> Self {
        let decoding = DecodingKey::from_secret(secret);
        Self { keys: vec![Key { id: None, algorithm: SigningAlgorithm::Hs256, decoding }] }
    }

    /// Whether any key is good for one of the algorithms.
    pub fn fits(&self, algorithms: &[SigningAlgorithm]) -> bool {
        self.keys.iter().any(|key| algorithms.contains(&key.algorithm))
    }

    /// Checks a signature with the key that the token names, or with every key of its algorithm.
    pub fn check(
        &self,
        algorithm: SigningAlgorithm,
        key_id: Option<&str>,
        message: &str,
        signature: &str,
    ) -> SignatureCheck {
        let named = |key: &&Key| key_id.is_none() || key.id.as_deref() == key_id;
        let mut candidates = self.keys.iter().filter(named).peekable();
        if candidates.peek().is_none() {
            return SignatureCheck::UnknownKey;
        }
        let made = |key: &Key| {
            let algorithm = algorithm.of_library();
            let verified =
                jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.decoding, algorithm);
            matches!(verified, Ok(true))
        };
        let mut fitting = candidates.filter(|key| key.algorithm == algorithm).take(TRIAL_LIMIT);
        match (fitting.any(made), key_id) {
            (true, _) => SignatureCheck::Good,
            (false, Some(_)) => SignatureCheck::Bad,
            (false, None) => SignatureCheck::UnknownKey,
        }
    }
}

/// What is read of a JWK. Shared secrets (`oct`) have no place in a set that is published.
#[derive(Deserialize)]
struct JsonWebKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn usable(key: &Value) -> Option<Key> {
    let key = JsonWebKey::deserialize(key.as_object()?).ok()?;
    let decode = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    let coordinate = |text: &Option<String>| decode(text).filter(|bytes| bytes.len() == 32);
    let (algorithm, decoding) = match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", _) => {
            let (modulus, exponent) = (decode(&key.n)?, decode(&key.e)?);
            if bits(&modulus) < RSA_BITS {
                return None;
            }
            (SigningAlgorithm::Rs256, DecodingKey::from_rsa_raw_components(&modulus, &exponent))
        }
        ("EC", Some("P-256")) => {
            let point = [vec![0x04], coordinate(&key.x)?, coordinate(&key.y)?].concat();
            (SigningAlgorithm::Es256, DecodingKey::from_ec_der(&point))
        }
        ("OKP", Some("Ed25519")) => (SigningAlgorithm::EdDsa, DecodingKey::from_ed_der(&coordinate(&key.x)?)),
        _ => return None,
    };
    let signs = key.usage.is_none_or(|usage| usage == "sig");
    let verifies = key.key_ops.is_none_or(|operations| operations.iter().any(|one| one == "verify"));
    let meant = key.alg.is_none_or(|name| name == algorithm.as_str());
    (signs && verifies && meant).then_some(Key { id: key.kid, algorithm, decoding })
}

/// The length of a big-endian number without its leading zeros.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    match number.get(zeros) {
        Some(first) => (number.len() - zeros) * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{RSA, TestKey, key_set};
    use super::*;

    fn count(keys: &Value) -> usize {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap().keys.len()
    }

    fn with(key: &TestKey, change: &[(&str, Value)]) -> Value {
        let mut jwk = key.jwk.clone();
        for (name, value) in change {
            jwk[*name] = value.clone();
        }
        json!([jwk])
    }

    #[test]
    fn what_cannot_be_used_is_passed_over() {
        let (ec, ed) = (TestKey::ec("ec-1"), TestKey::ed("ed-1"));
        assert_eq!(count(&json!([RSA.jwk, ec.jwk, ed.jwk])), 3);
        let strange = json!([
            { "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" },
            { "kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256" },
            { "kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA" },
            { "kty": "OKP", "crv": "X25519", "x": ed.jwk["x"] },
            { "kty": 7 },
            "text", null, [], {}
        ]);
        assert_eq!(count(&strange), 0);
        for (key, name, value) in [
            (&*RSA, "use", json!("enc")),
            (&*RSA, "alg", json!("RS512")),
            (&*RSA, "alg", json!("HS256")),
            (&*RSA, "alg", json!("RSA-OAEP")),
            (&*RSA, "key_ops", json!(["encrypt"])),
            (&*RSA, "n", json!("AAAA")),
            (&*RSA, "n", json!("not base64!")),
            (&*RSA, "kid", json!(1)),
            (&ec, "alg", json!("RS256")),
            (&ec, "x", json!("AAAA")),
            (&ec, "kty", json!("RSA")),
            (&ed, "alg", json!("ES256")),
            (&ed, "x", Value::Null),
        ] {
            assert_eq!(count(&with(key, &[(name, value.clone())])), 0, "{name} {value}");
        }
        assert_eq!(count(&with(&RSA, &[("use", Value::Null), ("alg", Value::Null)])), 1);
    }

    #[test]
    fn weak_keys_are_passed_over() {
        let bits_of = |text: &Value| bits(&URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap());
        assert_eq!(bits_of(&RSA.jwk["n"]), 2048);
        assert_eq!(bits(&[0, 0, 1]), 1);
        assert_eq!(bits(&[0, 0]), 0);
        let mut modulus = URL_SAFE_NO_PAD.decode(RSA.jwk["n"].as_str().unwrap()).unwrap();
        modulus[0] = 0x7f;
        let short = json!(URL_SAFE_NO_PAD.encode(&modulus));
        assert_eq!(count(&with(&RSA, &[("n", short)])), 0, "2047 bits");
        let padded = [vec![0; 128], vec![0x80; 128]].concat();
        let padded = json!(URL_SAFE_NO_PAD.encode(padded));
        assert_eq!(count(&with(&RSA, &[("n", padded)])), 0, "1024 bits behind zeros");
    }

    #[test]
    fn a_set_is_bounded_and_an_object() {
        let many = vec![RSA.jwk.clone(); KEY_LIMIT + 10];
        assert_eq!(count(&json!(many)), KEY_LIMIT);
        for text in ["", "[]", "{}", "null", r#"{"keys":{}}"#, r#"{"keys":[]} x"#] {
            assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn each_key_verifies_its_own_algorithm_only() {
        let (ec, ed) = (TestKey::ec("same"), TestKey::ed("same"));
        let rsa = RSA.named("same");
        let all = [SigningAlgorithm::Rs256, SigningAlgorithm::Es256, SigningAlgorithm::EdDsa];
        for key in [&rsa, &ec, &ed] {
            let token = key.token(&json!({}));
            let (message, signature) = token.rsplit_once('.').unwrap();
            let set = KeySet::parse(key_set(&[&rsa, &ec, &ed]).as_bytes()).unwrap();
            for algorithm in all {
                let own = algorithm.of_library() == key.algorithm;
                let named = set.check(algorithm, Some("same"), message, signature);
                assert_eq!(named == SignatureCheck::Good, own, "{algorithm:?}");
                let unnamed = set.check(algorithm, None, message, signature);
                assert_eq!(unnamed == SignatureCheck::Good, own, "{algorithm:?}");
            }
            let other = set.check(SigningAlgorithm::Rs256, Some("other"), message, signature);
            assert_eq!(other, SignatureCheck::UnknownKey);
            let secret = set.check(SigningAlgorithm::Hs256, Some("same"), message, signature);
            assert_eq!(secret, SignatureCheck::Bad);
        }
    }

    #[test]
    fn a_token_without_a_key_id_costs_few_trials() {
        let keys: Vec<TestKey> = (0..=TRIAL_LIMIT).map(|index| TestKey::ed(&index.to_string())).collect();
        let set = KeySet::parse(key_set(&keys.iter().collect::<Vec<_>>()).as_bytes()).unwrap();
        let check = |key: &TestKey| {
            let token = key.token(&json!({}));
            let (message, signature) = token.rsplit_once('.').unwrap();
            set.check(SigningAlgorithm::EdDsa, None, message, signature)
        };
        assert_eq!(check(&keys[TRIAL_LIMIT - 1]), SignatureCheck::Good);
        assert_eq!(check(&keys[TRIAL_LIMIT]), SignatureCheck::UnknownKey);
        let other = TestKey::ec("other");
        let mixed = [vec![&other; TRIAL_LIMIT], vec![&keys[0]]].concat();
        let set = KeySet::parse(key_set(&mixed).as_bytes()).unwrap();
        let token = keys[0].token(&json!({}));
        let (message, signature) = token.rsplit_once('.').unwrap();
        let found = set.check(SigningAlgorithm::EdDsa, None, message, signature);
        assert_eq!(found, SignatureCheck::Good, "keys of other algorithms are no trials");
    }
}
