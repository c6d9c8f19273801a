//! Names of hosts: looking them up, and connecting to whichever of their addresses answers first.

use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    rc::Rc,
};

use thence_core::{Deferred, Failure, Outcome};

use crate::{hub::Hub, offload};

mod destination;
mod eyeballs;

pub use self::{
    destination::Destination,
    eyeballs::{NotReached, happy_eyeballs},
};

/// The addresses of `host`, each with `port`, in the order in which they should be tried.
///
/// It asks the operating system (`getaddrinfo`: `/etc/hosts`, DNS, whatever the machine is set up
/// for) on the pool, and keeps no answers. A numeric address is its own answer, at once.
///
/// Cancelled, it ends at once: a look-up that has not started leaves the queue; one that has keeps
/// its thread until the operating system has an answer, which nobody sees. That may be a minute,
/// so it is wise to add a [`timeout`](crate::DeferredExt::timeout), and to give a program that
/// looks up much more threads ([`Builder::pool_threads`](crate::Builder::pool_threads)).
///
/// ```
/// use thence_reactor::dns;
/// # thence_reactor::run(async {
///
/// let numeric = dns::lookup("::1", 80).await?;
/// assert_eq!(numeric, ["[::1]:80".parse()?]);
/// for address in dns::lookup("localhost", 80).await? {
///     println!("{address}");
/// }
/// # Ok(()) }).unwrap();
/// ```
///
/// # Errors
///
/// The Deferred fails when the host is not known, or nobody can be asked; the failure names it.
///
/// # Panics
///
/// When this thread has no reactor.
#[doc(alias = "resolve")]
#[doc(alias = "getaddrinfo")]
#[track_caller]
pub fn lookup(host: impl Into<String>, port: u16) -> Deferred<Vec<SocketAddr>> {
    let hub = Hub::current("dns::lookup");
    let host: String = host.into();
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Deferred::ok(vec![SocketAddr::new(ip, port)]);
    }
    let (trigger, deferred) = Deferred::new();
    let found = offload::when_free(&hub, move || match (host.as_str(), port).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(Failure::from(error).context(format!("cannot look up {host}"))),
    });
    let canceller = found.canceller();
    let waiting = Rc::new(RefCell::new(None));
    let asked = Rc::downgrade(&waiting);
    let job = canceller.clone();
    trigger.on_cancel(move || {
        job.cancel();
        // A look-up changes nothing, so there is nothing to wait for: its drop says Cancelled.
        drop(asked.upgrade().and_then(|waiting| waiting.take()));
    });
    trigger.on_left(move || canceller.cancel());
    waiting.replace(Some(trigger));
    let told = found.then(move |outcome: Outcome<Vec<SocketAddr>, Failure>| {
        if let Some(trigger) = waiting.take() {
            trigger.settle(outcome);
        }
        Ok::<(), Failure>(())
    });
    drop(told);
    deferred
}
