//! Routes, and with them names, tags, digests and queries: no request line may panic.
#![no_main]

use http::{Method, Uri};
use libfuzzer_sys::fuzz_target;
use quire::http::route::{Need, Route};

const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::PATCH, Method::DELETE];

fuzz_target!(|input: (u8, &str)| {
    let (method, line) = input;
    let Ok(uri) = format!("/v2/{line}").parse::<Uri>() else { return };
    let method = &METHODS[usize::from(method) % METHODS.len()];
    if let Ok(route) = Route::parse(method, &uri)
        && let Need::Repository(_, repository) = route.need()
    {
        assert!(repository.as_str().contains('/'));
        assert!(!repository.as_str().contains(".."));
    }
});
