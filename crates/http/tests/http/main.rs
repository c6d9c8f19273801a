//! What HTTP on the reactor promises, a module for each behaviour. Run one of them with
//! `cargo test -p thence-http --test http framing::`.

mod answers;
mod body;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod dial;
mod door;
mod drain;
mod framing;
mod host;
mod interim;
mod length;
mod manual;
mod pace;
mod patience;
mod rest;
mod server;
mod target;
mod upload;
