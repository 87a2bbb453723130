//! Lists and plans as they were answered a moment ago, so that asking again costs no more than a cached manifest.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;
use serde::Serialize;
use tokio::sync::{Mutex, MutexGuard};

use crate::digest::Sha256;

/// Longest life of an answer. What is written to plugins is seen earlier, by the number of writes; what another node
/// enables is seen by this alone, within a second.
const LIFE: Duration = Duration::from_millis(800);
/// Most bytes that are kept.
const BYTES: u64 = 32 * 1024 * 1024;

/// An answer that is the same for everybody who reads the whole of its catalogs.
pub struct Answer {
    pub body: Bytes,
    pub content_type: &'static str,
    /// Of the bytes alone, so that every replica says the same.
    pub etag: String,
    pub link: Option<String>,
}

impl Answer {
    pub fn json(value: &impl Serialize, link: Option<String>) -> Self {
        Self::of(serde_json::to_vec(value).unwrap_or_default(), "application/json", link)
    }

    pub fn of(body: Vec<u8>, content_type: &'static str, link: Option<String>) -> Self {
        let etag = format!("\"{}\"", Sha256::of(&body).hex());
        Self { body: body.into(), content_type, etag, link }
    }
}

/// Answers by what was asked, each with the number of writes that was current before it was made.
pub struct KeptAnswers {
    answers: Cache<String, (u64, Arc<Answer>)>,
    /// Of those who ask the same, one makes the answer and the others wait for it.
    making: [Mutex<()>; 64],
}

impl Default for KeptAnswers {
    fn default() -> Self {
        let weigh = |key: &String, (_, answer): &(u64, Arc<Answer>)| {
            u32::try_from(key.len() + answer.body.len() + 512).unwrap_or(u32::MAX)
        };
        Self {
            answers: Cache::builder().weigher(weigh).max_capacity(BYTES).time_to_live(LIFE).build(),
            making: [const { Mutex::const_new(()) }; 64],
        }
    }
}

impl KeptAnswers {
    pub fn get(&self, asked: &str, written: u64) -> Option<Arc<Answer>> {
        self.answers.get(asked).filter(|(kept, _)| *kept == written).map(|(_, answer)| answer)
    }

    /// To be held while an answer is made; who waited for it looks again first.
    pub async fn alone(&self, asked: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        asked.hash(&mut hasher);
        let place = hasher.finish() % self.making.len() as u64;
        self.making[usize::try_from(place).unwrap_or_default()].lock().await
    }

    pub fn keep(&self, asked: String, written: u64, answer: &Arc<Answer>) {
        self.answers.insert(asked, (written, Arc::clone(answer)));
    }
}
