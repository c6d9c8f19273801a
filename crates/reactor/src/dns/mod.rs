//! Names of hosts: looking them up, and connecting to whichever of their addresses answers first.

use std::net::{IpAddr, SocketAddr};

use thence_core::Deferred;

use crate::hub::Hub;

mod destination;
mod eyeballs;
mod lookups;

pub(crate) use self::lookups::Lookups;
pub use self::{
    destination::Destination,
    eyeballs::{NotReached, happy_eyeballs},
};

/// The addresses of `host`, each with `port`, in the order in which they should be tried.
///
/// It asks the operating system (`getaddrinfo`: `/etc/hosts`, DNS, whatever the machine is set up
/// for) on the pool, and keeps no answers. A numeric address is its own answer, at once.
///
/// Those who ask for one name at the same time wait for one look-up. Look-ups take at most half of
/// the pool's threads, so that a name whose server hangs keeps neither files nor other jobs waiting;
/// a program that looks up much may want more threads
/// ([`Builder::pool_threads`](crate::Builder::pool_threads)).
///
/// Cancelled, it ends at once: a look-up that has not started and that nobody else waits for leaves
/// the queue; one that has keeps its thread until the operating system has an answer. That may be a
/// minute, so it is wise to add a [`timeout`](crate::DeferredExt::timeout).
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
    Lookups::ask(&hub, host, port)
}
