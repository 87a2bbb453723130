//! Real clients against the server, and other people's tools for archives against the reader of packages.

#[path = "../harness/mod.rs"]
mod harness;

#[path = "../suite/archive_corpus/mod.rs"]
mod archive_corpus;
mod archives;
mod browser;
mod conformance;
mod docker_format;
mod hostile;
mod large;
mod layout;
mod openapi;
mod oras;
mod oras_py;
mod organisations;
mod plugin_clients;
mod podman;
mod skopeo;
mod syncs;
mod tools;
mod zip;
