//! axum on tokio, one thread: one route.

use std::io;

use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use measure::process::announce;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::{HELLO, LISTEN};

/// Answers until this process ends.
pub fn serve() -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async move {
        let listener = TcpListener::bind(LISTEN).await?;
        announce(listener.local_addr()?.port())?;
        let listener = listener.tap_io(|socket| {
            if let Err(error) = socket.set_nodelay(true) {
                eprintln!("axum: {error}");
            }
        });
        axum::serve(listener, Router::new().route("/", get(async || HELLO))).await
    })
}
