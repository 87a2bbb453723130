//! Every test that needs nothing but this repository, in one binary.

#[path = "../harness/mod.rs"]
mod harness;

mod access_laws;
#[cfg(any(feature = "interop", feature = "postgres"))]
mod among_writers;
mod archive_corpus;
mod archives;
mod attacks;
mod audit;
mod bad_input;
mod bad_messages;
mod blob_laws;
mod blocking;
mod caching;
mod cli;
mod client_commands;
mod conditions;
mod connections;
mod contended_laws;
mod crash;
mod disk;
mod durability;
mod enabling;
mod escalations;
mod faults;
mod feed_laws;
mod history;
mod isolation;
mod issuing;
#[cfg(feature = "interop")]
mod limits;
mod lint;
mod manifest_refusals;
mod manifests;
mod matrix;
mod meta_laws;
mod migrations;
#[cfg(feature = "postgres")]
mod migrations_postgres;
mod mint;
mod openapi;
mod organisations;
mod pack;
#[cfg(feature = "postgres")]
mod plans;
mod plugin_catalog;
mod plugin_commands;
mod plugin_files;
mod plugin_laws;
mod plugin_list_laws;
mod plugin_pushes;
mod plugin_state_laws;
mod plugin_uploads;
#[cfg(feature = "postgres")]
mod postgres_connections;
#[cfg(feature = "postgres")]
mod postgres_pooler;
mod pulls;
mod push;
#[cfg(feature = "interop")]
mod quotas;
mod races;
mod ranges;
mod replicas;
mod replicas_follow;
#[cfg(feature = "interop")]
mod replicas_strain;
#[cfg(feature = "interop")]
mod revocation;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "postgres")]
mod slow_bytes;
mod stores;
mod tag_rules;
mod tags;
mod tidy;
mod tiered;
mod tokens;
#[cfg(feature = "postgres")]
mod unknown_outcomes;
mod uploads;
mod wire;
