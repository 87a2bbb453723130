//! Forms: the splitting of a body into pieces never changes what is read of it.
#![no_main]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use quire::http::multipart::{FormFile, MultipartError};
use quire::staging::{Source, SourceError};

struct Pieces(Bytes, usize);

#[async_trait]
impl Source for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let length = self.0.len().min(self.1);
        Ok((length > 0).then(|| self.0.split_to(length)))
    }
}

async fn read(body: Bytes, piece: usize) -> Result<(Option<String>, Vec<u8>), MultipartError> {
    let content_type = HeaderValue::from_static("multipart/form-data; boundary=b");
    let mut file = FormFile::open(Some(&content_type), Pieces(body, piece)).await?;
    let mut content = Vec::new();
    loop {
        match file.next().await {
            Ok(Some(piece)) => content.extend_from_slice(&piece),
            Ok(None) => return Ok((file.name().map(str::to_owned), content)),
            Err(_) => return Err(file.fault().expect("the body itself never breaks")),
        }
    }
}

fn finished<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, body) = (usize::from(input.0) + 1, Bytes::copy_from_slice(input.1));
    let whole = finished(read(body.clone(), usize::MAX));
    assert_eq!(finished(read(body, piece)), whole);
});
