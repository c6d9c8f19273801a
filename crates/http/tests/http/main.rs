//! What HTTP on the reactor promises, a module for each behaviour. Run one of them with
//! `cargo test -p thence-http --test http framing::`.

mod body;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod door;
mod drain;
mod framing;
mod host;
mod interim;
mod length;
mod manual;
mod patience;
mod rest;
mod server;
mod upload;
