//! HTTP/1.1 on thence's reactor: hyper underneath, handlers that run to their end.
//!
//! ```
//! use thence_core::{Deferred, Failure};
//! use thence_http::{Body, Client, Request, Response, Server};
//!
//! # fn main() -> Result<(), Failure> {
//! thence_reactor::run(async {
//!     let server = Server::bind("127.0.0.1:0")?.serve(|request: Request| {
//!         Deferred::ok(Response::new(Body::from(format!("you asked for {}", request.uri()))))
//!     });
//!
//!     let client = Client::default();
//!     let request = http::Request::get(format!("http://{}/hello", server.local_addr()));
//!     let response = client.request(request.body(Body::empty())?).await?;
//!     let body = response.into_body().collect(1024).await?;
//!     assert_eq!(body, "you asked for /hello");
//!
//!     server.close();
//!     server.ended().await;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # Cancellation
//!
//! hyper drops its service future when a client hangs up. Here that future holds only a handle:
//! the reactor owns the handler's work, which runs to its end. [`Request::hung_up`] tells a handler
//! that its client may have left; what to do about it is the handler's decision, and what it answers
//! is sent to a client that only has no more to say.
//!
//! A [`Connection`] to an upstream is a lease. One whose answer was not read to its end is closed:
//! nobody ever reads the answer to another's question.
//!
//! # Errors nobody handled
//!
//! A handler that fails or panics is reported to the thread's failure hook, and its client gets a
//! 500, or a closed connection, as [`Server::close_on_failure`] says. One that fails with the
//! [`BodyFault`] of an upload is not: its client gets the 400, 408 or 413 that it deserves. An answer
//! that is not as long as its `Content-Length` says is reported, and never sent as if it were.
//!
//! # Platforms
//!
//! Wherever the reactor runs. hyper brings the crate `tokio` with its feature `sync`: data
//! structures, no runtime.

#![forbid(unsafe_code)]

mod alive;
mod body;
mod client;
mod io;
mod server;
mod timer;

pub use self::body::{Body, BodyError, BodyFault, BodyFaultKind, BodySender};
pub use self::client::{Client, ClientError, ClientErrorKind, ClientOptions, Connection};
pub use self::server::{
    ConnectionRef, HungUp, Interim, Request, Response, Server, ServerHandle, Tls,
};
