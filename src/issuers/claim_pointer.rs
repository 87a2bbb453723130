//! JSON pointers (RFC 6901) to claims.

use serde::Deserialize;
use serde_json::Value;

/// Points to one claim, as in `/org_ids` or `/realm_access/roles`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ClaimPointer(String);

impl ClaimPointer {
    /// The claim `sub`.
    pub fn subject() -> Self {
        Self("/sub".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `None`: the token does not have the claim.
    pub fn find<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        claims.pointer(&self.0)
    }
}

impl TryFrom<String> for ClaimPointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let escapes_well = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if text.starts_with('/') && escapes_well {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is no JSON pointer; the claim `sub` is written \"/sub\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_lead_to_claims() {
        let claims = json!({ "sub": "a", "https://x/roles": { "all": ["r"] } });
        let find = |text: &str| ClaimPointer::try_from(text.to_owned()).unwrap().find(&claims).cloned();
        assert_eq!(find("/sub"), Some(json!("a")));
        assert_eq!(find("/https:~1~1x~1roles/all/0"), Some(json!("r")));
        assert_eq!(find("/none"), None);
        for text in ["", "sub", "/a~", "/a~2"] {
            assert!(ClaimPointer::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
