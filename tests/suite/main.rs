//! Every test that needs nothing but this repository, in one binary.

#[path = "../harness/mod.rs"]
mod harness;

mod bad_input;
mod bad_messages;
mod blob_laws;
mod disk;
mod faults;
mod meta_laws;
mod pulls;
mod tidy;
mod wire;
