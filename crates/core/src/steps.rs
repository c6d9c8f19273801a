//! The steps: what can be attached to a Deferred.

mod work;

pub(crate) use self::work::{AndThen, Arrive, Map, Report, Then, error_lane};
use self::work::{
    AndThenTry, Branch, Finally, Inspect, InspectErr, MapErr, OrElse, Recover, Settled, Shield,
};
use crate::fault::Fault;
use crate::node::here;
use crate::outcome::{Never, Outcome};
use crate::{Deferred, IntoDeferred};

impl<T: 'static, E: Fault> Deferred<T, E> {
    /// Turns the value into another.
    #[doc(alias = "addCallback")]
    #[track_caller]
    #[inline]
    pub fn map<U: 'static>(self, f: impl FnOnce(T) -> U + 'static) -> Deferred<U, E> {
        self.step(Map(f), here())
    }

    /// Goes on with the value; `f` returns a `Result` or a Deferred of the same error, so that
    /// `?` inside needs no annotation.
    ///
    /// A Deferred that it returns takes its place: a loop of such steps runs in constant memory.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// fn factorial(acc: u64, n: u64) -> Deferred<u64> {
    ///     if n <= 1 {
    ///         return Deferred::ok(acc);
    ///     }
    ///     Deferred::ok(acc * n).and_then(move |acc| factorial(acc, n - 1))
    /// }
    /// factorial(1, 5).inspect(|n| assert_eq!(*n, 120)).report();
    /// ```
    #[doc(alias = "addCallback")]
    #[doc(alias = "chain")]
    #[track_caller]
    #[inline]
    pub fn and_then<D>(self, f: impl FnOnce(T) -> D + 'static) -> Deferred<D::Value, E>
    where
        D: IntoDeferred<Error = E>,
    {
        self.step(AndThen(f), here())
    }

    /// [`Deferred::and_then`] for a closure that uses `?` and returns a Deferred.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// let d: Deferred<u16> = Deferred::ok("80").and_then_try(|text| {
    ///     let port: u16 = text.parse()?;
    ///     Ok(Deferred::ok(port))
    /// });
    /// d.inspect(|port| assert_eq!(*port, 80)).report();
    /// ```
    #[track_caller]
    pub fn and_then_try<U: 'static>(
        self,
        f: impl FnOnce(T) -> Result<Deferred<U, E>, E> + 'static,
    ) -> Deferred<U, E> {
        self.step(AndThenTry(f), here())
    }

    /// Turns the error into another.
    #[track_caller]
    pub fn map_err<F: Fault>(self, f: impl FnOnce(E) -> F + 'static) -> Deferred<T, F> {
        self.step(MapErr(f), here())
    }

    /// Turns the error into another by `From`, keeping the trail as far as the new one can.
    #[track_caller]
    pub fn err_into<F: Fault + From<E>>(self) -> Deferred<T, F> {
        self.step(MapErr(F::from), here())
    }

    /// Goes on with the error; `f` returns a `Result` or a Deferred, and may change the error.
    #[doc(alias = "addErrback")]
    #[track_caller]
    pub fn or_else<D>(self, f: impl FnOnce(E) -> D + 'static) -> Deferred<T, D::Error>
    where
        D: IntoDeferred<Value = T>,
    {
        self.step(OrElse(f), here())
    }

    /// Turns the error into a value, so that nothing is left that could fail.
    #[doc(alias = "addErrback")]
    #[track_caller]
    pub fn recover(self, f: impl FnOnce(E) -> T + 'static) -> Deferred<T, Never> {
        self.step(Recover(f), here())
    }

    /// Goes on with the whole outcome, a Stop among it.
    #[doc(alias = "addBoth")]
    #[track_caller]
    pub fn then<D: IntoDeferred>(
        self,
        f: impl FnOnce(Outcome<T, E>) -> D + 'static,
    ) -> Deferred<D::Value, D::Error> {
        self.step(Then(f), here())
    }

    /// Goes on with `ok` or with `err`. What `ok` fails with is not seen by `err`.
    #[doc(alias = "addCallbacks")]
    #[track_caller]
    pub fn branch<A, B>(
        self,
        ok: impl FnOnce(T) -> A + 'static,
        err: impl FnOnce(E) -> B + 'static,
    ) -> Deferred<A::Value, A::Error>
    where
        A: IntoDeferred,
        B: IntoDeferred<Value = A::Value, Error = A::Error>,
    {
        self.step(Branch(ok, err), here())
    }

    /// Looks at the value.
    #[track_caller]
    pub fn inspect(self, f: impl FnOnce(&T) + 'static) -> Self {
        self.step(Inspect(f), here())
    }

    /// Looks at the error, which stays unhandled.
    #[track_caller]
    pub fn inspect_err(self, f: impl FnOnce(&E) + 'static) -> Self {
        self.step(InspectErr(f), here())
    }

    /// Runs `f` however it ends, a Stop among it, and passes the end on. What has to wait is a
    /// [`Deferred::then`].
    #[track_caller]
    pub fn finally(self, f: impl FnOnce() + 'static) -> Self {
        self.step(Finally(f), here())
    }

    /// The outcome as a value. A `Stop(Cancelled)` that arrives here is delivered: the request is
    /// fulfilled, and clean-up that follows may wait.
    #[track_caller]
    pub fn settled(self) -> Deferred<Outcome<T, E>, Never> {
        self.step(Settled, here())
    }

    /// A request to end stops here: what is above runs on, and its end comes down as usual.
    #[track_caller]
    pub fn shield(self) -> Self {
        if self.is_ready() {
            return self;
        }
        self.step(Shield, here())
    }
}

impl<T: 'static, E: Fault> Deferred<Deferred<T, E>, E> {
    /// Waits for the inner one too.
    #[track_caller]
    pub fn flatten(self) -> Deferred<T, E> {
        self.step(AndThen(|inner| inner), here())
    }
}
