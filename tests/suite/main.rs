//! Every test that needs nothing but this repository, in one binary.

#[path = "../harness/mod.rs"]
mod harness;

mod blob_laws;
mod faults;
mod meta_laws;
mod pulls;
mod tidy;
