//! Where the links and images of a README may lead.

use percent_encoding::percent_decode_str;

/// Before every id, so that no text can take an id that the page uses.
pub(super) const ID_PREFIX: &str = "user-content-";

/// Schemes of links that leave the package.
const SCHEMES: [&str; 3] = ["http:", "https:", "mailto:"];

/// Where a link leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Out of the package.
    Elsewhere(String),
    /// To a place in the text, or to a file of the package.
    Inside(String),
}

/// Resolves what the README at a path says.
pub(super) struct Links<'a> {
    /// The folder of the README, with a slash at its end unless it is empty.
    folder: &'a str,
    file_url: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Links<'a> {
    pub fn new(path: &'a str, file_url: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let folder = path.rfind('/').map_or("", |slash| &path[..=slash]);
        Self { folder, file_url }
    }

    /// `None` for everything that is not known to be harmless.
    pub fn link(&self, written: &str) -> Option<Target> {
        let written = written.trim();
        if written.chars().any(char::is_control) {
            return None;
        }
        if let Some(place) = written.strip_prefix('#') {
            return Some(Target::Inside(format!("#{ID_PREFIX}{place}")));
        }
        let leaves = |scheme: &&str| {
            written.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        if SCHEMES.iter().any(leaves) {
            return Some(Target::Elsewhere(written.to_owned()));
        }
        let (file, place) = written.split_once('#').unwrap_or((written, ""));
        let url = self.file(file)?;
        Some(Target::Inside(match place {
            "" => url,
            place => format!("{url}#{ID_PREFIX}{place}"),
        }))
    }

    /// The URL of an image that is a file of the package.
    pub fn image(&self, written: &str) -> Option<String> {
        self.file(written.trim().split('#').next().unwrap_or_default())
    }

    fn file(&self, written: &str) -> Option<String> {
        let path = written.split('?').next().unwrap_or_default();
        let path = percent_decode_str(path).decode_utf8().ok()?;
        // A slash at the start is a place on the server, or another server.
        if path.starts_with('/') || path.contains([':', '\\']) || path.chars().any(char::is_control) {
            return None;
        }
        let mut parts: Vec<&str> = self.folder.split_terminator('/').collect();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()?),
                name => parts.push(name),
            }
        }
        (self.file_url)(&parts.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(path: &str, written: &str) -> Option<Target> {
        let files = ["docs/a.png", "docs/in/b c.md", "top.md", "docs/x;y.txt"];
        let url = |path: &str| files.contains(&path).then(|| format!("/files/{path}"));
        let links = Links::new(path, &url);
        links.link(written)
    }

    #[test]
    fn links_inside_of_the_package() {
        for (path, written, url) in [
            ("docs/README.md", "a.png", "/files/docs/a.png"),
            ("docs/README.md", "./a.png?raw=true", "/files/docs/a.png"),
            ("docs/README.md", "in//b%20c.md#part", "/files/docs/in/b c.md#user-content-part"),
            ("docs/README.md", "../top.md", "/files/top.md"),
            ("docs/README.md", "x;y.txt", "/files/docs/x;y.txt"),
            ("README.md", "docs/in/../a.png", "/files/docs/a.png"),
            ("README.md", " top.md ", "/files/top.md"),
            ("README.md", "#install", "#user-content-install"),
        ] {
            assert_eq!(resolve(path, written), Some(Target::Inside(url.to_owned())), "{path}: {written}");
        }
    }

    #[test]
    fn links_out_of_the_package() {
        for written in ["https://example.com/a?b#c", "HTTP://example.com", "mailto:a@example.com"] {
            assert_eq!(resolve("README.md", written), Some(Target::Elsewhere(written.to_owned())));
        }
    }

    #[test]
    fn everything_else_leads_nowhere() {
        for written in [
            "",
            "absent.md",
            "docs",
            "../top.md",
            "/top.md",
            "//example.com/a.png",
            "/\\example.com",
            "\\\\example.com\\a",
            "docs\\a.png",
            "%2ftop.md",
            "%2e%2e/%2e%2e/top.md",
            "top.md%00",
            "top\u{1}.md",
            "%ff",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "java\nscript:alert(1)",
            "\u{1}javascript:alert(1)",
            "javascript%3aalert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "ftp://example.com",
            "https",
            "ht\ttps://example.com",
        ] {
            assert_eq!(resolve("README.md", written), None, "{written:?}");
        }
    }
}
