//! A list of `/api`, page by page.

use reqwest::Url;
use serde_json::Value;

use super::connection::Connection;
use super::error::ClientError;
use super::pages::Pages;

/// A list of which one page is held at a time.
pub struct List<'a> {
    connection: &'a Connection,
    pages: Pages,
    /// The page to ask for.
    page: Option<Url>,
}

impl<'a> List<'a> {
    pub fn of(connection: &'a Connection, path: &str, query: &[(&str, String)]) -> Self {
        let page = connection.registry().at(path, query);
        Self { connection, pages: Pages::default(), page: Some(page) }
    }

    /// The items of the next page. `None`: there are no more pages.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Value>>, ClientError> {
        let Some(url) = self.page.take() else { return Ok(None) };
        let (items, next) = self.connection.page(url, &mut self.pages).await?;
        self.page = next;
        Ok(Some(items))
    }
}
