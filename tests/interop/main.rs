//! Real clients against the server.

#[path = "../harness/mod.rs"]
mod harness;

mod conformance;
mod docker_format;
mod large;
mod layout;
mod oras;
mod oras_py;
mod organisations;
mod podman;
mod skopeo;
mod syncs;
mod tools;
mod zip;
