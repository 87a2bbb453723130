//! The header by which a node says that it passed a request on, and for whom.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{HeaderName, Method};
use uuid::Uuid;

use crate::token::node::{NodeKey, NodePurpose};

/// On a request that was passed on, and on no other.
pub(super) static MARK: HeaderName = HeaderName::from_static("quire-forwarded");

/// What a node cannot know of a request that came by another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The client's.
    pub address: Option<IpAddr>,
    pub request_id: String,
}

/// The header is there, and no node of this registry made it for this request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forged;

/// What a mark is good for: this request of this client to this node. It holds no time, as the clocks of nodes differ;
/// whoever repeats it has to have the credential, and can do no more with it than with the credential alone.
pub(super) struct Subject<'a> {
    pub receiver: Uuid,
    pub method: &'a Method,
    /// Path and query as they stand in the request line.
    pub target: &'a str,
    pub authorization: Option<&'a HeaderValue>,
}

impl<'a> Subject<'a> {
    /// A request that came to a node.
    pub(super) fn arrived(receiver: Uuid, parts: &'a Parts) -> Self {
        Self {
            receiver,
            method: &parts.method,
            target: parts.uri.path_and_query().map_or("/", |target| target.as_str()),
            authorization: parts.headers.get(AUTHORIZATION),
        }
    }
}

impl Mark {
    /// The mark of a request. `None`: it came from a client.
    pub(super) fn read(headers: &HeaderMap, key: &NodeKey, on: &Subject<'_>) -> Result<Option<Self>, Forged> {
        let mut values = headers.get_all(&MARK).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(None),
            (Some(value), None) => value.to_str().map_err(|_| Forged)?,
            (Some(_), Some(_)) => return Err(Forged),
        };
        let [address, request_id, signature] = value.split(' ').collect::<Vec<_>>()[..] else {
            return Err(Forged);
        };
        if !verify(key, on, address, request_id, signature) {
            return Err(Forged);
        }
        let address = match address {
            UNKNOWN => None,
            known => Some(known.parse().map_err(|_| Forged)?),
        };
        Ok(Some(Self { address, request_id: request_id.to_owned() }))
    }

    /// The value of the header.
    pub(super) fn write(&self, key: &NodeKey, on: &Subject<'_>) -> String {
        let address = self.address.map_or(UNKNOWN.to_owned(), |address| address.to_string());
        let Self { request_id, .. } = self;
        let signature =
            key.sign(NodePurpose::Forward, &texts(on, &address, request_id, on.receiver.as_bytes()));
        format!("{address} {request_id} {signature}")
    }
}

/// In place of an address that is not known.
const UNKNOWN: &str = "-";

fn verify(key: &NodeKey, on: &Subject<'_>, address: &str, request_id: &str, signature: &str) -> bool {
    key.verify(NodePurpose::Forward, &texts(on, address, request_id, on.receiver.as_bytes()), signature)
}

fn texts<'a>(
    on: &'a Subject<'_>,
    address: &'a str,
    request_id: &'a str,
    receiver: &'a [u8],
) -> [&'a [u8]; 6] {
    let authorization = on.authorization.map_or(&b""[..], HeaderValue::as_bytes);
    [
        receiver,
        on.method.as_str().as_bytes(),
        on.target.as_bytes(),
        authorization,
        address.as_bytes(),
        request_id.as_bytes(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "/v2/acme/tool/blobs/uploads/1";

    fn on<'a>(receiver: Uuid, method: &'a Method, target: &'a str, who: &'a HeaderValue) -> Subject<'a> {
        Subject { receiver, method, target, authorization: Some(who) }
    }

    #[test]
    fn a_mark_is_good_for_one_request_of_one_client_to_one_node() {
        let key = NodeKey::new(&NodeKey::generate().unwrap());
        let (here, who) = (Uuid::now_v7(), HeaderValue::from_static("Bearer me"));
        let meant = on(here, &Method::PATCH, TARGET, &who);
        for address in [None, Some("192.0.2.7".parse().unwrap()), Some("2001:db8::7".parse().unwrap())] {
            let mark = Mark { address, request_id: "18f-2a".into() };
            let value = mark.write(&key, &meant);
            let mut headers = HeaderMap::new();
            assert_eq!(Mark::read(&headers, &key, &meant), Ok(None));
            headers.insert(&MARK, value.parse().unwrap());
            assert_eq!(Mark::read(&headers, &key, &meant), Ok(Some(mark)));
            let other = HeaderValue::from_static("Bearer you");
            for wrong in [
                on(Uuid::now_v7(), &Method::PATCH, TARGET, &who),
                on(here, &Method::PUT, TARGET, &who),
                on(here, &Method::PATCH, "/v2/acme/tool/blobs/uploads/2", &who),
                on(here, &Method::PATCH, TARGET, &other),
                Subject { authorization: None, ..on(here, &Method::PATCH, TARGET, &who) },
            ] {
                assert_eq!(Mark::read(&headers, &key, &wrong), Err(Forged));
            }
            let stranger = NodeKey::new(&NodeKey::generate().unwrap());
            assert_eq!(Mark::read(&headers, &stranger, &meant), Err(Forged));
            headers.append(&MARK, value.parse().unwrap());
            assert_eq!(Mark::read(&headers, &key, &meant), Err(Forged), "twice");
        }
        for forged in ["", "-", "- x", "- x y", "192.0.2.9 18f-2a AAAA", "- x y z"] {
            let mut headers = HeaderMap::new();
            headers.insert(&MARK, forged.parse().unwrap());
            assert_eq!(Mark::read(&headers, &key, &meant), Err(Forged), "{forged}");
        }
    }
}
