//! A README as HTML that is safe to put into a page, whoever wrote it, and that fetches nothing from elsewhere.
//!
//! Nothing of what an author wrote is passed on as markup. Markdown becomes events, HTML in it becomes tags, and
//! the page writes the few elements and attributes that it knows, each closed where it was opened. The
//! tests have a sanitiser as a second opinion, which finds nothing to remove.

mod links;
mod markdown;
mod nesting;
mod page;
mod tag;

use self::links::Links;
use self::page::Page;

/// Most bytes that a README is rendered to; one that gives more is shown as it was written.
const OUTPUT_LIMIT: usize = 4 << 20;

/// A README as HTML. `path` is its place in the package, `file_url` the URL of a file in the package, and `None`
/// when there is no such file.
///
/// Markdown is rendered, any other text is shown as it is, and so is Markdown that is nested too deep or gives
/// too much. Links go to `http`, `https` and `mailto`, to places in the text and to files of the package; images
/// are files of the package, others become links. Every id has the prefix `user-content-`. No more comes out than
/// 4 MiB, or five times the text.
pub fn readme_html(path: &str, text: &str, file_url: &dyn Fn(&str) -> Option<String>) -> String {
    let (_, extension) = path.rsplit_once('.').unwrap_or_default();
    let is_markdown = ["md", "markdown"].iter().any(|known| extension.eq_ignore_ascii_case(known));
    let rendered = (is_markdown && nesting::is_bounded(text))
        .then(|| markdown::render(text, Page::new(Links::new(path, file_url), OUTPUT_LIMIT)));
    rendered.flatten().unwrap_or_else(|| format!("<pre>{}</pre>\n", page::escape(text)))
}

#[cfg(test)]
mod tests;
