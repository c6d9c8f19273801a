//! For whoever drives a thread: a reactor, a host with a loop of its own, a test.
//!
//! One turn is: hold, deliver completions, due timers and the inbox, let go, run the queue.
//!
//! ```
//! use thence_core::{Deferred, hosting};
//!
//! let (trigger, d) = Deferred::<u8>::new();
//! d.inspect(|n| assert_eq!(*n, 7)).report();
//!
//! let hold = hosting::hold();
//! trigger.fire(7); // queues: a turn counts as a callback
//! drop(hold);
//! assert_eq!(hosting::run_queue(1024), 1);
//! ```
//!
//! Users' code: [`Home::take_back`] runs under the guard of whoever gives back.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::fault::Fault;
pub use crate::inbox::{Closed, Inbox};
use crate::node::{self, cx};
pub use crate::node::{Beacon, Live, Unfinished};
use crate::{Deferred, Trigger};

/// A source that takes back what it yielded and nobody took: see
/// [`Trigger::fire_from`](crate::Trigger::fire_from).
///
/// ```
/// use std::{any::Any, cell::RefCell, collections::BTreeMap, rc::{Rc, Weak}};
/// use thence_core::{Deferred, hosting::Home};
///
/// #[derive(Default)]
/// struct Items(RefCell<BTreeMap<u64, String>>);
///
/// impl Home for Items {
///     fn take_back(self: Rc<Self>, place: u64, value: Box<dyn Any>) {
///         let value = value.downcast::<String>().expect("it yields strings");
///         self.0.borrow_mut().insert(place, *value);
///     }
/// }
///
/// let items = Rc::new(Items::default());
/// let home: Weak<Items> = Rc::downgrade(&items);
/// let (trigger, d) = Deferred::<String>::new();
/// drop(d.finally(|| ())); // whoever waited has left
/// trigger.fire_from(home, 3, "third".into());
/// assert_eq!(items.0.borrow()[&3], "third");
/// ```
pub trait Home: 'static {
    /// Takes back the value that was fired from `place`, of the type it was fired as.
    fn take_back(self: Rc<Self>, place: u64, value: Box<dyn Any>);
}

/// A Deferred whose source is a place at a home, for a source that makes many: when somebody asks
/// for the end, `asked` is called with `home` and the place, as a hook of
/// [`Trigger::on_cancel`](crate::Trigger::on_cancel) would be, and nothing is allocated for that.
///
/// ```
/// use std::{cell::RefCell, collections::BTreeMap};
/// use thence_core::{Deferred, Never, Trigger, hosting};
///
/// thread_local! {
///     static ALARMS: RefCell<BTreeMap<u64, Trigger<(), Never>>> = RefCell::default();
/// }
///
/// #[track_caller]
/// fn alarm(at: u64) -> Deferred<(), Never> {
///     let taken_back = |_home, at| drop(ALARMS.with_borrow_mut(|alarms| alarms.remove(&at)));
///     let (trigger, alarm) = hosting::source(taken_back, 0);
///     ALARMS.with_borrow_mut(|alarms| alarms.insert(at, trigger.at(at)));
///     alarm
/// }
///
/// let seven = alarm(7);
/// seven.cancel();
/// assert!(seven.is_ready());
/// assert!(ALARMS.with_borrow(BTreeMap::is_empty));
/// ```
#[track_caller]
#[inline]
pub fn source<T: 'static, E: Fault>(
    asked: fn(u64, u64),
    home: u64,
) -> (Unplaced<T, E>, Deferred<T, E>) {
    let asked = node::Asked { call: asked, home, place: u64::MAX };
    let (source, handle) = node::Source::asking(node::here(), asked);
    (Unplaced(source), Deferred::of_handle(handle))
}

/// The trigger of a [`source`] that has no place yet. A request that comes before it has one is told
/// the place `u64::MAX`.
pub struct Unplaced<T: 'static, E: Fault>(node::Asking<T, E>);

