//! Names against each other: what some file system would take for the same file, or for a file and a folder.

use std::collections::HashMap;
use std::collections::hash_map::{Entry as Slot, RandomState};
use std::hash::{BuildHasher, Hasher};

use icu_casemap::CaseMapper;
use icu_normalizer::DecomposingNormalizerBorrowed;

use super::directory::Listed;
use super::entry_name::DEPTH_LIMIT;
use super::findings::shown;
use super::member::Clock;
use super::{Findings, Kind, Rule};

/// A name, or the beginning of one up to a slash. Kept small, because a package of long paths has hundreds
/// of thousands of them: the text is looked up in the entry when it is needed.
struct Node {
    entry: u32,
    length: u16,
    kind: Kind,
    /// Listed itself, and not only as the folder of something.
    listed: bool,
}

/// Finds names that are the same, that are the same under canonical equivalence and full case folding
/// (Unicode's canonical caseless match), and those that are a file here and a folder there. Folders that
/// stand only in the names of their files take part.
pub(super) fn check(entries: &[Listed], clock: &mut Clock, findings: &mut Findings) {
    // Keyed at random, so that nobody can choose names that meet in one bucket.
    let keys = RandomState::new();
    // With its room from the start: growing would take half as much again, and leave holes behind.
    let components = entries.iter().filter_map(judged_path).map(|path| path.split('/').count());
    let mut nodes: HashMap<u64, Node> = HashMap::with_capacity(components.sum());
    for (index, entry) in entries.iter().enumerate() {
        if clock.is_over(findings) {
            return;
        }
        let Some(path) = judged_path(entry) else { continue };
        let mut hasher = keys.build_hasher();
        let mut length = 0;
        for component in path.split('/') {
            hasher.write(fold(component).as_bytes());
            // No text has this byte: components cannot run into each other.
            hasher.write_u8(0xff);
            length += component.len();
            let last = length == path.len();
            let kind = if last { entry.kind } else { Kind::Folder };
            let node = Node { entry: index as u32, length: length as u16, kind, listed: last };
            match nodes.entry(hasher.finish()) {
                Slot::Vacant(slot) => {
                    slot.insert(node);
                }
                Slot::Occupied(mut slot) => {
                    let other = slot.get_mut();
                    let other_path = text_of(other, entries);
                    if let Some((rule, message)) = judge(&path[..length], &node, other_path, other) {
                        findings.refuse_entry(rule, &entry.name, message);
                        break;
                    }
                    other.listed |= last;
                }
            }
            length += 1;
        }
    }
}

/// Names that are not text, too long to be kept or too deep are refused already. Each component takes room, so
/// that deep ones would take a lot of it.
fn judged_path(entry: &Listed) -> Option<&str> {
    entry.path().filter(|path| path.split('/').count() <= DEPTH_LIMIT)
}

fn text_of<'a>(node: &Node, entries: &'a [Listed]) -> &'a str {
    let path = entries.get(node.entry as usize).and_then(Listed::path).unwrap_or_default();
    path.get(..node.length.into()).unwrap_or(path)
}

/// What is wrong with two nodes of the same key.
fn judge(path: &str, node: &Node, other_path: &str, other: &Node) -> Option<(Rule, String)> {
    let shown_other = shown(other_path.as_bytes());
    if path != other_path {
        // The key is a hash: what differs in truth is no clash.
        let same = path.split('/').map(fold).eq(other_path.split('/').map(fold));
        let message =
            format!("{} and {shown_other} differ in letter case or composition only", shown(path.as_bytes()));
        return same.then_some((Rule::NameCase, message));
    }
    match (node.kind, other.kind) {
        (Kind::File, Kind::Folder) | (Kind::Folder, Kind::File) => {
            Some((Rule::NameFileAndFolder, format!("{shown_other} is a file and also a folder")))
        }
        (Kind::File, Kind::File) | (Kind::Folder, Kind::Folder) => (node.listed && other.listed)
            .then(|| (Rule::NameDuplicate, format!("{shown_other} is listed more than once"))),
    }
}

/// The key of a canonical caseless match, as Unicode defines it (D145): decomposed, folded, decomposed.
fn fold(component: &str) -> std::borrow::Cow<'_, str> {
    if component.is_ascii() {
        return if component.bytes().any(|byte| byte.is_ascii_uppercase()) {
            component.to_ascii_lowercase().into()
        } else {
            component.into()
        };
    }
    let decompose = DecomposingNormalizerBorrowed::new_nfd();
    let folded = CaseMapper::new().fold_string(&decompose.normalize(component)).into_owned();
    decompose.normalize(&folded).into_owned().into()
}

#[cfg(test)]
pub(super) mod tests;
