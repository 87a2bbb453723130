//! The key by which the nodes of a registry know each other.

use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::TokenError;

/// Bytes of a key.
const LENGTH: usize = 32;

/// What nodes sign for each other. A signature for one purpose is none for another.
#[derive(Debug, Clone, Copy)]
pub enum NodePurpose {
    /// A node answers to a challenge.
    Proof,
    /// A node passes on a request.
    Forward,
}

impl NodePurpose {
    fn text(self) -> &'static [u8] {
        match self {
            Self::Proof => b"quire-node-proof/1",
            Self::Forward => b"quire-forward/1",
        }
    }
}

/// An HMAC-SHA-256 key that every node of a registry has, and nobody else.
pub struct NodeKey(hmac::Key);

impl NodeKey {
    /// The bytes of a new key, to be kept.
    pub fn generate() -> Result<Vec<u8>, TokenError> {
        random(LENGTH)
    }

    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Signs texts, each as it is: none can run into the next.
    pub fn sign(&self, purpose: NodePurpose, texts: &[&[u8]]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &message(purpose, texts)))
    }

    /// Compares in constant time.
    pub fn verify(&self, purpose: NodePurpose, texts: &[&[u8]], signature: &str) -> bool {
        let signature = URL_SAFE_NO_PAD.decode(signature);
        signature.is_ok_and(|tag| hmac::verify(&self.0, &message(purpose, texts), &tag).is_ok())
    }
}

/// Something that nobody has asked before.
pub fn challenge() -> Result<String, TokenError> {
    Ok(URL_SAFE_NO_PAD.encode(random(LENGTH)?))
}

fn random(length: usize) -> Result<Vec<u8>, TokenError> {
    let mut bytes = vec![0; length];
    rand::fill(&mut bytes).map_err(|_| TokenError::Random)?;
    Ok(bytes)
}

fn message(purpose: NodePurpose, texts: &[&[u8]]) -> Vec<u8> {
    let mut message = purpose.text().to_vec();
    for text in texts {
        message.extend((text.len() as u64).to_be_bytes());
        message.extend(*text);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_key_one_purpose_and_these_texts() {
        let key = NodeKey::new(&NodeKey::generate().unwrap());
        let texts: [&[u8]; 2] = [b"PATCH", b"/v2/"];
        let signature = key.sign(NodePurpose::Forward, &texts);
        assert!(key.verify(NodePurpose::Forward, &texts, &signature));
        assert!(!key.verify(NodePurpose::Proof, &texts, &signature));
        for other in
            [&[&b"PATCH/"[..], b"v2/"][..], &[b"PATCH"], &[b"PATCH", b"/v2/", b""], &[b"PUT", b"/v2/"]]
        {
            assert!(!key.verify(NodePurpose::Forward, other, &signature), "{other:?}");
        }
        let stranger = NodeKey::new(&NodeKey::generate().unwrap());
        assert!(!stranger.verify(NodePurpose::Forward, &texts, &signature));
        for damaged in ["", "!", &signature[1..], &format!("{signature}A")] {
            assert!(!key.verify(NodePurpose::Forward, &texts, damaged), "{damaged}");
        }
        assert_ne!(challenge().unwrap(), challenge().unwrap());
    }
}
