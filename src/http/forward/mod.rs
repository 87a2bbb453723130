//! Requests for an upload session of another node: passed on to that node, and its answer passed back.

mod mark;
mod passed_body;
mod peer;

use std::sync::Arc;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::{Body, Response, Url};
use uuid::Uuid;

use self::mark::{Forged, MARK, Mark, Subject};
use self::passed_body::PassedBody;
use self::peer::{Peer, PeerError, Peers};
use super::error::ApiError;
use super::origin::{Connection, Origin};
use super::reply::{Freshness, Reply};
use super::request_body::RequestBody;
use crate::access::Requester;
use crate::meta::Node;
use crate::registry::Refusal;
use crate::token::node::{NodeKey, NodePurpose};

/// Largest answer about an upload session.
const ANSWER_LIMIT: usize = 256 * 1024;

/// Headers of a connection, and of how a message stands on it; the others are what the client means.
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The way to the other nodes, and how they know this one.
pub struct Forwarder {
    node: Uuid,
    key: NodeKey,
    peers: Peers,
}

impl Forwarder {
    /// `node`: who this one is. `key`: what all nodes of the registry have, and nobody else.
    pub fn new(node: Uuid, key: NodeKey) -> Result<Self, String> {
        let peers = Peers::new().map_err(|error| error.to_string())?;
        Ok(Self { node, key, peers })
    }

    /// The answer to another node that asks who is here.
    pub(super) fn proof(&self, challenge: &str) -> Reply {
        let id = self.node.to_string();
        let proof = self.key.sign(NodePurpose::Proof, &[id.as_bytes(), challenge.as_bytes()]);
        let mut reply = Reply::bytes(StatusCode::OK, format!("{id} {proof}\n").into(), Freshness::Operation);
        reply.header("content-type", "text/plain; charset=utf-8");
        reply
    }

    /// Where a request came from that another node passed on. `None`: from a client. A mark that no node made for this
    /// very request is refused and not passed over, so that no request goes round in circles.
    pub(super) fn passed(&self, parts: &Parts) -> Result<Option<Origin>, ApiError> {
        match Mark::read(&parts.headers, &self.key, &Subject::arrived(self.node, parts)) {
            Ok(None) => Ok(None),
            Ok(Some(Mark { address, request_id })) => {
                Ok(Some(Origin { connection: Arc::new(Connection::new(address)), request_id }))
            }
            Err(Forged) => Err(ApiError::BadHeader {
                name: "Quire-Forwarded",
                reason: "is not of a node of this registry",
            }),
        }
    }

    /// Passes a request on to the node that has its session, while nothing of the body was read.
    ///
    /// That node authenticates and authorises the client's own credential, as it always does. What it takes from here
    /// is the client's address and the id of the request, and that the request was passed on already.
    pub(super) async fn pass_on(
        &self,
        home: &Node,
        parts: &Parts,
        requester: &Requester,
        body: RequestBody,
    ) -> Result<Reply, ApiError> {
        let gone = ApiError::Refused(Refusal::UploadUnknown);
        if parts.headers.contains_key(&MARK) {
            return Err(gone);
        }
        let Some(base) = home.url.as_deref() else {
            tracing::warn!(node = %home.id, "the node of an upload session cannot be reached: set QUIRE_NODE_URL there");
            return Err(gone);
        };
        let told = |error: PeerError| {
            tracing::warn!(node = %home.id, url = base, %error, "the node of an upload session is not there");
            ApiError::Refused(Refusal::UploadUnknown)
        };
        let client = self.peers.client(base).map_err(told)?;
        let peer = Peer { client, key: &self.key, id: home.id, url: base };
        peer.prove().await.map_err(told)?;
        let request = self.request(peer, parts, requester).ok_or(gone)?;
        let (body, pump) = PassedBody::of(body);
        let exchange = async { answer(request.body(Body::wrap(body)).send().await?).await };
        let error = tokio::select! {
            answered = exchange => match answered {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            },
            // What is under way is broken off with it, as the client did.
            broken = pump => return Err(ApiError::Refused(Refusal::Body(broken))),
            () = peer.falls_silent() => PeerError::Silent,
        };
        tracing::warn!(node = %home.id, url = base, %error, "a request that was passed on was not answered");
        Err(ApiError::NotReady("the node that has this upload session does not answer"))
    }

    /// The request as the other node is to see it, but for its body.
    fn request(
        &self,
        peer: Peer<'_>,
        parts: &Parts,
        requester: &Requester,
    ) -> Option<reqwest::RequestBuilder> {
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        // As it will stand in the request line, which may spell some characters in another way than the client did.
        let url = Url::parse(&format!("{}{target}", peer.url)).ok()?;
        let target = url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut headers = end_to_end(&parts.headers);
        // For the challenge of a 401, which names the server that the client came to.
        if let Some(host) = host(parts) {
            headers.insert(HOST, host);
        }
        let subject = Subject { receiver: peer.id, target: &target, ..Subject::arrived(peer.id, parts) };
        let mark = Mark { address: requester.address, request_id: requester.request_id.clone() };
        headers.insert(&MARK, mark.write(&self.key, &subject).try_into().ok()?);
        Some(peer.client.request(parts.method.clone(), url).headers(headers))
    }
}

async fn answer(mut response: Response) -> Result<Reply, PeerError> {
    let status = response.status();
    let headers = end_to_end(response.headers());
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > ANSWER_LIMIT {
            return Err(PeerError::Stranger);
        }
        body.extend_from_slice(&piece);
    }
    let mut reply = Reply::bytes(status, body.freeze(), Freshness::Write);
    reply.headers = headers;
    Ok(reply)
}

/// What a message says beyond its connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()) {
        for name in name.split(',') {
            kept.remove(name.trim());
        }
    }
    for name in &HOP_BY_HOP {
        kept.remove(name);
    }
    kept
}

fn host(parts: &Parts) -> Option<HeaderValue> {
    match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => parts.headers.get(HOST).cloned(),
    }
}
