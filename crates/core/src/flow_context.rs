//! What a step runs in: the request, the `tracing` span and the flow-locals of the code that wrote it.
//!
//! Users' code: locals and spans are dropped under guards, one by one; the `tracing` subscriber is
//! asked for its span quietly, with the thread held, and not again while it answers.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tracing::Span;

use crate::guarded::{let_go, let_go_each};
use crate::node::{cx, hold};
use crate::report::quietly;

/// The context that code runs in: a request id, a `tracing` span, and [`FlowLocal`]s.
///
/// A step, and every poll of a flow, runs in the context of the code that wrote it, whoever fires
/// it, and whenever (DESIGN.md §3.8). An event handler runs in the context of whoever emitted the
/// event. Of a report, the context is where its request comes from.
///
/// A span that is entered while a step is written is part of its context, provided a `tracing`
/// subscriber has been set: nothing has to be done for that.
///
/// ```
/// use thence_core::{Deferred, FlowContext};
///
/// let (trigger, d) = Deferred::<u8>::new();
/// let request = FlowContext::current().with_request_id("r-17");
/// let d = request.enter(|| d.map(|_| FlowContext::current().request_id().unwrap().to_owned()));
/// assert_eq!(FlowContext::current().request_id(), None);
/// trigger.fire(1); // fired from outside, it still runs in its request
/// d.inspect(|id| assert_eq!(id, "r-17")).report();
/// ```
#[derive(Clone, Default)]
#[must_use = "a context does nothing until it is entered"]
pub struct FlowContext(Option<Rc<Frame>>);

/// What a context holds. Its parts can cross threads; the count of a frame cannot.
#[derive(Clone, Default)]
pub(crate) struct Frame {
    request_id: Option<Arc<str>>,
    span: Option<Span>,
    locals: Vec<(usize, Arc<dyn Any + Send + Sync>)>,
}

impl FlowContext {
    /// The context of the code that asks.
    ///
    /// ```
    /// # use thence_core::FlowContext;
    /// assert_eq!(FlowContext::current().request_id(), None); // nobody entered one
    /// ```
    #[doc(alias = "copy_context")]
    pub fn current() -> Self {
        Self(cx().captured())
    }

    /// The same with a request id, by which reports and logs name what they belong to.
    ///
    /// ```
    /// # use thence_core::FlowContext;
    /// let request = FlowContext::current().with_request_id("r-17");
    /// assert_eq!(request.request_id(), Some("r-17"));
    /// ```
    pub fn with_request_id(self, id: impl Into<Arc<str>>) -> Self {
        self.with_frame(|frame| frame.request_id = Some(id.into()))
    }

    /// The same in a span, which is entered whenever code of this context runs.
    ///
    /// ```
    /// use thence_core::FlowContext;
    /// # let span = tracing::Span::none();
    ///
    /// let request = FlowContext::current().with_span(span);
    /// request.enter(|| println!("logged in the span"));
    /// ```
    pub fn with_span(self, span: Span) -> Self {
        self.with_frame(|frame| frame.span = Some(span))
    }

    /// The same with a value for `local`.
    ///
    /// ```
    /// use thence_core::{FlowContext, FlowLocal};
    ///
    /// static TENANT: FlowLocal<&str> = FlowLocal::new();
    ///
    /// let north = FlowContext::current().with_local(&TENANT, "north");
    /// assert_eq!(north.enter(|| TENANT.get()), Some("north"));
    /// ```
    pub fn with_local<T: Send + Sync>(self, local: &'static FlowLocal<T>, value: T) -> Self {
        let key = local.key();
        let mut old = None;
        let context = self.with_frame(|frame| {
            let at = frame.locals.iter().position(|(kept, _)| *kept == key);
            old = at.map(|at| frame.locals.remove(at));
            frame.locals.push((key, Arc::new(value)));
        });
        let_go(old);
        context
    }

