//! hyper on tokio, one thread: a task for each connection.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use measure::process::announce;
use tokio::net::TcpListener;
use tokio::runtime;

use super::{HELLO, LISTEN};

/// At its fastest: no deadline, and answers that are ready together go out together.
pub fn serve() -> io::Result<()> {
    let mut builder = Builder::new();
    builder.pipeline_flush(true);
    serve_with(builder)
}

/// The same with a deadline for a request's head, as a server has it that stands in the open.
pub fn serve_with_deadline() -> io::Result<()> {
    let mut builder = Builder::new();
    builder.pipeline_flush(true).timer(TokioTimer::new());
    builder.header_read_timeout(Duration::from_secs(60));
    serve_with(builder)
}

fn serve_with(builder: Builder) -> io::Result<()> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async move {
        let listener = TcpListener::bind(LISTEN).await?;
        announce(listener.local_addr()?.port())?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let connection = builder.serve_connection(TokioIo::new(socket), service_fn(hello));
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    eprintln!("hyper: {error}");
                }
            });
        }
    })
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(HELLO.as_bytes()))))
}
