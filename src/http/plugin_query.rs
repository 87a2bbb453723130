//! The parameters of lists of plugins and versions.

use percent_encoding::percent_decode_str;

use super::query::{Query, QueryError, bad};
use crate::name::Tag;
use crate::registry::PAGE_LIMIT;
use crate::version::Version;

/// Most words of a search.
const WORDS: usize = 16;
/// Most channels of one upload.
const CHANNELS: usize = 16;

/// Which of the two catalogs of an organisation's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    System,
    Org,
}

impl Source {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "system" => Some(Self::System),
            "org" => Some(Self::Org),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Org => "org",
        }
    }
}

/// `q`, `tag`, `capability`, `channel`, `include_disabled`, `limit` and `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginListQuery {
    pub words: Vec<String>,
    pub tag: Option<String>,
    pub capability: Option<String>,
    pub channel: Option<Tag>,
    pub with_disabled: bool,
    pub limit: usize,
    /// A pid and where it is from.
    pub after: Option<(String, Source)>,
    /// All of it but `limit` and `after`, as it was sent, for links.
    pub raw: String,
}

impl PluginListQuery {
    /// `disabled`: whether plugins that are disabled are in it unless the query says otherwise.
    pub fn read(query: &Query<'_>, disabled: bool) -> Result<Self, QueryError> {
        let words = query.text("q")?.unwrap_or_default().to_lowercase();
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        if words.len() > WORDS {
            return Err(bad("q", "has more than 16 words"));
        }
        let page = query.page()?;
        let after = page.after.map(|after| match after.rsplit_once(':') {
            Some((pid, source)) => Source::parse(source).map(|source| (pid.to_owned(), source)),
            None => None,
        });
        let after = after.map(|after| after.ok_or_else(|| bad("after", "is not from a Link of ours")));
        let raw = query.0.split('&').filter(|pair| {
            let name = percent_decode_str(pair.split('=').next().unwrap_or_default()).decode_utf8_lossy();
            !name.is_empty() && name != "limit" && name != "after"
        });
        Ok(Self {
            words,
            tag: query.text("tag")?,
            capability: query.text("capability")?,
            channel: query.channel()?,
            with_disabled: query.flag("include_disabled")?.unwrap_or(disabled),
            limit: page.limit,
            after: after.transpose()?,
            // The one character that a query may hold and a header may not.
            raw: raw.collect::<Vec<_>>().join("&").replace('\x7f', "%7F"),
        })
    }
}

/// `limit` and, from a `Link` of ours, `after`: a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionsQuery {
    pub limit: usize,
    pub below: Option<Version>,
}

impl VersionsQuery {
    pub fn read(query: &Query<'_>) -> Result<Self, QueryError> {
        let page = query.page()?;
        let below = page.after.map(|text| text.parse::<Version>());
        let below = below.transpose().map_err(|_| bad("after", "is not from a Link of ours"))?;
        Ok(Self { limit: page.limit.min(PAGE_LIMIT), below })
    }
}

impl Query<'_> {
    /// Text of people, as forms and browsers send it: a `+` is a blank.
    fn text(&self, name: &'static str) -> Result<Option<String>, QueryError> {
        let blanks = self.0.replace('+', "%20");
        Query(&blanks).single(name)
    }

    fn flag(&self, name: &'static str) -> Result<Option<bool>, QueryError> {
        match self.single(name)?.as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(bad(name, "is true or false")),
        }
    }

    pub fn source(&self) -> Result<Option<Source>, QueryError> {
        let source = self.single("source")?;
        source.map(|text| Source::parse(&text).ok_or_else(|| bad("source", "is system or org"))).transpose()
    }

    pub fn channel(&self) -> Result<Option<Tag>, QueryError> {
        self.single("channel")?.map(|text| text.parse().map_err(QueryError::Tag)).transpose()
    }

    /// Every `channel` of an upload.
    pub fn channels(&self) -> Result<Vec<Tag>, QueryError> {
        let mut channels: Vec<Tag> = Vec::new();
        for text in self.values("channel")? {
            let channel = text.parse().map_err(QueryError::Tag)?;
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        if channels.len() > CHANNELS { Err(QueryError::TooManyTags) } else { Ok(channels) }
    }
}
