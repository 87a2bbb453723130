//! Markdown, as CommonMark and GitHub have it, written to a page.

use std::collections::{HashMap, HashSet};

use pulldown_cmark::{Alignment, CodeBlockKind, CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::links::ID_PREFIX;
use super::page::Page;

/// Most characters of an id that is made of a heading, and of the name of a language.
const SLUG_LIMIT: usize = 100;

/// `None` when too much would come out.
pub(super) fn render(text: &str, page: Page<'_>) -> Option<String> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_FOOTNOTES;
    let mut renderer = Renderer {
        page,
        alignments: Vec::new(),
        cell: 0,
        in_head: false,
        html: String::new(),
        image: None,
        heading: None,
        slugs: HashMap::new(),
        ids: HashSet::new(),
        footnotes: HashMap::new(),
    };
    for event in Parser::new_ext(text, options) {
        renderer.event(event);
        if renderer.page.is_full() {
            return None;
        }
    }
    Some(renderer.page.finish())
}

struct Renderer<'p, 't> {
    page: Page<'p>,
    /// Of the columns of the table, of which there is one at a time.
    alignments: Vec<Alignment>,
    cell: usize,
    in_head: bool,
    /// The block of HTML that is gathered: its tags may have several lines.
    html: String,
    /// The image whose alternative text is gathered.
    image: Option<Image<'t>>,
    heading: Option<Heading>,
    /// How often a slug was asked for.
    slugs: HashMap<String, usize>,
    ids: HashSet<String>,
    /// Numbers of footnotes, in the order in which they appear.
    footnotes: HashMap<CowStr<'t>, usize>,
}

struct Image<'t> {
    url: CowStr<'t>,
    title: CowStr<'t>,
    alt: String,
    /// How many images there are in its alternative text.
    inner: usize,
}

struct Heading {
    attributes_start: usize,
    text: String,
}

