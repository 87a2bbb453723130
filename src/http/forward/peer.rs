//! Another node: whether it is who it should be, before anything is told to it, and whether it still lives.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use thiserror::Error;
use tokio::time::Instant;
use uuid::Uuid;

use crate::token::node::{NodeKey, NodePurpose, challenge};

/// Until there is a connection; who takes longer is gone.
const CONNECT: Duration = Duration::from_secs(2);
/// Until another node has proved who it is, a busy one included.
const PROOF: Duration = Duration::from_secs(4);
/// How often a node is asked while it answers a request, and for how long it may be silent.
const WATCH_EVERY: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(10);
/// Connections are closed here before the other node closes them.
const IDLE: Duration = Duration::from_secs(10);

/// Why a node is not used.
#[derive(Debug, Error)]
pub(super) enum PeerError {
    #[error("{0}")]
    Transport(String),
    #[error("it did not answer in time")]
    Silent,
    #[error("another server answers there")]
    Stranger,
    #[error("this node has no random bytes")]
    Random,
}

impl From<reqwest::Error> for PeerError {
    fn from(error: reqwest::Error) -> Self {
        // The address stands in the log already, and the cause says more than the error around it.
        let error = error.without_url();
        let cause = std::iter::successors(std::error::Error::source(&error), |error| error.source()).last();
        Self::Transport(cause.map_or_else(|| error.to_string(), ToString::to_string))
    }
}

/// Connections to other nodes.
pub(super) struct Peers {
    plain: Client,
    /// Made when it is needed: the certificates of the system are looked for, and may not be there.
    encrypted: OnceLock<Result<Client, String>>,
}

impl Peers {
    pub(super) fn new() -> Result<Self, PeerError> {
        Ok(Self { plain: builder().tls_certs_only([]).build()?, encrypted: OnceLock::new() })
    }

    /// The client for a URL.
    pub(super) fn client(&self, url: &str) -> Result<&Client, PeerError> {
        if !url.starts_with("https://") {
            return Ok(&self.plain);
        }
        let made = || builder().build().map_err(|error| PeerError::from(error).to_string());
        self.encrypted.get_or_init(made).as_ref().map_err(|error| PeerError::Transport(error.clone()))
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .http1_only()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
}

/// A node at the place where it said that it is.
#[derive(Clone, Copy)]
pub(super) struct Peer<'a> {
    pub client: &'a Client,
    pub key: &'a NodeKey,
    pub id: Uuid,
    /// Without a slash at the end.
    pub url: &'a str,
}

impl Peer<'_> {
    /// Has the node prove that it is the one meant. Its address may be another's by now, and what is passed on holds
    /// the client's credential.
    pub(super) async fn prove(self) -> Result<(), PeerError> {
        tokio::time::timeout(PROOF, self.challenge()).await.map_err(|_| PeerError::Silent)?
    }

    async fn challenge(self) -> Result<(), PeerError> {
        let challenge = challenge().map_err(|_| PeerError::Random)?;
        let mut response = self.client.get(format!("{}/node?challenge={challenge}", self.url)).send().await?;
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await? {
            answer.extend_from_slice(&piece);
            if answer.len() > 1024 {
                return Err(PeerError::Stranger);
            }
        }
        let answer = String::from_utf8(answer).map_err(|_| PeerError::Stranger)?;
        let id = self.id.to_string();
        let signed = [id.as_bytes(), challenge.as_bytes()];
        match answer.trim_end().split_once(' ') {
            Some((told, proof)) if told == id && self.key.verify(NodePurpose::Proof, &signed, proof) => {
                Ok(())
            }
            Some(_) | None => Err(PeerError::Stranger),
        }
    }

    /// Ends when the node has given no sign of life for too long. An answer to a request may take its time, as the
    /// bytes have to become durable; so life is asked for beside it.
    pub(super) async fn falls_silent(self) {
        let mut alive = Instant::now();
        while alive.elapsed() < SILENCE {
            tokio::time::sleep(WATCH_EVERY).await;
            if self.prove().await.is_ok() {
                alive = Instant::now();
            }
        }
    }
}