    /// The request id, if there is one.
    ///
    /// ```
    /// # use thence_core::FlowContext;
    /// let request = FlowContext::current().with_request_id("r-17");
    /// request.enter(|| assert_eq!(FlowContext::current().request_id(), Some("r-17")));
    /// ```
    pub fn request_id(&self) -> Option<&str> {
        self.0.as_ref()?.request_id.as_deref()
    }

    /// The span, if there is one.
    ///
    /// ```
    /// # use thence_core::FlowContext;
    /// assert!(FlowContext::default().span().is_none());
    /// ```
    pub fn span(&self) -> Option<&Span> {
        self.0.as_ref()?.span.as_ref()
    }

    /// Runs `f` in this context: the steps and flows that it writes keep it.
    ///
    /// ```
    /// use thence_core::{FlowContext, flow};
    ///
    /// let d = FlowContext::current().with_request_id("r-18").enter(|| {
    ///     flow(async { Ok(FlowContext::current().request_id() == Some("r-18")) })
    /// });
    /// d.inspect(|is_in_it| assert!(is_in_it)).report();
    /// ```
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        cx().in_context(self.0.as_ref(), f)
    }

    /// The context as something that another thread can enter.
    ///
    /// ```
    /// # use thence_core::FlowContext;
    /// let remote = FlowContext::current().with_request_id("r-17").remote();
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         remote.enter(|| assert_eq!(FlowContext::current().request_id(), Some("r-17")));
    ///     });
    /// });
    /// ```
    pub fn remote(&self) -> RemoteContext {
        RemoteContext(self.0.as_deref().cloned())
    }

    fn with_frame(self, change: impl FnOnce(&mut Frame)) -> Self {
        let mut frame = self.0.unwrap_or_default();
        change(Rc::make_mut(&mut frame));
        Self(Some(frame))
    }
}

impl fmt::Debug for FlowContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowContext")
            .field("request_id", &self.request_id())
            .field("span", &self.span().and_then(Span::id))
            .field("locals", &self.0.as_ref().map_or(0, |frame| frame.locals.len()))
            .finish()
    }
}

/// A [`FlowContext`] on its way to another thread.
///
/// ```
/// use thence_core::FlowContext;
///
/// let remote = FlowContext::current().with_request_id("r-19").remote();
/// let seen = std::thread::spawn(move || {
///     remote.enter(|| FlowContext::current().request_id().map(str::to_owned))
/// });
/// assert_eq!(seen.join().unwrap().as_deref(), Some("r-19"));
/// ```
#[derive(Clone, Default)]
#[must_use = "a context does nothing until it is entered"]
pub struct RemoteContext(Option<Frame>);

impl RemoteContext {
    /// Runs `f` in this context, on the thread that calls.
    ///
    /// ```
    /// # use thence_core::FlowContext;
    /// let remote = FlowContext::current().with_request_id("r-17").remote();
    /// let thread = std::thread::spawn(move || remote.enter(|| println!("works for r-17")));
    /// thread.join().unwrap();
    /// ```
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        FlowContext(self.0.clone().map(Rc::new)).enter(f)
    }
}

impl fmt::Debug for RemoteContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0.as_ref().and_then(|frame| frame.request_id.as_deref());
        f.debug_struct("RemoteContext").field("request_id", &id).finish_non_exhaustive()
    }
}

