//! hyper on thence's reactor and nothing of thence-http: a flow for each connection. It is to
//! `with_hyper` what one reactor is to the other.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use measure::process::announce;
use thence_core::{Failure, flow};
use thence_reactor::net::{TcpListener, TcpStream};

use super::{HELLO, LISTEN};

/// Answers until this process ends.
pub fn serve() -> io::Result<()> {
    let served = thence_reactor::run(async {
        let listener = TcpListener::bind(LISTEN)?;
        announce(listener.local_addr().port())?;
        let mut builder = Builder::new();
        builder.pipeline_flush(true);
        loop {
            let (socket, _) = listener.accept().await?;
            let connection = builder.serve_connection(Io(socket), service_fn(hello));
            flow(async move { Ok(connection.await?) }).report();
        }
    });
    served.map_err(|failure: Failure| io::Error::other(failure.to_string()))
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(HELLO.as_bytes()))))
}

/// A stream as hyper wants it.
struct Io(TcpStream);

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut copy = |bytes: &[u8]| {
            let count = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..count]);
            count
        };
        ready!(self.0.poll_read(cx, &mut copy))?;
        Poll::Ready(Ok(()))
    }
}

impl Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}
