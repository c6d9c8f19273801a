//! The connections that a client keeps.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use hyper::client::conn::http1::{self, SendRequest};
use thence_core::{Canceller, Deferred, Failure, Pool, flow};
use thence_reactor::dns::Destination;
use thence_reactor::net::TcpStream;
use thence_reactor::{DeferredExt, Elapsed, now};

use super::{ClientError, ClientErrorKind, ClientOptions, Connection};
use crate::Body;
use crate::io::{Io, Line};

/// A pool for each destination.
#[derive(Default)]
pub(super) struct Pools {
    by_destination: RefCell<HashMap<Destination, Pool<Wire>>>,
    is_draining: Rc<Cell<bool>>,
}

/// What a pool keeps.
pub(super) struct Wire {
    pub(super) sender: SendRequest<Body>,
    /// The flow that reads and writes.
    flow: Canceller,
    pub(super) peer: SocketAddr,
    pub(super) idle_since: Instant,
    pub(super) answers: Cell<u64>,
    pub(super) is_draining: Rc<Cell<bool>>,
    line: Rc<Line>,
}

impl Pools {
    pub(super) fn lease(&self, to: Destination, options: ClientOptions) -> Deferred<Connection> {
        let pool = self.pool(&to, options);
        let oldest = now().checked_sub(options.idle);
        let is_draining = self.is_draining.get();
        pool.retain(|wire| {
            let is_stale = oldest.is_some_and(|oldest| wire.idle_since < oldest);
            !is_stale && !wire.sender.is_closed() && !is_draining
        });
        flow(async move {
            loop {
                let mut lease = pool.lease().await?;
                // One that the other side has closed meanwhile says so here, with nothing sent.
                if lease.sender.ready().await.is_ok() {
                    return Ok(Connection::new(lease, to, options));
                }
                if lease.answers.get() == 0 {
                    let error = ClientError::new(ClientErrorKind::Closed, Some(&to), None);
                    return Err(error.into());
                }
            }
        })
    }

    pub(super) fn fresh(&self, to: Destination, options: ClientOptions) -> Deferred<Connection> {
        self.pool(&to, options).retain(|_| false);
        self.lease(to, options)
    }

    pub(super) fn idle(&self) -> usize {
        self.by_destination.borrow().values().map(Pool::idle).sum()
    }

    pub(super) fn close_idle(&self) {
        self.is_draining.set(true);
        let pools: Vec<_> = self.by_destination.borrow().values().cloned().collect();
        pools.iter().for_each(|pool| pool.retain(|_| false));
    }

    fn pool(&self, to: &Destination, options: ClientOptions) -> Pool<Wire> {
        let mut pools = self.by_destination.borrow_mut();
        if let Some(pool) = pools.get(to) {
            return pool.clone();
        }
        let (is_draining, key) = (self.is_draining.clone(), to.clone());
        let dial = move || dial(key.clone(), options, is_draining.clone());
        let pool = Pool::new(options.connections, dial);
        pools.insert(to.clone(), pool.clone());
        pool
    }
}

/// Makes a connection and starts the flow that reads and writes it.
fn dial(to: Destination, options: ClientOptions, is_draining: Rc<Cell<bool>>) -> Deferred<Wire> {
    let late = ClientError::new(ClientErrorKind::ConnectTimeout, Some(&to), None);
    let connected = flow(async move {
        // In two steps, since each has failures of its own.
        let error =
            |kind, failure: Failure| ClientError::new(kind, Some(&to), Some(failure.into()));
        let addresses = to.addresses().await;
        let addresses = addresses.map_err(|failure| error(ClientErrorKind::Unresolved, failure))?;
        let stream = TcpStream::connect(addresses).await;
        Ok(stream.map_err(|failure| error(ClientErrorKind::Refused, failure))?)
    })
    .timeout(options.connect)
    .map_err(move |failure| if failure.is::<Elapsed>() { late.into() } else { failure });
    flow(async move {
        let stream = connected.await?;
        let peer = stream.peer_addr()?;
        let line = Line::new(stream);
        let (sender, connection) = http1::handshake(Io::new(line.clone())).await?;
        let work = flow(async move {
            if let Err(error) = connection.await {
                // Whoever sent over it was told; an idle one just ends.
                tracing::debug!("connection to {peer}: {error}");
            }
            Ok(())
        });
        let flow = work.canceller();
        work.report();
        Ok(Wire { sender, flow, peer, idle_since: now(), answers: Cell::new(0), is_draining, line })
    })
    .named("connect")
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A connection that is not in step any more is cut, not drained: what waits to be sent to an
        // upstream that does not read would keep it for ever.
        self.flow.cancel();
        self.line.stream.abort();
    }
}