/// A value of one's own in a [`FlowContext`]: a tenant, a locale, a deadline.
///
/// ```
/// use thence_core::{Deferred, FlowContext, FlowLocal};
///
/// static TENANT: FlowLocal<&str> = FlowLocal::new();
///
/// let d = FlowContext::current()
///     .with_local(&TENANT, "north")
///     .enter(|| Deferred::<u8>::ok(1).map(|_| TENANT.get()));
/// d.inspect(|tenant| assert_eq!(*tenant, Some("north"))).report();
/// assert_eq!(TENANT.get(), None);
/// ```
#[doc(alias = "ContextVar")]
#[doc(alias = "task_local")]
pub struct FlowLocal<T> {
    key: OnceLock<usize>,
    of: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> FlowLocal<T> {
    /// A local without a value; for a `static`.
    ///
    /// ```
    /// # use thence_core::FlowLocal;
    /// static LOCALE: FlowLocal<String> = FlowLocal::new();
    /// assert_eq!(LOCALE.get(), None);
    /// ```
    pub const fn new() -> Self {
        Self { key: OnceLock::new(), of: PhantomData }
    }

    /// A clone of the value in the context of the code that asks.
    ///
    /// ```
    /// # use thence_core::{FlowContext, FlowLocal};
    /// static LIMIT: FlowLocal<u32> = FlowLocal::new();
    ///
    /// let few = FlowContext::current().with_local(&LIMIT, 3);
    /// few.enter(|| assert_eq!(LIMIT.get(), Some(3)));
    /// ```
    pub fn get(&self) -> Option<T>
    where
        T: Clone,
    {
        self.with(|value| value.cloned())
    }

    /// Looks at the value in the context of the code that asks.
    ///
    /// ```
    /// # use thence_core::{FlowContext, FlowLocal};
    /// static NAMES: FlowLocal<Vec<&str>> = FlowLocal::new();
    ///
    /// let two = FlowContext::current().with_local(&NAMES, vec!["ann", "bob"]);
    /// assert_eq!(two.enter(|| NAMES.with(|names| names.map_or(0, Vec::len))), 2); // no clone
    /// ```
    pub fn with<R>(&self, f: impl FnOnce(Option<&T>) -> R) -> R {
        let frame = cx().current_frame();
        let key = self.key();
        let value = frame.as_ref().and_then(|frame| {
            let (_, value) = frame.locals.iter().find(|(kept, _)| *kept == key)?;
            value.downcast_ref()
        });
        f(value)
    }

    fn key(&self) -> usize {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        *self.key.get_or_init(|| LAST.fetch_add(1, Ordering::Relaxed))
    }
}

impl<T: Send + Sync + 'static> Default for FlowLocal<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for FlowLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowLocal").finish_non_exhaustive()
    }
}

/// The request id of the code that runs.
pub(crate) fn request_id() -> Option<Arc<str>> {
    cx().current_frame()?.request_id.clone()
}

impl Frame {
    /// The frame of code that runs in `frame`, or in none, inside the span that is current now.
    /// Nothing, if that is what `frame` says already.
    pub(crate) fn in_span_of_now(frame: Option<&Rc<Self>>) -> Option<Rc<Self>> {
        if !tracing::dispatcher::has_been_set() {
            return None;
        }
        // The subscriber is a user's: it may panic, and attach steps of its own.
        let mut found = None;
        if !IS_LOOKING.replace(true) {
            let held = hold();
            quietly(|| found = Self::at_span_of_now(frame));
            drop(held);
            IS_LOOKING.set(false);
        }
        found
    }

    fn at_span_of_now(frame: Option<&Rc<Self>>) -> Option<Rc<Self>> {
        let span = Span::current();
        let known = frame.and_then(|frame| frame.span.as_ref()).and_then(Span::id);
        // No span is also what a subscriber says that does not keep track of them.
        if span.id().is_none() || span.id() == known {
            return None;
        }
        let mut frame = frame.map_or_else(Self::default, |frame| Self::clone(frame));
        frame.span = Some(span);
        Some(Rc::new(frame))
    }

    pub(crate) fn enter_span(&self) {
        if let Some(span) = &self.span {
            span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
        }
    }

    pub(crate) fn exit_span(&self) {
        if let Some(span) = &self.span {
            span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if !self.locals.is_empty() {
            let_go_each(std::mem::take(&mut self.locals));
        }
        if self.span.is_some() {
            let_go(self.span.take());
        }
    }
}

thread_local! {
    /// While the subscriber is asked for its span.
    static IS_LOOKING: Cell<bool> = const { Cell::new(false) };
}
