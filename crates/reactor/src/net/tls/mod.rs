//! TLS 1.2 and 1.3, by rustls.
//!
//! A [`TlsServer`] or a [`TlsClient`] takes a connection of any kind and gives a [`TlsStream`], which
//! is a [`Transport`](super::Transport): reads, writes, leaving, cancelling and back-pressure are the
//! same as without TLS.
//!
//! ```
//! use thence_core::flow;
//! use thence_reactor::net::{
//!     TcpListener, TcpStream,
//!     tls::{Certificates, Roots, TlsClient, TlsServer},
//! };
//! # let own = rcgen::generate_simple_self_signed(["app.example".into()]).unwrap();
//! # let (chain, key) = (own.cert.pem(), own.signing_key.serialize_pem());
//! # let ca = chain.clone();
//! # thence_reactor::run(async move {
//!
//! // `Certificates::from_files("app.pem", "app.key")` reads them from files.
//! let certificates = Certificates::from_pem(chain, key)?;
//! let server = TlsServer::new(&certificates).alpn(["http/1.1"]);
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let addr = listener.local_addr();
//! flow(async move {
//!     let (stream, _from) = listener.accept().await?;
//!     let stream = server.accept(stream).await?;
//!     stream.write(stream.read(100).await?).await?;
//!     stream.shutdown().await
//! })
//! .report();
//!
//! // `Roots::system()` is what the operating system trusts.
//! let client = TlsClient::new(&Roots::from_pem(ca)?);
//! let stream = client.connect(TcpStream::connect(addr).await?, "app.example").await?;
//! stream.write("hello").await?;
//! assert_eq!(stream.read_exact(5).await?, "hello");
//! assert_eq!(stream.read(1).await?, "");
//! # Ok(()) }).unwrap();
//! ```
//!
//! # The end of a stream
//!
//! [`shutdown`](super::Transport::shutdown) ends a stream by TLS's close_notify. One that ends
//! without it fails its readers: anybody on the way can cut a connection, so that what came may be a
//! part of what was sent. See [`TlsStream`].
//!
//! # Time
//!
//! A handshake takes as long as the other end does: set it a
//! [`timeout`](crate::DeferredExt::timeout). Whether a certificate is in its time is decided by the
//! clock of the system, on every driver.
//!
//! # What is not there
//!
//! Client certificates are all required or not asked for; there are no lists of revoked
//! certificates, no certificates by name (SNI), no early data, and no TLS inside of TLS.

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
