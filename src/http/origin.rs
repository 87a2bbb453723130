//! Where a request came from, and what the server remembers of the connection.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;

use crate::callers::Recognized;
use crate::token::is_same_secret;

/// What a server knows of a connection.
pub struct Connection {
    address: Option<IpAddr>,
    /// Who came last, by the Authorization header that they sent: most connections are one caller's.
    recent: Mutex<Option<(HeaderValue, Recognized)>>,
}

impl Connection {
    pub fn new(address: Option<IpAddr>) -> Self {
        Self { address, recent: Mutex::default() }
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Who was recognized last, if by this header.
    pub(super) fn recent(&self, header: &HeaderValue) -> Option<Recognized> {
        let recent = self.lock();
        let (last, recognized) = recent.as_ref()?;
        is_same_secret(last.as_bytes(), header.as_bytes()).then(|| recognized.clone())
    }

    pub(super) fn remember(&self, header: HeaderValue, recognized: Recognized) {
        *self.lock() = Some((header, recognized));
    }

    fn lock(&self) -> MutexGuard<'_, Option<(HeaderValue, Recognized)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a request came from.
#[derive(Clone)]
pub(super) struct Origin {
    pub connection: Arc<Connection>,
    pub request_id: String,
}

impl Origin {
    /// The client's.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.connection.address()
    }
}
