//! A blob that is read while it arrives, and whose readers learn in the end whether it was the right one.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;
use tokio::sync::watch;

use super::BlobError;
use crate::staging::Observer;

/// The end of what a reader asked for, which it gets when the digest was found to be right. Whoever got less than
/// they asked for knows that they have nothing.
const HELD_BACK: u64 = 128 * 1024;

/// Why a fill ended without its blob.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FillError {
    /// The same may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// What came is not what the digest names.
    #[error("the far store sent {0}")]
    WrongBytes(String),
    /// Something is broken here or there.
    #[error("{0}")]
    Broken(String),
}

impl From<FillError> for BlobError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Unavailable(reason) => Self::Unavailable(reason),
            FillError::WrongBytes(_) | FillError::Broken(_) => Self::Io(io::Error::other(error)),
        }
    }
}

#[derive(Debug, Clone)]
enum State {
    /// So many bytes stand in the file, and nobody knows yet whether they are the right ones.
    Arriving(u64),
    /// All bytes are there and have the digest.
    Whole,
    Failed(FillError),
}

impl State {
    /// How far a reader may read that wants what stands before `end`.
    fn readable(&self, end: u64) -> u64 {
        match self {
            Self::Arriving(written) => (*written).min(end.saturating_sub(HELD_BACK)),
            Self::Whole => end,
            Self::Failed(_) => 0,
        }
    }
}

struct Shared {
    file: Arc<File>,
    state: watch::Sender<State>,
    refused: AtomicBool,
}

/// A blob that arrives. Clones read the same file, each at offsets of its own.
#[derive(Clone)]
pub struct Filling(Arc<Shared>);

impl fmt::Debug for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filling").field(&*self.0.state.borrow()).finish()
    }
}

impl Filling {
    /// A blob of which nothing has arrived, and the side that knows what arrives.
    pub fn begin(file: Arc<File>) -> (Arrival, Self) {
        let (state, _) = watch::channel(State::Arriving(0));
        let shared = Arc::new(Shared { file, state, refused: false.into() });
        (Arrival(Arc::clone(&shared)), Self(shared))
    }

    /// The file that fills. Only what [`Filling::readable`] allows may be taken from it.
    pub fn file(&self) -> &Arc<File> {
        &self.0.file
    }

    /// Waits until a reader at `offset`, who wants everything before `end`, may go on, and says how far. It ends up
    /// at `end` only when the digest was found to be right.
    pub async fn readable(&self, offset: u64, end: u64) -> Result<u64, FillError> {
        let mut states = self.0.state.subscribe();
        let moves = |state: &State| matches!(state, State::Failed(_)) || state.readable(end) > offset;
        match states.wait_for(moves).await.as_deref() {
            Ok(State::Failed(error)) => Err(error.clone()),
            Ok(state) => Ok(state.readable(end)),
            Err(closed) => Err(FillError::Unavailable(closed.to_string())),
        }
    }

    /// Waits for the end, and gives the file with all its bytes.
    pub async fn whole(&self) -> Result<Arc<File>, FillError> {
        let mut states = self.0.state.subscribe();
        match states.wait_for(|state| !matches!(state, State::Arriving(_))).await.as_deref() {
            Ok(State::Failed(error)) => Err(error.clone()),
            Ok(State::Whole | State::Arriving(_)) => Ok(Arc::clone(&self.0.file)),
            Err(closed) => Err(FillError::Unavailable(closed.to_string())),
        }
    }

    /// Nobody needs to go on: it was found that this cannot be the blob.
    pub fn refuse(&self) {
        self.0.refused.store(true, Ordering::SeqCst);
    }
}

/// The side of a filling that knows what arrives. When it is dropped before the end, the fill has failed.
pub struct Arrival(Arc<Shared>);

impl Arrival {
    /// To be told how far the file has come.
    pub fn observer(&self) -> Observer {
        let shared = Arc::clone(&self.0);
        Arc::new(move |written| {
            shared.state.send_if_modified(|state| match state {
                State::Arriving(before) if *before < written => {
                    *before = written;
                    true
                }
                State::Arriving(_) | State::Whole | State::Failed(_) => false,
            });
        })
    }

    /// Whether a reader has found that this cannot be the blob.
    pub fn is_refused(&self) -> bool {
        self.0.refused.load(Ordering::SeqCst)
    }

    /// All bytes stand in the file, and they have the digest.
    pub fn verified(self) {
        self.0.state.send_replace(State::Whole);
    }

    /// It ends here, and every reader is told.
    pub fn failed(self, error: FillError) {
        self.0.state.send_replace(State::Failed(error));
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.0.state.send_if_modified(|state| {
            let ends = matches!(state, State::Arriving(_));
            if ends {
                *state = State::Failed(FillError::Unavailable("the fill was given up".into()));
            }
            ends
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1_000_000;

    fn begin() -> (Arrival, Filling) {
        Filling::begin(Arc::new(tempfile::tempfile().unwrap()))
    }

    /// P1: the end of a part comes only after the whole was hashed.
    #[tokio::test]
    async fn p1_the_end_is_held_back_until_the_digest_is_known() {
        let (arrival, filling) = begin();
        let observer = arrival.observer();
        observer(300_000);
        assert_eq!(filling.readable(0, SIZE).await, Ok(300_000));
        observer(200_000);
        assert_eq!(filling.readable(0, SIZE).await, Ok(300_000), "it never goes back");
        observer(SIZE);
        assert_eq!(filling.readable(0, SIZE).await, Ok(SIZE - HELD_BACK));
        assert_eq!(filling.readable(0, 400_000).await, Ok(400_000 - HELD_BACK), "a part has an end, too");
        let mut small = Box::pin(filling.readable(0, 1000));
        assert!(futures_poll(&mut small).is_none(), "a small part waits");
        arrival.verified();
        assert_eq!(small.await, Ok(1000));
        assert_eq!(filling.readable(5, SIZE).await, Ok(SIZE));
        filling.whole().await.unwrap();
    }

    #[tokio::test]
    async fn a_failure_reaches_whoever_waits() {
        for end in [Some(FillError::WrongBytes("x".into())), None] {
            let (arrival, filling) = begin();
            let waits = tokio::spawn({
                let filling = filling.clone();
                async move { (filling.readable(0, SIZE).await, filling.whole().await.map(|_| ())) }
            });
            tokio::task::yield_now().await;
            arrival.observer()(10);
            match end.clone() {
                Some(error) => arrival.failed(error),
                None => drop(arrival),
            }
            let (readable, whole) = waits.await.unwrap();
            assert!(readable.is_ok_and(|far| far == 10) || whole.is_err());
            assert!(whole.is_err());
            assert!(filling.readable(10, SIZE).await.is_err());
            assert!(end.is_none_or(|end| whole == Err(end)));
        }
    }

    fn futures_poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }
}