impl<T: 'static, E: Fault> Unplaced<T, E> {
    /// The trigger, now that its place is known.
    ///
    /// ```
    /// # use thence_core::{Deferred, Never, hosting};
    /// let (trigger, d) = hosting::source::<u8, Never>(|home, place| println!("{home} {place}"), 1);
    /// trigger.at(5).fire(3);
    /// d.done(|n| assert_eq!(n, 3));
    /// ```
    #[inline]
    pub fn at(self, place: u64) -> Trigger<T, E> {
        Trigger::new(self.0.ask_at(place))
    }
}

impl<T: 'static, E: Fault> std::fmt::Debug for Unplaced<T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unplaced")
    }
}

/// Keeps callbacks from running; see [`hold`].
///
/// ```
/// use thence_core::hosting;
///
/// let hold = hosting::hold();
/// let inner = hosting::hold(); // they may be nested
/// drop(inner);
/// drop(hold);
/// assert_eq!(hosting::run_queue(1), 0);
/// ```
#[must_use = "it holds the queue while it lives"]
pub struct Hold(#[expect(dead_code, reason = "held for its drop")] node::Held);

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hold")
    }
}

/// While the hold lives, what is fired queues. Letting go runs nothing.
///
/// ```
/// use thence_core::{Deferred, hosting};
///
/// let (trigger, d) = Deferred::<u8>::new();
/// d.inspect(|n| println!("{n}")).report();
/// let hold = hosting::hold();
/// trigger.fire(1); // queues
/// drop(hold); // and stays there
/// assert!(!hosting::queue_is_empty());
/// hosting::run_until_idle();
/// ```
pub fn hold() -> Hold {
    Hold(node::hold())
}

/// Runs up to `budget` queued callbacks and says how many ran. What is left keeps its place.
///
/// # Panics
///
/// While a [`Hold`] is alive or a callback runs: the queue is not run inside itself.
///
/// ```
/// use thence_core::{Deferred, hosting};
///
/// let hold = hosting::hold();
/// for n in 0..3 {
///     Deferred::<u8>::ok(n).inspect(|n| println!("{n}")).report();
/// }
/// drop(hold);
/// assert_eq!(hosting::run_queue(2), 2);
/// assert_eq!(hosting::run_queue(2), 1);
/// ```
pub fn run_queue(budget: usize) -> usize {
    assert!(cx().is_idle(), "run_queue inside a callback or under a Hold");
    cx().drain(budget)
}

/// Whether nothing is queued on this thread.
///
/// ```
/// # use thence_core::hosting;
/// assert!(hosting::queue_is_empty());
/// ```
pub fn queue_is_empty() -> bool {
    cx().queue_is_empty()
}

/// This thread's inbox.
///
/// ```
/// use thence_core::hosting;
///
/// let inbox = hosting::inbox();
/// std::thread::spawn(move || {
///     let posted = inbox.post(Box::new(|| println!("on the first thread")));
///     assert!(posted.is_ok());
/// })
/// .join()
/// .unwrap();
/// assert_eq!(hosting::deliver_inbox(10), 1);
/// ```
pub fn inbox() -> Arc<Inbox> {
    crate::inbox::mine()
}

/// Runs up to `max` of what arrived from other threads; says how many that were.
///
/// What that sets off queues under a [`Hold`], as in a turn; without one it all runs before this
/// returns, however much it is.
///
/// ```
/// # use thence_core::hosting;
/// for _ in 0..3 {
///     hosting::inbox().post(Box::new(|| ())).unwrap();
/// }
/// assert_eq!(hosting::deliver_inbox(2), 2);
/// assert_eq!(hosting::deliver_inbox(2), 1);
/// ```
pub fn deliver_inbox(max: usize) -> usize {
    cx().enter(|| crate::inbox::deliver(max))
}

