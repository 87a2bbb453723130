//! Names of entries: one spelling, the same on every file system, and nothing in them that hides.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;

use super::{Findings, Rule};

/// Longest name in bytes.
pub(super) const NAME_LIMIT: usize = 1_024;
/// Longest component in bytes: what file systems store.
const COMPONENT_LIMIT: usize = 255;
/// Most components of a name.
pub(super) const DEPTH_LIMIT: usize = 64;

/// What Windows refuses in a name, or takes for a separator.
const FORBIDDEN: [char; 8] = ['\\', ':', '*', '?', '"', '<', '>', '|'];

/// Symbols that look like a slash or backslash, or that a conversion to an older character set turns into
/// one. Letters that do (the Katakana no, some Han strokes) stay allowed: people write with them.
const SLASH_LOOKALIKES: [char; 15] = [
    '\u{2041}',
    '\u{2044}',
    '\u{2215}',
    '\u{2216}',
    '\u{2571}',
    '\u{2572}',
    '\u{27cb}',
    '\u{27cd}',
    '\u{29f5}',
    '\u{29f8}',
    '\u{29f9}',
    '\u{fe68}',
    '\u{ff0f}',
    '\u{ff3c}',
    '\u{1d20f}',
];

/// Names that Windows gives to devices, whatever the letter case and the extension. The digits of COM and
/// LPT follow.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];
/// Windows takes superscript digits for digits here.
const DEVICE_DIGITS: [char; 13] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '¹', '²', '³'];

/// MS-DOS and NTFS. Info-ZIP takes names from there to be in a code page, also when the flag says UTF-8.
const CODE_PAGE_HOSTS: [u8; 2] = [0, 11];

/// Checks one name as the central directory has it. `flagged` is the flag that says that it is UTF-8, `host`
/// the system that the entry says to be from.
pub(super) fn check(name: &[u8], flagged: bool, host: u8, findings: &mut Findings) {
    if name.len() > NAME_LIMIT {
        let message = format!("the name has {} bytes, at most {NAME_LIMIT} are allowed", name.len());
        return findings.refuse_entry(Rule::NameLength, name, message);
    }
    let Ok(text) = std::str::from_utf8(name) else {
        return findings.refuse_entry(Rule::NameUtf8, name, "the name is not valid UTF-8");
    };
    // Without the flag a name is in code page 437, by the letter of the format: readers differ.
    if !flagged && !text.is_ascii() {
        let message = "the name is not ASCII, and not flagged as UTF-8 (bit 11 of the flags)";
        findings.refuse_entry(Rule::NameUnflagged, name, message);
    }
    if flagged && !text.is_ascii() && CODE_PAGE_HOSTS.contains(&host) {
        let message =
            format!("the name is not ASCII, and the entry is from system {host}, which has code pages");
        findings.refuse_entry(Rule::NameHost, name, message);
    }
    if !ComposingNormalizerBorrowed::new_nfc().is_normalized(text) {
        findings.refuse_entry(Rule::NameNfc, name, "the name is not in Unicode's composed form (NFC)");
    }
    check_characters(text, findings);
    let relative = match text.strip_prefix('/') {
        Some(rest) => {
            findings.refuse_entry(Rule::NameAbsolute, name, "the name begins with a slash");
            rest.trim_start_matches('/')
        }
        None => text,
    };
    // What a folder's name ends with is no component.
    let path = relative.strip_suffix('/').unwrap_or(relative);
    if !path.is_empty() || text.is_empty() {
        check_components(path, name, findings);
    }
}

/// Whether a character may stand in a name as far as seeing it goes: what else is refused is plain to see.
pub(super) fn is_visible(character: char) -> bool {
    invisible(character).is_none()
}

