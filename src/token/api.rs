//! The secrets of API tokens: `quire_`, 43 random letters and digits, and a checksum that scanners can verify.

use super::TokenError;

/// What every secret begins with.
pub const PREFIX: &str = "quire_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 43 of 62 letters are a little more than 256 bits.
const RANDOM: usize = 43;
const CHECKSUM: usize = 6;

/// Makes a secret.
pub fn generate() -> Result<String, TokenError> {
    let mut random = String::with_capacity(RANDOM);
    let mut bytes = [0; 64];
    while random.len() < RANDOM {
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| TokenError::Random)?;
        // 248 is the largest multiple of 62 in a byte: what lies above would make some letters likelier.
        let fair = bytes.iter().filter(|byte| **byte < 248);
        random.extend(
            fair.map(|byte| char::from(ALPHABET[usize::from(byte % 62)])).take(RANDOM - random.len()),
        );
    }
    Ok(format!("{PREFIX}{random}{}", checksum(&random)))
}

/// Whether a text is written as a secret is, checksum included. Most that is not one ends here.
pub fn is_well_formed(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    rest.len() == RANDOM + CHECKSUM
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && checksum(&rest[..RANDOM]) == rest[RANDOM..]
}

/// The CRC-32 of the random part in base 62, most significant digit first.
fn checksum(random: &str) -> String {
    let mut rest = crc32fast::hash(random.as_bytes()) as usize;
    let mut digits = [0; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % 62];
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_well_formed_and_never_the_same() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert!(is_well_formed(&one) && is_well_formed(&two) && one != two, "{one} {two}");
        assert_eq!(one.len(), PREFIX.len() + 49);
    }

    /// The layout is released: scanners know it.
    #[test]
    fn the_checksum_is_a_crc32_in_base_62() {
        let random = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg";
        assert_eq!(checksum(random), "37cCQ0");
    }

    #[test]
    fn one_wrong_letter_is_seen() {
        let secret = generate().unwrap();
        for at in PREFIX.len()..secret.len() {
            let other = if &secret[at..=at] == "a" { "b" } else { "a" };
            let changed = format!("{}{other}{}", &secret[..at], &secret[at + 1..]);
            assert!(!is_well_formed(&changed), "{changed}");
        }
        for text in ["", "quire_", "quire_wrong", "ghp_x", &secret[..54], &format!("{secret}0")] {
            assert!(!is_well_formed(text), "{text}");
        }
    }
}