/// Delivers the inbox and runs the queue until both are empty.
///
/// # Panics
///
/// As [`run_queue`].
///
/// ```
/// # use thence_core::{Deferred, hosting};
/// let (trigger, d) = Deferred::<u8>::new();
/// let remote = trigger.remote();
/// std::thread::spawn(move || remote.fire(1)).join().unwrap();
/// hosting::run_until_idle();
/// assert!(d.is_ready());
/// # d.report();
/// ```
pub fn run_until_idle() {
    loop {
        let delivered = deliver_inbox(usize::MAX);
        if run_queue(usize::MAX) + delivered == 0 {
            return;
        }
    }
}

/// How much is unfinished on this thread.
///
/// ```
/// use thence_core::{Deferred, flow, hosting};
///
/// let (trigger, d) = Deferred::<u8>::new();
/// flow(async move { d.await }).report();
/// assert_eq!(hosting::live().flows, 1);
/// trigger.fire(1);
/// assert_eq!(hosting::live().nodes, 0); // nothing is left
/// ```
pub fn live() -> Live {
    cx().live()
}

/// Gives memory that this thread keeps for its next nodes back to the allocator, and has glibc give
/// what it can to the operating system. Says how many bytes were kept.
///
/// A thread keeps the memory of every node it ever had at once, which is what makes a step cheap; a
/// server that was stormed keeps what the storm took until it is told that it is over. It takes a
/// millisecond or more for every 10 MB, in which other threads that allocate wait too: a moment in
/// which little happens is a good one.
///
/// ```
/// use thence_core::{Deferred, hosting};
///
/// let waiting: Vec<_> = (0..1000).map(|_| Deferred::<u8>::new()).collect();
/// for (trigger, d) in waiting {
///     d.report();
///     trigger.fire(7);
/// }
/// assert!(hosting::release_memory() > 0);
/// assert_eq!(hosting::release_memory(), 0);
/// ```
pub fn release_memory() -> usize {
    cx().release_memory()
}

/// Every flow that has not ended, and every source that a step or an await waits for.
///
/// What a flow awaits is told as the await that the flow stands at.
///
/// ```
/// use thence_core::{Deferred, hosting};
///
/// let (trigger, d) = Deferred::<u8>::new();
/// d.inspect(|n| println!("{n}")).report();
/// for one in hosting::unfinished() {
///     println!("{} waits for {}", one.waiter.unwrap(), one.site);
/// }
/// # assert_eq!(hosting::unfinished().len(), 1);
/// trigger.fire(1);
/// assert!(hosting::unfinished().is_empty());
/// ```
pub fn unfinished() -> Vec<Unfinished> {
    cx().unfinished()
}

/// Sends a request to everything on this thread that has not ended.
///
/// ```
/// use thence_core::{Deferred, hosting};
///
/// let (trigger, d) = Deferred::<u8>::new();
/// d.report();
/// hosting::cancel_unfinished();
/// assert!(trigger.is_cancelled());
/// ```
pub fn cancel_unfinished() {
    cx().cancel_unfinished();
}

/// This thread's beacon; the loop publishes on it from now on.
///
/// ```
/// # use thence_core::hosting;
/// let beacon = hosting::beacon(); // to be kept by whoever watches this thread
/// assert!(beacon.running().is_none());
/// ```
pub fn beacon() -> Arc<Beacon> {
    let lit = BEACON.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        let kept = kept.get_or_insert_with(|| {
            let beacon = Arc::<Beacon>::default();
            cx().show_to(Some(beacon.clone()));
            Lit(beacon)
        });
        kept.0.clone()
    });
    // A thread that is ending has no loop that could be watched: its beacon stays dark.
    lit.unwrap_or_default()
}

/// Takes the beacon away from the loop before it is dropped.
struct Lit(Arc<Beacon>);

impl Drop for Lit {
    fn drop(&mut self) {
        cx().show_to(None);
    }
}

thread_local! {
    static BEACON: RefCell<Option<Lit>> = const { RefCell::new(None) };
}
