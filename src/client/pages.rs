//! Where a list goes on: the `Link` header (RFC 8288).

use std::collections::BTreeSet;

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};

use super::error::ClientError;

/// Most pages of one list: a server that goes on and on is not followed for ever.
const MOST: usize = 10_000;

/// The pages of one list that were asked for.
#[derive(Default)]
pub struct Pages(BTreeSet<Url>);

impl Pages {
    /// The page after this one, by the headers of its answer. It is on the same server, since the credential
    /// is meant for no other, and has not been asked for, since lists end.
    pub fn next(&mut self, page: &Url, headers: &HeaderMap) -> Result<Option<Url>, ClientError> {
        self.0.insert(page.clone());
        let mut links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let Some(target) = links.find_map(next_target) else { return Ok(None) };
        let refused = |reason: &str| ClientError::Unexpected {
            url: page.origin().ascii_serialization(),
            reason: reason.to_owned(),
        };
        let next = page.join(target).map_err(|_| refused("its list goes on at what is no address"))?;
        if next.origin() != page.origin() {
            return Err(refused("its list goes on at another server"));
        }
        if self.0.contains(&next) {
            return Err(refused("its list goes in a circle"));
        }
        if self.0.len() >= MOST {
            return Err(refused("its list goes on over too many pages"));
        }
        Ok(Some(next))
    }
}

/// The target of the first link whose relation is `next`.
fn next_target(links: &str) -> Option<&str> {
    let mut rest = links;
    loop {
        let (target, after) = rest.split_once('<')?.1.split_once('>')?;
        let end = outside_quotes(after, ',').unwrap_or(after.len());
        if parameters(&after[..end]).any(|(name, value)| {
            let mut relations = value.split_ascii_whitespace();
            name.eq_ignore_ascii_case("rel") && relations.any(|rel| rel.eq_ignore_ascii_case("next"))
        }) {
            return Some(target);
        }
        rest = &after[end..];
    }
}

/// `;`-separated names and values, the values without their quotes.
fn parameters(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = outside_quotes(text, ';').unwrap_or(text.len());
        rest = text.get(end + 1..);
        let (name, value) = text[..end].split_once('=').unwrap_or((&text[..end], ""));
        Some((name.trim(), value.trim().trim_matches('"')))
    })
}

fn outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, char)| {
        quoted ^= char == '"';
        (char == wanted && !quoted).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(links: &[&str]) -> Result<Option<String>, ClientError> {
        let page = "http://registry.test:5000/api/orgs?limit=2".parse().unwrap();
        let headers = links.iter().map(|link| (LINK, link.parse().unwrap())).collect();
        Ok(Pages::default().next(&page, &headers)?.map(String::from))
    }

    #[test]
    fn the_next_page_is_found() {
        let expected = Some("http://registry.test:5000/api/orgs?limit=2&after=b".to_owned());
        for links in [
            &["</api/orgs?limit=2&after=b>; rel=\"next\""][..],
            &["<?limit=2&after=b>;rel=next"],
            &["<http://registry.test:5000/api/orgs?limit=2&after=b> ; title=\"a, b; c\" ; REL=\"last NEXT\""],
            &["</first>; rel=\"first\", </api/orgs?limit=2&after=b>; rel=\"next\", </last>; rel=last"],
            &["</first>; rel=first; title=\"<x>; rel=next\"", "</api/orgs?limit=2&after=b>; rel=next"],
        ] {
            assert_eq!(next(links).unwrap(), expected, "{links:?}");
        }
        for links in
            [&[][..], &["</a>; rel=\"prev\""], &["/a; rel=next"], &["</a; rel=next"], &["</a>"], &[""]]
        {
            assert_eq!(next(links).unwrap(), None, "{links:?}");
        }
    }

    #[test]
    fn a_list_stays_on_its_server_and_ends() {
        for link in [
            "<http://elsewhere.test/api/orgs>; rel=next",
            "<https://registry.test:5000/api/orgs>; rel=next",
            "<//registry.test:5001/api/orgs>; rel=next",
            "</api/orgs?limit=2>; rel=next",
            "<http://[>; rel=next",
        ] {
            assert!(matches!(next(&[link]), Err(ClientError::Unexpected { .. })), "{link}");
        }
    }
}
