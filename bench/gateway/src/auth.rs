//! The service that nginx asks for every request: hyper on tokio, one thread, and the session
//! look-up of thence-gate itself.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use thence_gate::session::{Cookie, Found, Presented, RowKey, Stamp, Store, cookie};
use tokio::net::{TcpListener, TcpStream};

/// Where it reads the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// On tokio's pool of threads, so that a slow disk stops nobody else.
    Pool,
    /// On its loop, which is cheaper as long as the disk is quick.
    Inline,
}

impl How {
    /// Its word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Inline => "inline",
        }
    }
}

impl FromStr for How {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Pool, Self::Inline].into_iter().find(|how| how.word() == text).ok_or(())
    }
}

/// Serves for ever.
///
/// # Errors
///
/// The store cannot be opened, or the address cannot be had.
pub fn serve(how: How, address: SocketAddr, store: &Path) -> io::Result<()> {
    let store = Arc::new(Store::open(store).map_err(io::Error::other)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(connection(how, store.clone(), stream));
        }
    })
}

async fn connection(how: How, store: Arc<Store>, stream: TcpStream) {
    let service = service_fn(|request: http::Request<Incoming>| {
        let store = store.clone();
        async move { Ok::<_, Infallible>(answer(how, store, request.headers()).await) }
    });
    // A proxy that goes away ends it, which is all there is to an error here.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(how: How, store: Arc<Store>, headers: &HeaderMap) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    let Presented::Signed(id) = cookie::presented(headers, Cookie::Plain, store.key()) else {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return response;
    };
    let key = id.row_key();
    let found = match how {
        How::Inline => find(&store, &key),
        How::Pool => {
            let asked = tokio::task::spawn_blocking(move || find(&store, &key));
            asked.await.unwrap_or(None)
        }
    };
    match found {
        Some(Found::Live(session)) => {
            let value = |text: &str| HeaderValue::from_str(text).ok();
            let fields = response.headers_mut();
            fields.extend(value(session.account.as_str()).map(|value| (ACCOUNT, value)));
            fields.extend(value(session.handle.as_str()).map(|value| (SESSION, value)));
        }
        Some(_) => *response.status_mut() = StatusCode::UNAUTHORIZED,
        None => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
    }
    response
}

fn find(store: &Store, key: &RowKey) -> Option<Found> {
    store.find(key, Stamp::now()).ok()
}

const ACCOUNT: http::HeaderName = http::HeaderName::from_static("x-account-id");
const SESSION: http::HeaderName = http::HeaderName::from_static("x-session-id");
