//! Quire: a content-addressed registry for plugin artifacts. `ARCHITECTURE.md` is the map.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo, clippy::unimplemented)
)]

pub mod access;
pub mod app;
pub mod blob;
pub mod callers;
pub mod cli;
pub mod client;
pub mod config;
pub mod digest;
pub mod fault;
pub mod http;
pub mod issuers;
pub mod manifest;
pub mod media_type;
pub mod meta;
pub mod name;
pub mod node_id;
pub mod package;
pub mod registry;
pub mod staging;
pub mod strict_json;
pub mod telemetry;
pub mod token;
pub mod version;
