//! The logo of a plugin: a small PNG or SVG.

use std::io;

use super::files::{Base, Files};
use super::finding::{Findings, Place};

/// Most bytes of a logo.
const SIZE_LIMIT: usize = 512 * 1024;
const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Looked for beside the metadata, in this order, when the metadata names no other.
const NAMES: [&str; 2] = ["logo.png", "logo.svg"];

#[derive(Clone, Copy)]
enum Format {
    Png,
    Svg,
}

/// The path of the logo in the package. One that breaks a rule is found and still named.
pub(super) fn find(
    files: &impl Files,
    base: &Base,
    declared: Option<(String, Place)>,
    findings: &mut Findings,
) -> io::Result<Option<String>> {
    if let Some((name, place)) = declared {
        let path = base.join(&name);
        let Some(format) = format(&name) else {
            findings.push(place.error("plugin.logo", "logo must name a .png or .svg file"));
            return Ok(None);
        };
        let Some(bytes) = files.read(&path, SIZE_LIMIT + 1)? else {
            findings.push(place.error("plugin.logo", "logo names a file that is not in the package"));
            return Ok(None);
        };
        check(&path, format, &bytes, findings);
        return Ok(Some(path));
    }
    for name in NAMES {
        let path = base.join(name);
        if let (Some(format), Some(bytes)) = (format(name), files.read(&path, SIZE_LIMIT + 1)?) {
            check(&path, format, &bytes, findings);
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn format(name: &str) -> Option<Format> {
    let (_, extension) = name.rsplit_once('.')?;
    match extension {
        "png" => Some(Format::Png),
        "svg" => Some(Format::Svg),
        _ => None,
    }
}

fn check(path: &str, format: Format, bytes: &[u8], findings: &mut Findings) {
    let fault = if bytes.len() > SIZE_LIMIT {
        "is larger than 512 KiB"
    } else {
        match format {
            Format::Png if !bytes.starts_with(PNG_MAGIC) => "is not a PNG image",
            Format::Svg if !is_svg(bytes) => "is not an SVG image: UTF-8 XML whose root is <svg>",
            Format::Png | Format::Svg => return,
        }
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    findings.push(Place::of(path).error("plugin.logo", format!("{name} {fault}")));
}

/// Whether the root element of a text is `<svg>`. Nothing is resolved, and a document type that declares
/// entities is refused.
fn is_svg(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    if text.contains('\0') {
        return false;
    }
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    loop {
        rest = rest.trim_start();
        let end = if rest.starts_with("<?") {
            "?>"
        } else if rest.starts_with("<!--") {
            "-->"
        } else if rest.starts_with("<!DOCTYPE") {
            ">"
        } else {
            break;
        };
        match rest.split_once(end) {
            Some((prolog, _)) if prolog.starts_with("<!D") && prolog.contains('[') => return false,
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    let Some(tag) = rest.strip_prefix('<') else {
        return false;
    };
    let name = tag.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next().unwrap_or_default();
    name == "svg" || name.ends_with(":svg")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::files::testing::Memory;

    fn found(files: &Memory, declared: Option<&str>) -> (Option<String>, Vec<String>) {
        let mut findings = Findings::default();
        let declared = declared.map(|name| (name.to_owned(), Place::of("p/plugin.json")));
        let path = find(files, &Base("p/".into()), declared, &mut findings).unwrap();
        (path, findings.into_vec().into_iter().map(|finding| finding.message).collect())
    }

    #[test]
    fn a_logo_stands_beside_the_metadata_or_where_it_says() {
        let png = [PNG_MAGIC, b"..."].concat();
        let files = Memory::of([("p/logo.png", &png), ("p/logo.svg", b"<svg/>"), ("p/art/x.svg", b"<svg/>")]);
        assert_eq!(found(&files, None), (Some("p/logo.png".into()), vec![]));
        assert_eq!(found(&files, Some("art/x.svg")), (Some("p/art/x.svg".into()), vec![]));
        assert!(found(&files, Some("art/y.svg")).1[0].contains("not in the package"));
        assert!(found(&files, Some("art/x.gif")).1[0].contains(".png or .svg"));
        assert_eq!(found(&Memory::of([("logo.png", &png)]), None), (None, vec![]));
    }

    #[test]
    fn a_logo_is_what_its_name_says_and_small() {
        let large = [PNG_MAGIC, &vec![0; SIZE_LIMIT]].concat();
        let just = [PNG_MAGIC, &vec![0; SIZE_LIMIT - PNG_MAGIC.len()]].concat();
        assert!(found(&Memory::of([("p/logo.png", &large)]), None).1[0].contains("512 KiB"));
        assert_eq!(found(&Memory::of([("p/logo.png", &just)]), None).1, Vec::<String>::new());
        assert!(found(&Memory::of([("p/logo.png", b"GIF89a")]), None).1[0].contains("not a PNG"));
    }

    #[test]
    fn what_is_an_svg() {
        for good in [
            "<svg/>",
            "\u{feff}<?xml version=\"1.0\"?>\n<!-- a > b -->\n<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\" \
             \"x\">\n<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>",
            "<s:svg xmlns:s=\"x\"/>",
        ] {
            assert!(is_svg(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "svg",
            "<html><svg/></html>",
            "<svgx/>",
            "<?xml",
            "<!DOCTYPE svg [<!ENTITY a \"b\">]><svg/>",
            "<svg>\0",
        ] {
            assert!(!is_svg(bad.as_bytes()), "{bad}");
        }
        assert!(!is_svg(b"<svg>\xff</svg>"));
    }
}