impl<'t> Renderer<'_, 't> {
    fn event(&mut self, event: Event<'t>) {
        if self.image.is_some() {
            return self.in_image(event);
        }
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(text) => {
                self.page.open("code", &[]);
                self.text(&text);
                self.page.close();
            }
            // These are not switched on.
            Event::InlineMath(text) | Event::DisplayMath(text) => self.text(&text),
            Event::Html(html) => self.html.push_str(&html),
            Event::InlineHtml(html) => self.page.html(&html),
            Event::FootnoteReference(label) => {
                let number = self.footnote(label).to_string();
                self.page.open("sup", &[]);
                self.page.open("a", &[("href", &format!("#{ID_PREFIX}fn-{number}"))]);
                self.page.text(&number);
                self.page.close();
                self.page.close();
            }
            Event::SoftBreak => self.text("\n"),
            Event::HardBreak => self.page.void("br"),
            Event::Rule => {
                self.page.close_phrases();
                self.page.void("hr");
            }
            Event::TaskListMarker(done) => self.page.text(if done { "☑ " } else { "☐ " }),
        }
    }

    /// Alternative text is text alone.
    fn in_image(&mut self, event: Event<'t>) {
        let Some(image) = &mut self.image else { return };
        match event {
            Event::Text(text) | Event::Code(text) => image.alt.push_str(&text),
            Event::SoftBreak | Event::HardBreak => image.alt.push(' '),
            Event::Start(Tag::Image { .. }) => image.inner += 1,
            Event::End(TagEnd::Image) if image.inner > 0 => image.inner -= 1,
            Event::End(TagEnd::Image) => {
                if let Some(Image { url, title, alt, .. }) = self.image.take() {
                    self.page.image(&alt, &url, &title);
                }
            }
            Event::Start(_)
            | Event::End(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(heading) = &mut self.heading {
            heading.text.push_str(text);
        }
        self.page.text(text);
    }

    fn start(&mut self, tag: Tag<'t>) {
        match tag {
            Tag::Paragraph => self.page.open("p", &[]),
            Tag::Heading { level, .. } => {
                self.page.open(heading_tag(level), &[]);
                self.heading = self
                    .page
                    .attributes_start()
                    .map(|attributes_start| Heading { attributes_start, text: String::new() });
            }
            Tag::BlockQuote(_) => self.page.open("blockquote", &[]),
            Tag::CodeBlock(kind) => {
                self.page.open("pre", &[]);
                match language(&kind) {
                    Some(language) => self.page.open("code", &[("class", &format!("language-{language}"))]),
                    None => self.page.open("code", &[]),
                }
            }
            Tag::HtmlBlock => self.html.clear(),
            Tag::List(None) => self.page.open("ul", &[]),
            Tag::List(Some(1)) => self.page.open("ol", &[]),
            Tag::List(Some(start)) => self.page.open("ol", &[("start", &start.to_string())]),
            Tag::Item => self.page.open("li", &[]),
            Tag::FootnoteDefinition(label) => {
                let number = self.footnote(label).to_string();
                self.page.open("div", &[("id", &format!("{ID_PREFIX}fn-{number}"))]);
                self.page.open("sup", &[]);
                self.page.text(&number);
                self.page.close();
            }
            Tag::Table(alignments) => {
                self.alignments = alignments;
                self.page.open("table", &[]);
            }
            Tag::TableHead => {
                (self.cell, self.in_head) = (0, true);
                self.page.open("thead", &[]);
                self.page.open("tr", &[]);
            }
            Tag::TableRow => {
                (self.cell, self.in_head) = (0, false);
                self.page.open("tr", &[]);
            }
            Tag::TableCell => {
                let tag = if self.in_head { "th" } else { "td" };
                let align = match self.alignments.get(self.cell) {
                    Some(Alignment::Left) => &[("align", "left")][..],
                    Some(Alignment::Center) => &[("align", "center")],
                    Some(Alignment::Right) => &[("align", "right")],
                    Some(Alignment::None) | None => &[],
                };
                self.cell += 1;
                self.page.open(tag, align);
            }
            Tag::Emphasis => self.page.open("em", &[]),
            Tag::Strong => self.page.open("strong", &[]),
            Tag::Strikethrough => self.page.open("del", &[]),
            Tag::Link { link_type: pulldown_cmark::LinkType::Email, dest_url, title, .. } => {
                self.page.open_link(&format!("mailto:{dest_url}"), &title);
            }
            Tag::Link { dest_url, title, .. } => self.page.open_link(&dest_url, &title),
            Tag::Image { dest_url, title, .. } => {
                self.image = Some(Image { url: dest_url, title, alt: String::new(), inner: 0 });
            }
            // These are not switched on.
            Tag::Superscript
            | Tag::Subscript
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::MetadataBlock(_) => self.page.open_hidden(),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                if let Some(Heading { attributes_start, text }) = self.heading.take()
                    && let Some(id) = self.id_of(&text)
                {
                    self.page.insert_id(attributes_start, &id);
                }
                self.page.close();
            }
            TagEnd::CodeBlock | TagEnd::TableHead => {
                self.page.close();
                self.page.close();
            }
            TagEnd::HtmlBlock => {
                let html = std::mem::take(&mut self.html);
                self.page.html(&html);
                self.page.close_phrases();
            }
            // An image ends in `in_image`.
            TagEnd::Image => {}
            TagEnd::Paragraph
            | TagEnd::BlockQuote(_)
            | TagEnd::List(_)
            | TagEnd::Item
            | TagEnd::FootnoteDefinition
            | TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::Table
            | TagEnd::TableRow
            | TagEnd::TableCell
            | TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::Link
            | TagEnd::MetadataBlock(_) => self.page.close(),
        }
    }

    fn footnote(&mut self, label: CowStr<'t>) -> usize {
        let next = self.footnotes.len() + 1;
        *self.footnotes.entry(label).or_insert(next)
    }

    /// The id by which others know this heading: its words joined by hyphens, and a number when it is not the first.
    fn id_of(&mut self, text: &str) -> Option<String> {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let letters = text.trim().chars().flat_map(char::to_lowercase).filter(kept);
        let slug: String = letters.map(|c| if c == ' ' { '-' } else { c }).take(SLUG_LIMIT).collect();
        if slug.is_empty() {
            return None;
        }
        let count = self.slugs.entry(slug.clone()).or_default();
        loop {
            let id = if *count == 0 { slug.clone() } else { format!("{slug}-{count}") };
            *count += 1;
            if self.ids.insert(id.clone()) {
                return Some(id);
            }
        }
    }
}

fn heading_tag(level: HeadingLevel) -> &'static str {
    match level {
        HeadingLevel::H1 => "h1",
        HeadingLevel::H2 => "h2",
        HeadingLevel::H3 => "h3",
        HeadingLevel::H4 => "h4",
        HeadingLevel::H5 => "h5",
        HeadingLevel::H6 => "h6",
    }
}

/// The language of a block of code, for those who colour it.
fn language<'k>(kind: &'k CodeBlockKind<'_>) -> Option<&'k str> {
    let CodeBlockKind::Fenced(info) = kind else { return None };
    let language = info.split([' ', ',', '{']).next()?;
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+-_#.".contains(&byte);
    ((1..=SLUG_LIMIT).contains(&language.len()) && language.bytes().all(known)).then_some(language)
}
