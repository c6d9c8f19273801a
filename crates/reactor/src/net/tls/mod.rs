//! TLS 1.2 and 1.3, by rustls.

#![cfg_attr(not(test), expect(dead_code, reason = "nothing connects the ends yet"))]

pub use self::{
    certificates::Certificates, client::TlsClient, roots::Roots, server::TlsServer,
    version::TlsVersion,
};

mod certificates;
mod client;
mod files;
mod roots;
mod server;
mod session;
mod version;
