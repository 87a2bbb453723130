//! The HTML that is written: known elements only, each closed where it was opened, and never nested deep.

use super::links::{ID_PREFIX, Links, Target};
use super::tag::{self, Piece};

/// Elements inside of each other that are shown; the content of those further inside stays.
const DEPTH_LIMIT: usize = 64;
/// Most characters of an id or of a title.
const SHORT: usize = 200;

/// Elements of HTML that an author may write, by how they may stand. Those of Markdown are not looked up here.
const INLINE: &[&str] = &[
    "a", "abbr", "b", "cite", "code", "del", "dfn", "em", "i", "ins", "kbd", "mark", "q", "s", "samp",
    "small", "span", "strong", "sub", "sup", "u", "var",
];
const BLOCKS: &[&str] = &[
    "blockquote",
    "details",
    "div",
    "dl",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ol",
    "p",
    "pre",
    "summary",
    "table",
    "ul",
];
/// Elements that stand in no others than these.
const PARTS: &[(&str, &[&str])] = &[
    ("caption", &["table"]),
    ("dd", &["dl"]),
    ("dt", &["dl"]),
    ("li", &["ol", "ul"]),
    ("tbody", &["table"]),
    ("td", &["tr"]),
    ("tfoot", &["table"]),
    ("th", &["tr"]),
    ("thead", &["table"]),
    ("tr", &["table", "tbody", "tfoot", "thead"]),
];
/// Markdown elements that hold no blocks.
const PHRASES: &[&str] =
    &["a", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "p", "strong", "sup"];
/// What stands in these elements is no text.
const SILENT: &[&str] = &["script", "style"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Its end is certain to come.
    Markdown,
    /// It ends with its tag, or with the Markdown element around it.
    Html,
}

struct Open {
    tag: &'static str,
    origin: Origin,
    shown: bool,
}

pub(super) struct Page<'a> {
    out: String,
    limit: usize,
    links: Links<'a>,
    open: Vec<Open>,
    /// How many of the open elements are shown.
    depth: usize,
    /// Whether one of them is a link.
    in_link: bool,
}

impl<'a> Page<'a> {
    pub fn new(links: Links<'a>, limit: usize) -> Self {
        Self { out: String::new(), limit, links, open: Vec::new(), depth: 0, in_link: false }
    }

