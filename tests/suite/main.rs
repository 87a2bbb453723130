//! Every test that needs nothing but this repository, in one binary.

#[path = "../harness/mod.rs"]
mod harness;

mod pulls;
