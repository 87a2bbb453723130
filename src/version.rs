//! Versions of plugins: `MAJOR.MINOR[.PATCH][-pre]`.

use crate::name::Tag;

/// Whether a tag is written as a version: numbers without leading zeros, no leading `v`, no build metadata.
pub fn is_version(tag: &Tag) -> bool {
    let (numbers, pre) = match tag.as_str().split_once('-') {
        Some((numbers, pre)) => (numbers, Some(pre)),
        None => (tag.as_str(), None),
    };
    let parts: Vec<&str> = numbers.split('.').collect();
    (2..=3).contains(&parts.len())
        && parts.iter().all(|part| is_number(part))
        && pre.is_none_or(|pre| pre.split('.').all(is_pre_release))
}

fn is_number(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

/// One identifier of a pre-release, as semantic versioning has them.
fn is_pre_release(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    !text.is_empty() && text.bytes().all(known) && (!digits || is_number(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_version() {
        for good in
            ["1.0", "0.0", "1.0.0", "10.20.30", "1.0-rc.1", "1.2.3-alpha", "1.0-0a", "1.0-a-b", "1.0-0"]
        {
            assert!(is_version(&good.parse().unwrap()), "{good}");
        }
        for channel in [
            "latest", "1", "v1.0", "1.0.0.0", "01.0", "1.00", "1.0-", "1.0-01", "1.0-a..b", "1.x", "1.0_1",
            "1.",
        ] {
            assert!(!is_version(&channel.parse().unwrap()), "{channel}");
        }
    }
}
