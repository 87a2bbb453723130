//! Where the metadata's files come from, and in which folder they stand.

use std::collections::BTreeSet;
use std::io;

/// The files of a package, whatever holds them: an archive, or a folder that is about to be packed.
pub trait Files {
    /// 1. Every file by its path, with `/` between folders and none in front. Folders may be listed, with a
    ///    `/` at the end.
    fn paths(&self) -> impl Iterator<Item = &str>;

    /// 2. The first `limit` bytes of a file, or all of it when it is shorter; `None` when there is no such
    ///    file.
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>>;
}

/// The folder that macOS puts its own records into.
const MACOS_FOLDER: &str = "__MACOSX/";

pub(super) const PLUGIN_JSON: &str = "plugin.json";
pub(super) const PLUGIN_PY: &str = "plugin.py";

/// What else a zip may be, by a file that it has then. The first that fits counts: apps have a manifest of Java.
const OTHER_KINDS: [(&str, &str); 6] = [
    (".dist-info/WHEEL", "a Python wheel"),
    ("EGG-INFO/PKG-INFO", "a Python egg"),
    ("AndroidManifest.xml", "an Android app"),
    ("META-INF/MANIFEST.MF", "a Java archive"),
    ("[Content_Types].xml", "an Office document"),
    ("mimetype", "an OpenDocument file or an e-book"),
];

/// What a package without metadata looks like.
pub(super) fn other_kind(files: &impl Files) -> Option<&'static str> {
    let fits = |path: &str, end: &str| path == end || end.starts_with('.') && path.ends_with(end);
    let place = |path: &str| OTHER_KINDS.iter().position(|(end, _)| fits(path, end));
    let first = files.paths().filter_map(place).min()?;
    OTHER_KINDS.get(first).map(|(_, kind)| *kind)
}

/// The folder of the metadata, as a prefix of paths: empty for the root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Base(pub String);

impl Base {
    pub fn join(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }
}

/// Why there is no metadata.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoMetadata {
    /// A file that was probably meant: another case, or a folder too deep.
    pub near_miss: Option<String>,
}

/// The root when metadata stands there, else the single top folder when it stands below that one.
pub(super) fn locate(files: &impl Files) -> Result<Base, NoMetadata> {
    let is_metadata = |name: &str| name == PLUGIN_JSON || name == PLUGIN_PY;
    let mut top_folders = BTreeSet::new();
    let mut below_top = false;
    let mut near_miss = None;
    for path in files.paths().filter(|path| !path.starts_with(MACOS_FOLDER)) {
        if is_metadata(path) {
            return Ok(Base(String::new()));
        }
        if let Some((top, rest)) = path.split_once('/') {
            // Two are enough to know that there is not a single one.
            if top_folders.len() < 2 {
                top_folders.insert(top);
            }
            below_top |= is_metadata(rest);
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        if near_miss.is_none() && is_metadata(&name.to_ascii_lowercase()) {
            near_miss = Some(path.to_owned());
        }
    }
    match (top_folders.first(), top_folders.len()) {
        (Some(top), 1) if below_top => Ok(Base(format!("{top}/"))),
        _ => Err(NoMetadata { near_miss }),
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::collections::BTreeMap;

    use super::*;

    /// Files in memory.
    #[derive(Default)]
    pub struct Memory(pub BTreeMap<String, Vec<u8>>);

    impl Memory {
        pub fn of<const N: usize>(files: [(&str, &[u8]); N]) -> Self {
            Self(files.iter().map(|(path, bytes)| (path.to_string(), bytes.to_vec())).collect())
        }
    }

    impl Files for Memory {
        fn paths(&self) -> impl Iterator<Item = &str> {
            self.0.keys().map(String::as_str)
        }

        fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
            Ok(self.0.get(path).map(|bytes| bytes[..bytes.len().min(limit)].to_vec()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Memory;
    use super::*;

    fn located<const N: usize>(paths: [&str; N]) -> Result<Base, NoMetadata> {
        locate(&Memory(paths.iter().map(|path| (path.to_string(), Vec::new())).collect()))
    }

    #[test]
    fn the_root_or_a_single_top_folder() {
        for (paths, base) in [
            (vec!["plugin.json", "a/plugin.json", "b/x"], ""),
            (vec!["plugin.py"], ""),
            (vec!["a/plugin.py", "a/b/plugin.py"], "a/"),
            (vec!["a/", "a/plugin.json", "__MACOSX/a/._plugin.json", "__MACOSX/"], "a/"),
            (vec!["LICENSE", "a/plugin.json"], "a/"),
        ] {
            let files = Memory(paths.iter().map(|path| (path.to_string(), Vec::new())).collect());
            assert_eq!(locate(&files), Ok(Base(base.into())), "{paths:?}");
        }
    }

    #[test]
    fn what_is_no_plugin_is_named() {
        for (paths, kind) in [
            (vec!["six.py", "six-1.17.0.dist-info/WHEEL"], Some("a Python wheel")),
            (vec!["META-INF/MANIFEST.MF", "a/B.class"], Some("a Java archive")),
            (vec!["META-INF/MANIFEST.MF", "classes.dex", "AndroidManifest.xml"], Some("an Android app")),
            (vec!["docs/mimetype", "WHEEL", "a/META-INF/MANIFEST.MF"], None),
        ] {
            let files = Memory(paths.iter().map(|path| (path.to_string(), Vec::new())).collect());
            assert_eq!(other_kind(&files), kind, "{paths:?}");
        }
    }

    #[test]
    fn nothing_deeper_and_nothing_beside_another_folder() {
        let missed = |path: &str| Err(NoMetadata { near_miss: Some(path.to_owned()) });
        assert_eq!(located(["a/plugin.json", "b/x"]), missed("a/plugin.json"));
        assert_eq!(located(["a/b/plugin.py"]), missed("a/b/plugin.py"));
        assert_eq!(located(["Plugin.py", "setup.py"]), missed("Plugin.py"));
        assert_eq!(located(["__MACOSX/plugin.json"]), Err(NoMetadata { near_miss: None }));
        assert_eq!(located([]), Err(NoMetadata { near_miss: None }));
    }
}
