//! Every test that needs nothing but this repository, in one binary.

#[path = "../harness/mod.rs"]
mod harness;

mod access_laws;
mod attacks;
mod audit;
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
mod escalations;
mod faults;
mod history;
mod isolation;
mod issuing;
mod limits;
mod manifest_refusals;
mod manifests;
mod matrix;
mod meta_laws;
mod migrations;
mod mint;
mod organisations;
mod pulls;
mod quotas;
mod races;
mod ranges;
mod revocation;
mod tag_rules;
mod tags;
mod tidy;
mod tokens;
mod uploads;
mod wire;
