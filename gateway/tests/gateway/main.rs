//! What the gateway promises, a module for each behaviour, on the real program. Run one of them with
//! `cargo test -p thence-gate --test gateway doctor::`.

mod command_line;
mod common;
mod doctor;
mod forwarding;
mod leaving;
mod lifecycle;
mod logging;
mod refusals;
mod revoked;
mod sessions;
mod signals;
mod store;
mod timeouts;
mod tls;
