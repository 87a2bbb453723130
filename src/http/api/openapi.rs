//! `/api/openapi.json`: the description of these routes, for programs.

use std::sync::LazyLock;

use super::kept::Answer;
use super::plugins::Desk;
use crate::http::reply::Reply;

static DOCUMENT: LazyLock<Answer> = LazyLock::new(|| {
    Answer::of(include_bytes!("../../../spec/openapi.json").to_vec(), "application/json", None)
});

pub fn get(desk: &Desk<'_>) -> Reply {
    desk.tagged(&DOCUMENT)
}
