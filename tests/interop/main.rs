//! Real clients against the server.

#[path = "../harness/mod.rs"]
mod harness;
