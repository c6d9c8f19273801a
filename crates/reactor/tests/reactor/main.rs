//! What the reactor promises, a module for each behaviour. Run one of them with
//! `cargo test -p thence-reactor --test reactor fs::`.
//!
//! What needs its process to itself is in tests/alone, or in a child of a test here.

#[cfg(all(feature = "futures-io", feature = "tokio-io"))]
mod async_io;
mod backoff;
#[path = "../common/mod.rs"]
mod common;
mod copy;
mod copy_tls;
mod datagrams;
mod dns;
mod emfile;
mod facts_timeout;
mod framed;
mod framed_model;
mod framing;
mod fs;
mod net;
mod net_model;
mod offload;
mod process;
mod protocol;
mod ready;
mod run;
mod signals;
mod spin;
mod streams;
mod testing;
mod time;
mod tls;
mod tls_certificates;
mod tls_handshake;
mod tls_middle;
mod tls_model;
mod wake;
