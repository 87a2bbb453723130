//! Requests written byte by byte, for what no well-behaved client sends.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{ADMIN_TOKEN, Answer, Server};

/// One connection with one request on it.
pub struct Wire(TcpStream);

impl Wire {
    pub async fn open(server: &Server) -> Self {
        Self::to(server.address).await
    }

    pub async fn to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("a connection"))
    }

    /// Opens a connection and writes the head of a request of the admin.
    pub async fn admin(server: &Server, line: &str, headers: &[(&str, &str)]) -> Self {
        let mut wire = Self::open(server).await;
        let authorization = format!("Bearer {ADMIN_TOKEN}");
        let mut all = vec![("authorization", authorization.as_str())];
        all.extend_from_slice(headers);
        wire.head(line, &all).await;
        wire
    }

    /// Writes a request line without its version, a Host, and the headers given.
    pub async fn head(&mut self, line: &str, headers: &[(&str, &str)]) {
        let mut text = format!("{line} HTTP/1.1\r\nhost: registry.test\r\nconnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        self.write(text.as_bytes()).await;
    }

    /// A server may have answered and closed before everything was sent, so a failure here is none yet.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = timeout(Duration::from_secs(20), self.0.write_all(bytes)).await.expect("a server that reads");
    }

    /// One piece of a chunked body; an empty one ends it.
    pub async fn chunk(&mut self, bytes: &[u8]) {
        let framed = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.write(&framed).await;
    }

    /// Says that no more will come, as a client does that is done.
    pub async fn close_writing(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// The next bytes that come, up to an empty line.
    pub async fn head_of_answer(&mut self) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let byte = timeout(Duration::from_secs(20), self.0.read_u8()).await.expect("an answer in time");
            bytes.push(byte.expect("an open connection"));
        }
        String::from_utf8(bytes).expect("a text")
    }

    /// Everything that comes until the server closes.
    pub async fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = timeout(Duration::from_secs(20), self.0.read_to_end(&mut bytes)).await;
        // A reset ends it as well.
        let _ = read.expect("an end of the connection");
        bytes
    }

    /// Reads as many bytes and drops them.
    pub async fn skip(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        let read = timeout(Duration::from_secs(20), self.0.read_exact(&mut bytes)).await;
        read.expect("a body in time").expect("a whole body");
    }

    /// The answer, if one came. What is left of the request need not have been sent.
    pub async fn answer(self) -> Option<Answer> {
        self.answer_within(Duration::from_secs(20)).await
    }

    /// The answer, if one came, with so much time between its parts.
    pub async fn answer_within(mut self, patience: Duration) -> Option<Answer> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            let read = timeout(patience, self.0.read(&mut buffer)).await;
            let read = read.expect("an answer in time").unwrap_or(0);
            bytes.extend_from_slice(&buffer[..read]);
            let answer = parse(&bytes);
            let whole = answer
                .as_ref()
                .is_some_and(|answer| answer.body.len().to_string() == answer.header("content-length"));
            if read == 0 || whole {
                return answer;
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a text");
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name: HeaderName = name.parse().expect("a header");
        headers.append(name, HeaderValue::from_str(value).expect("a header value"));
    }
    Some(Answer { status, headers, body: bytes[end + 4..].to_vec().into() })
}