    /// Whether there is more than may come out.
    pub fn is_full(&self) -> bool {
        self.out.len() > self.limit
    }

    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.pop();
        }
        self.out
    }

    /// Opens an element of Markdown.
    pub fn open(&mut self, tag: &'static str, attributes: &[(&'static str, &str)]) {
        if !INLINE.contains(&tag) {
            self.close_phrases();
        }
        let shown = self.depth < DEPTH_LIMIT && !(tag == "a" && self.in_link);
        self.push(Open { tag, origin: Origin::Markdown, shown }, attributes);
    }

    /// An element of which only the content is shown.
    pub fn open_hidden(&mut self) {
        self.push(Open { tag: "", origin: Origin::Markdown, shown: false }, &[]);
    }

    /// Closes the last element of Markdown, and the HTML in it.
    pub fn close(&mut self) {
        while let Some(origin) = self.pop() {
            if origin == Origin::Markdown {
                return;
            }
        }
    }

    pub fn open_link(&mut self, written: &str, title: &str) {
        match self.links.link(written) {
            Some(target) => {
                let attributes = link_attributes(&target, title);
                self.open("a", &attributes);
            }
            None => self.open_hidden(),
        }
    }

    /// An image of the package; any other becomes a link, as showing it would tell its server who reads this.
    pub fn image(&mut self, alt: &str, written: &str, title: &str) {
        self.image_of_size(alt, written, title, &[]);
    }

    fn image_of_size(&mut self, alt: &str, written: &str, title: &str, size: &[(&'static str, &str)]) {
        if let Some(url) = self.links.image(written) {
            let title = short(title);
            let mut attributes = vec![("src", url.as_str()), ("alt", alt)];
            attributes.extend(Some(("title", title)).filter(|(_, title)| !title.is_empty()));
            attributes.extend_from_slice(size);
            self.write_tag("img", &attributes);
            return;
        }
        let alt = if alt.trim().is_empty() { "image" } else { alt };
        match self.links.link(written).filter(|_| !self.in_link) {
            Some(target @ Target::Elsewhere(_)) => {
                let attributes = link_attributes(&target, title);
                self.open("a", &attributes);
                self.text(alt);
                self.close();
            }
            Some(Target::Inside(_)) | None => self.text(alt),
        }
    }

    /// An element without content.
    pub fn void(&mut self, tag: &'static str) {
        self.write_tag(tag, &[]);
    }

    pub fn text(&mut self, text: &str) {
        push_escaped(&mut self.out, text);
    }

    /// Where the attributes of the element begin that was opened last; `None` when it is not shown.
    pub fn attributes_start(&self) -> Option<usize> {
        let tag = self.open.last().filter(|open| open.shown)?.tag;
        self.out.rfind('<').map(|start| start + 1 + tag.len())
    }

    /// Gives an element an id once its content is known.
    pub fn insert_id(&mut self, at: usize, id: &str) {
        self.out.insert_str(at, &format!(" id=\"{ID_PREFIX}{}\"", escape(id)));
    }

    /// HTML as an author wrote it.
    pub fn html(&mut self, html: &str) {
        let mut rest = html;
        while let Some(at) = rest.find('<') {
            self.html_text(&rest[..at]);
            let (piece, length) = tag::read(&rest[at..]);
            rest = &rest[at + length..];
            match piece {
                Piece::Open { name, .. } if SILENT.contains(&name.as_str()) => rest = behind(rest, &name),
                Piece::Open { name, attributes } => self.open_html(&name, &attributes),
                Piece::Close { name } => self.close_html(&name),
                Piece::Dropped => {}
                Piece::Text => self.text("<"),
            }
        }
        self.html_text(rest);
    }

    /// Closes the elements of HTML that do not reach over blocks.
    pub fn close_phrases(&mut self) {
        while let Some(Open { tag, origin: Origin::Html, .. }) = self.open.last()
            && (*tag == "p" || INLINE.contains(tag))
        {
            self.pop();
        }
    }

    /// Entities stay as they are.
    fn html_text(&mut self, text: &str) {
        self.out.push_str(&text.replace('>', "&gt;"));
    }

    fn open_html(&mut self, name: &str, attributes: &[(String, String)]) {
        let value = |wanted: &str| {
            attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
        };
        match name {
            "br" => return self.void("br"),
            "hr" if self.holds_blocks() => {
                self.close_phrases();
                return self.void("hr");
            }
            "img" => {
                let text = |wanted| value(wanted).unwrap_or_default();
                let size: Vec<_> = ["width", "height"]
                    .into_iter()
                    .filter_map(|side| {
                        value(side).filter(|value| is_length(value)).map(|value| (side, value))
                    })
                    .collect();
                return self.image_of_size(text("alt"), text("src"), text("title"), &size);
            }
            _ => {}
        }
        let Some(tag) = self.make_room(name) else { return };
        if self.depth >= DEPTH_LIMIT {
            return;
        }
        let id = value("id").or_else(|| value("name").filter(|_| tag == "a")).filter(|id| is_id(id));
        let id = id.map(|id| format!("{ID_PREFIX}{id}"));
        let target = value("href").filter(|_| tag == "a").and_then(|written| self.links.link(written));
        if tag == "a" && (self.in_link || (target.is_none() && id.is_none())) {
            return;
        }
        let mut known: Vec<(&'static str, &str)> = Vec::new();
        if let Some(target) = &target {
            known.extend(link_attributes(target, value("title").unwrap_or_default()));
        }
        known.extend(id.as_deref().map(|id| ("id", id)));
        for attribute in ["align", "colspan", "rowspan", "start", "open"] {
            known.extend(value(attribute).and_then(|value| harmless(tag, attribute, value)));
        }
        self.push(Open { tag, origin: Origin::Html, shown: true }, &known);
    }

    /// Closes what an element cannot stand in. `None` when it is unknown, or cannot stand here at all.
    fn make_room(&mut self, name: &str) -> Option<&'static str> {
        if let Some(tag) = INLINE.iter().find(|tag| **tag == name) {
            return Some(tag);
        }
        if !self.holds_blocks() {
            return None;
        }
        if let Some(tag) = BLOCKS.iter().find(|tag| **tag == name) {
            self.close_phrases();
            return Some(tag);
        }
        let (tag, parents) = PARTS.iter().find(|(tag, _)| *tag == name)?;
        loop {
            self.close_phrases();
            let last = self.open.last().filter(|open| open.origin == Origin::Html)?.tag;
            if parents.contains(&last) {
                return Some(tag);
            }
            // A part ends where the next one begins.
            if !PARTS.iter().any(|(part, _)| *part == last) {
                return None;
            }
            self.pop();
        }
    }

    /// Whether blocks may stand in the Markdown around.
    fn holds_blocks(&self) -> bool {
        let markdown = self.open.iter().rev().find(|open| open.origin == Origin::Markdown);
        markdown.is_none_or(|open| !PHRASES.contains(&open.tag))
    }

    fn close_html(&mut self, name: &str) {
        let inside = self.open.iter().rev().take_while(|open| open.origin == Origin::Html);
        if let Some(above) = inside.map(|open| open.tag).position(|tag| tag == name) {
            for _ in 0..=above {
                self.pop();
            }
        }
    }

    fn push(&mut self, open: Open, attributes: &[(&'static str, &str)]) {
        if open.shown {
            self.write_tag(open.tag, attributes);
            self.depth += 1;
            self.in_link |= open.tag == "a";
        }
        self.open.push(open);
    }

    fn pop(&mut self) -> Option<Origin> {
        let open = self.open.pop()?;
        if open.shown {
            self.depth -= 1;
            self.in_link &= open.tag != "a";
            self.out.push_str("</");
            self.out.push_str(open.tag);
            self.out.push_str(if INLINE.contains(&open.tag) { ">" } else { ">\n" });
        }
        Some(open.origin)
    }

    fn write_tag(&mut self, tag: &str, attributes: &[(&'static str, &str)]) {
        self.out.push('<');
        self.out.push_str(tag);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            push_escaped(&mut self.out, value);
            self.out.push('"');
        }
        self.out.push('>');
    }
}

/// Links out of the package say that the registry does not vouch for them, and do not say where they were found.
fn link_attributes<'t>(target: &'t Target, title: &'t str) -> Vec<(&'static str, &'t str)> {
    let mut attributes = match target {
        Target::Elsewhere(url) => vec![("href", url.as_str()), ("rel", "nofollow noopener noreferrer")],
        Target::Inside(url) => vec![("href", url.as_str())],
    };
    attributes.extend(Some(("title", short(title))).filter(|(_, title)| !title.is_empty()));
    attributes
}

/// An attribute of HTML that changes how an element looks, and nothing else.
fn harmless<'v>(tag: &str, attribute: &'static str, value: &'v str) -> Option<(&'static str, &'v str)> {
    let digits =
        |limit| (1..=limit).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    let known = match attribute {
        "align" => {
            let aligned =
                matches!(tag, "p" | "div" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "td" | "th" | "tr");
            aligned && ["left", "center", "right"].contains(&value)
        }
        "colspan" | "rowspan" => ["td", "th"].contains(&tag) && digits(2),
        "start" => tag == "ol" && digits(9),
        "open" if tag == "details" => return Some((attribute, "")),
        _ => false,
    };
    known.then_some((attribute, value))
}

/// `120`, `120px` or `50%`.
fn is_length(value: &str) -> bool {
    let digits = value.strip_suffix("px").or_else(|| value.strip_suffix('%')).unwrap_or(value);
    (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_id(value: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=SHORT).contains(&value.len()) && value.bytes().all(known)
}

fn short(text: &str) -> &str {
    text.char_indices().nth(SHORT).map_or(text, |(end, _)| &text[..end])
}

/// What follows the closing tag of an element, or nothing.
fn behind<'t>(text: &'t str, name: &str) -> &'t str {
    let close = text.match_indices("</").find(|(at, _)| {
        text.get(at + 2..at + 2 + name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name))
    });
    let rest = close.map_or("", |(at, _)| &text[at..]);
    rest.split_once('>').map_or("", |(_, behind)| behind)
}

/// Text that is text in every place: between tags, and in quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    push_escaped(&mut escaped, text);
    escaped
}

fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\0']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&#34;",
            _ => "\u{fffd}",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}
