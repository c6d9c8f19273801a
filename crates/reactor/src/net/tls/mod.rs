//! TLS 1.2 and 1.3, by rustls.

pub(in crate::net) use self::session::Engine;
pub use self::{
    certificates::Certificates, client::TlsClient, roots::Roots, server::TlsServer,
    stream::TlsStream, version::TlsVersion,
};

mod certificates;
mod client;
mod files;
mod roots;
mod server;
mod session;
mod stream;
mod version;
