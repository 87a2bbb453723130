//! Every test that needs nothing but this repository, in one binary.

#[path = "../harness/mod.rs"]
mod harness;

mod bad_input;
mod bad_messages;
mod blob_laws;
mod caching;
mod cli;
mod client_commands;
mod conditions;
mod connections;
mod crash;
mod disk;
mod durability;
mod faults;
mod history;
mod isolation;
mod manifest_refusals;
mod manifests;
mod meta_laws;
mod mint;
mod pulls;
mod races;
mod ranges;
mod tags;
mod tidy;
mod tokens;
mod uploads;
mod wire;
