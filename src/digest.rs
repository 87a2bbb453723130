//! Digests: parsing, printing, and hashing that can be stopped and taken up again.

use std::fmt;
use std::str::FromStr;

use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest as _, Sha256 as Sha256State, Sha512 as Sha512State};
use thiserror::Error;

/// The SHA-256 of some bytes: the identity of everything that Quire keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Hashes bytes that are already in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256State::digest(bytes).into())
    }

    /// Parses 64 lower-case hexadecimal digits.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        decode_hex(hex).map(Self)
    }

    /// The 64 lower-case hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        encode_hex(&self.0)
    }

    /// Reads the 32 bytes that a store kept; `None` when there are not 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The algorithms that Quire can compute, and therefore accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::Algorithm),
        }
    }
}

/// A digest as a client writes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Digest {
    Sha256(Sha256),
    Sha512([u8; 64]),
}

impl Digest {
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The bytes of the hash: 32 or 64 of them.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(sha256) => &sha256.0,
            Self::Sha512(bytes) => bytes,
        }
    }
}

impl From<Sha256> for Digest {
    fn from(sha256: Sha256) -> Self {
        Self::Sha256(sha256)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError::Shape)?;
        match algorithm.parse()? {
            Algorithm::Sha256 => Sha256::from_hex(hex).map(Self::Sha256),
            Algorithm::Sha512 => decode_hex(hex).map(Self::Sha512),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(sha256) => fmt::Display::fmt(sha256, f),
            Self::Sha512(bytes) => write!(f, "sha512:{}", encode_hex(bytes)),
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no digest.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum DigestError {
    #[error("a digest is written <algorithm>:<hex>")]
    Shape,
    #[error("the digest algorithm is neither sha256 nor sha512")]
    Algorithm,
    #[error("sha256 takes 64 and sha512 takes 128 lower-case hexadecimal digits")]
    Hex,
}

/// Every digest that was computed over one stream of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digests {
    pub sha256: Sha256,
    /// Present when the client asked for it.
    pub sha512: Option<[u8; 64]>,
}

impl Digests {
    /// The digest in the algorithm asked for, if it was computed.
    pub fn get(&self, algorithm: Algorithm) -> Option<Digest> {
        match algorithm {
            Algorithm::Sha256 => Some(Digest::Sha256(self.sha256)),
            Algorithm::Sha512 => self.sha512.map(Digest::Sha512),
        }
    }
}

/// A running hash. SHA-256 is always computed, SHA-512 beside it when a client names it.
#[derive(Clone)]
pub struct Hasher {
    sha256: Sha256State,
    sha512: Option<Sha512State>,
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        Self { sha256: Sha256State::new(), sha512: (algorithm == Algorithm::Sha512).then(Sha512State::new) }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
    }

    pub fn finish(self) -> Digests {
        Digests {
            sha256: Sha256(self.sha256.finalize().into()),
            sha512: self.sha512.map(|state| state.finalize().into()),
        }
    }

    /// Whether a digest in this algorithm will come out of [`Hasher::finish`].
    pub fn computes(&self, algorithm: Algorithm) -> bool {
        algorithm == Algorithm::Sha256 || self.sha512.is_some()
    }

    /// The inner state, to be kept and given to [`Hasher::restore`] later, by another process too.
    ///
    /// The first byte is the version of this format; `spec/storage.md` describes it.
    pub fn save(&self) -> Vec<u8> {
        let mut saved = vec![STATE_FORMAT];
        saved.extend_from_slice(&self.sha256.serialize());
        if let Some(sha512) = &self.sha512 {
            saved.extend_from_slice(&sha512.serialize());
        }
        saved
    }

    /// `None` when the state is of another format, or damaged.
    pub fn restore(saved: &[u8]) -> Option<Self> {
        let (&format, rest) = saved.split_first()?;
        if format != STATE_FORMAT {
            return None;
        }
        let sha256_length = Sha256State::new().serialize().len();
        let (sha256, sha512) = rest.split_at_checked(sha256_length)?;
        Some(Self {
            sha256: Sha256State::deserialize(sha256.try_into().ok()?).ok()?,
            sha512: if sha512.is_empty() {
                None
            } else {
                Some(Sha512State::deserialize(sha512.try_into().ok()?).ok()?)
            },
        })
    }
}

/// Bumped when the layout of [`Hasher::save`] or the version line of `sha2` changes.
const STATE_FORMAT: u8 = 1;

/// Compares both algorithms with known answers; a processor or build that hashes wrongly must not start.
pub fn self_test() -> Result<(), &'static str> {
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(b"ab");
    let mut hasher = Hasher::restore(&hasher.save()).ok_or("a saved hash state does not load")?;
    hasher.update(b"c");
    let digests = hasher.finish();
    if digests.sha256.hex() != ABC_SHA256 {
        return Err("SHA-256 of a known text is wrong");
    }
    if digests.sha512.map(|bytes| encode_hex(&bytes)).as_deref() != Some(ABC_SHA512) {
        return Err("SHA-512 of a known text is wrong");
    }
    Ok(())
}

/// FIPS 180-4, the example text "abc".
const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const ABC_SHA512: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                          2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

fn encode_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        hex.push(DIGITS[usize::from(byte >> 4)] as char);
        hex.push(DIGITS[usize::from(byte & 15)] as char);
    }
    hex
}

fn decode_hex<const N: usize>(hex: &str) -> Result<[u8; N], DigestError> {
    let hex = hex.as_bytes();
    if hex.len() != N * 2 {
        return Err(DigestError::Hex);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Ok(bytes)
}

fn nibble(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError::Hex),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(self_test(), Ok(()));
    }

    #[test]
    fn a_digest_prints_as_it_was_written() {
        for text in [format!("sha256:{ABC_SHA256}"), format!("sha512:{ABC_SHA512}")] {
            assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_digests_are_refused() {
        let upper = format!("sha256:{}", ABC_SHA256.to_uppercase());
        let short = format!("sha256:{}", &ABC_SHA256[1..]);
        let crossed = format!("sha512:{ABC_SHA256}");
        for (text, why) in [
            ("", DigestError::Shape),
            ("sha256", DigestError::Shape),
            ("md5:0123", DigestError::Algorithm),
            ("SHA256:00", DigestError::Algorithm),
            (upper.as_str(), DigestError::Hex),
            (short.as_str(), DigestError::Hex),
            (crossed.as_str(), DigestError::Hex),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(why), "{text}");
        }
    }

    /// Sessions of an earlier release go on: the format is fixed by a file that is never changed.
    #[test]
    fn a_state_that_was_saved_before_still_loads() {
        let saved = include_str!("../tests/testdata/hash-state-1.hex").trim();
        let saved: Vec<u8> = (0..saved.len() / 2)
            .map(|at| u8::from_str_radix(&saved[at * 2..at * 2 + 2], 16).unwrap())
            .collect();
        let mut fresh = Hasher::new(Algorithm::Sha512);
        fresh.update(b"ab");
        assert_eq!(fresh.save(), saved);
        assert_eq!(saved.len(), 1 + 104 + 208);
        let mut restored = Hasher::restore(&saved).unwrap();
        restored.update(b"c");
        assert_eq!(restored.finish().sha256.hex(), ABC_SHA256);
    }

    #[test]
    fn a_damaged_state_is_refused() {
        let saved = Hasher::new(Algorithm::Sha512).save();
        assert!(Hasher::restore(&saved[..saved.len() - 1]).is_none());
        assert!(Hasher::restore(&[]).is_none());
        let mut other = saved.clone();
        other[0] = 9;
        assert!(Hasher::restore(&other).is_none());
    }
}