fn invisible(character: char) -> Option<(Rule, &'static str)> {
    if matches!(character, ' '..='~') {
        return None;
    }
    if is_bidi_control(character) {
        return Some((Rule::NameBidi, "changes the direction of text"));
    }
    match CodePointMapData::<GeneralCategory>::new().get(character) {
        GeneralCategory::Control | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => {
            Some((Rule::NameControl, "is a control character"))
        }
        GeneralCategory::Format => Some((Rule::NameFormat, "is an invisible format character")),
        // Nobody knows yet how it will fold or decompose.
        GeneralCategory::Unassigned => Some((Rule::NameUnassigned, "is not assigned in Unicode")),
        // Samba, Cygwin and macOS store characters that a file system refuses, slashes among them, as these.
        GeneralCategory::PrivateUse => Some((Rule::NamePrivateUse, "is for private use")),
        _ => None,
    }
}

/// The property `Bidi_Control`: marks, embeddings, overrides and isolates.
fn is_bidi_control(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Names each rule once, with the first character that breaks it.
fn check_characters(text: &str, findings: &mut Findings) {
    let mut told = Vec::new();
    for (at, character) in text.char_indices() {
        let found = if FORBIDDEN.contains(&character) {
            Some((Rule::NameCharacter, "is not allowed"))
        } else if SLASH_LOOKALIKES.contains(&character) {
            Some((Rule::NameSlash, "looks like a slash"))
        } else {
            invisible(character)
        };
        if let Some((rule, what)) = found
            && !told.contains(&rule)
        {
            told.push(rule);
            let message = format!("U+{:04X} at byte {at} of the name {what}", u32::from(character));
            findings.refuse_entry(rule, text.as_bytes(), message);
        }
    }
}

fn check_components(path: &str, name: &[u8], findings: &mut Findings) {
    let depth = path.split('/').count();
    if depth > DEPTH_LIMIT {
        let message = format!("the name has {depth} components, at most {DEPTH_LIMIT} are allowed");
        findings.refuse_entry(Rule::NameDepth, name, message);
    }
    let mut told = Vec::new();
    for component in path.split('/') {
        let Some((rule, message)) = check_component(component) else { continue };
        if !told.contains(&rule) {
            told.push(rule);
            findings.refuse_entry(rule, name, message);
        }
    }
}

fn check_component(component: &str) -> Option<(Rule, String)> {
    if component.is_empty() {
        return Some((Rule::NameEmpty, "the name has an empty component".to_owned()));
    }
    if component == "." || component == ".." {
        return Some((Rule::NameDots, format!("the name has a component {component:?}")));
    }
    if component.len() > COMPONENT_LIMIT {
        let length = component.len();
        let message =
            format!("a component of the name has {length} bytes, at most {COMPONENT_LIMIT} are allowed");
        return Some((Rule::NameComponentLength, message));
    }
    if component.ends_with(|last: char| last == '.' || last.is_whitespace()) {
        return Some((Rule::NameTrailing, format!("the component {component:?} ends with a dot or blank")));
    }
    // Of `a` and `a;1` Info-ZIP makes one file, on every system.
    let stem = component.trim_end_matches(|last: char| last.is_ascii_digit());
    if stem.ends_with(';') {
        let message = format!("the component {component:?} ends with what is a version number on VMS");
        return Some((Rule::NameVersion, message));
    }
    is_device(component)
        .then(|| (Rule::NameDevice, format!("the component {component:?} is a device on Windows")))
}

/// Windows looks at what stands before the first dot, without the blanks at its end.
fn is_device(component: &str) -> bool {
    let stem = component.split('.').next().unwrap_or_default().trim_end_matches(' ').to_ascii_lowercase();
    let numbered = |device: &&str| {
        let mut rest = stem.strip_prefix(*device).unwrap_or_default().chars();
        rest.next().is_some_and(|digit| DEVICE_DIGITS.contains(&digit)) && rest.next().is_none()
    };
    DEVICES.contains(&stem.as_str()) || NUMBERED_DEVICES.iter().any(numbered)
}

#[cfg(test)]
pub(super) mod tests;
