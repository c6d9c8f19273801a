//! The steps: what can be attached to a Deferred.

mod work;

pub(crate) use self::work::{AndThen, Arrive, Map, Report, Then, let_go};
use self::work::{
    AndThenTry, Branch, Finally, Inspect, InspectErr, MapErr, OrElse, Recover, Settled, Shield,
};
use crate::fault::Fault;
use crate::node::here;
use crate::outcome::{Never, Outcome};
use crate::{Deferred, IntoDeferred};

impl<T: 'static, E: Fault> Deferred<T, E> {
    /// Turns the value into another. An error and a Stop pass by.
    ///
    /// A panic in `f`, as in the closure of every step, is caught: the chain goes on as
    /// `Stop(Panicked)`.
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// let d = Deferred::<&str>::ok("hello").map(str::len).map(|n| n * 2);
    /// d.inspect(|n| assert_eq!(*n, 10)).report();
    /// ```
    #[doc(alias = "addCallback")]
    #[track_caller]
    #[inline]
    pub fn map<U: 'static>(
        self, // A Deferred has one consumer: go on with what this gives.
        f: impl FnOnce(T) -> U + 'static,
    ) -> Deferred<U, E> {
        self.step(Map(f), here())
    }

    /// Goes on with the value; `f` returns a `Result` or a Deferred of the same error, so that
    /// `?` inside needs no annotation.
    ///
    /// A Deferred that it returns takes its place: a loop of such steps runs in constant memory.
    /// An error and a Stop pass by.
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
    pub fn and_then<D>(
        self, // A Deferred has one consumer: go on with what this gives.
        f: impl FnOnce(T) -> D + 'static,
    ) -> Deferred<D::Value, E>
    where
        D: IntoDeferred<Error = E>, // Its error stays the same: use `?` or `err_into`.
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

    /// Turns the error into another. A value and a Stop pass by.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// let d = Deferred::<u8>::err(Failure::msg("closed")).map_err(|e| e.context("no answer"));
    /// d.inspect_err(|failure| assert_eq!(format!("{failure:#}"), "no answer: closed"))
    ///     .recover(|_| 0)
    ///     .done(drop);
    /// ```
    #[track_caller]
    pub fn map_err<F: Fault>(
        self,
        f: impl FnOnce(E) -> F + 'static, // `f` takes the error.
    ) -> Deferred<T, F> {
        self.step(MapErr(f), here())
    }

    /// Turns the error into another by `From`, keeping the trail as far as the new one can.
    ///
    /// ```
    /// use std::num::ParseIntError;
    /// use thence_core::{Deferred, Failure};
    ///
    /// let d: Deferred<u8, ParseIntError> = "7".parse().into();
    /// d.err_into::<Failure>().inspect(|n| assert_eq!(*n, 7)).report();
    /// ```
    #[track_caller]
    pub fn err_into<F: Fault + From<E>>(self) -> Deferred<T, F> {
        self.step(MapErr(F::from), here())
    }

    /// Goes on with the error; `f` returns a `Result` or a Deferred, and may change the error. A
    /// value and a Stop pass by, so that nobody swallows a cancellation by accident.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// fn from(replica: u8) -> Deferred<u8> {
    ///     if replica == 0 { Deferred::err(Failure::msg("down")) } else { Deferred::ok(replica) }
    /// }
    /// from(0).or_else(|_down| from(1)).inspect(|n| assert_eq!(*n, 1)).report();
    /// ```
    #[doc(alias = "addErrback")]
    #[track_caller]
    pub fn or_else<D>(
        self,
        f: impl FnOnce(E) -> D + 'static, // `f` takes the error of the Deferred it is put on.
    ) -> Deferred<T, D::Error>
    where
        D: IntoDeferred<Value = T>, // An error handler gives a value of the type that was awaited.
    {
        self.step(OrElse(f), here())
    }

    /// Turns the error into a value, so that nothing is left that could fail. A value and a Stop
    /// pass by.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// let d = Deferred::<u16>::err(Failure::msg("no PORT"));
    /// d.recover(|_| 80).done(|port| assert_eq!(port, 80));
    /// ```
    #[doc(alias = "addErrback")]
    #[track_caller]
    pub fn recover(
        self,
        f: impl FnOnce(E) -> T + 'static, // `f` takes the error and gives a value in its place.
    ) -> Deferred<T, Never> {
        self.step(Recover(f), here())
    }

    /// Goes on with the whole outcome, a Stop among it; `f` returns a `Result` or a Deferred of
    /// any types. A `Stop(Cancelled)` that arrives here is delivered, as with
    /// [`Deferred::settled`].
    ///
    /// ```
    /// use thence_core::{Deferred, Failure, Outcome};
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// let d = d.then(|outcome| match outcome {
    ///     Outcome::Ok(n) => Ok(n),
    ///     Outcome::Err(failure) => Err(failure.context("no answer")),
    ///     Outcome::Stop(stop) => Err(Failure::msg(format!("no answer: {stop}"))),
    /// });
    /// drop(trigger);
    /// d.recover(|failure| u8::from(failure.to_string().contains("lost")))
    ///     .done(|was_lost| assert_eq!(was_lost, 1));
    /// ```
    #[doc(alias = "addBoth")]
    #[track_caller]
    pub fn then<D: IntoDeferred>(
        self,
        f: impl FnOnce(Outcome<T, E>) -> D + 'static,
    ) -> Deferred<D::Value, D::Error> {
        self.step(Then(f), here())
    }

    /// Goes on with `ok` or with `err`. What `ok` fails with is not seen by `err`. A Stop passes
    /// by.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// let answer = |d: Deferred<u8>| {
    ///     d.branch(|n| Ok::<_, Failure>(format!("200: {n}")), |e| Ok(format!("502: {e}")))
    /// };
    /// answer(Deferred::ok(7)).inspect(|text| assert_eq!(text, "200: 7")).report();
    /// answer(Deferred::err(Failure::msg("down")))
    ///     .inspect(|text| assert_eq!(text, "502: down"))
    ///     .report();
    /// ```
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

    /// Looks at the value. An error and a Stop pass by.
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// Deferred::<u8>::ok(7).inspect(|n| println!("{n} came")).map(|n| n + 1).report();
    /// ```
    #[track_caller]
    pub fn inspect(self, f: impl FnOnce(&T) + 'static) -> Self {
        self.step(Inspect(f), here())
    }

    /// Looks at the error, which stays unhandled. A value and a Stop pass by.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// let d = Deferred::<u8>::err(Failure::msg("down")).inspect_err(|e| println!("it is {e}"));
    /// d.recover(|_| 0).done(drop); // without this it would be reported as well
    /// ```
    #[track_caller]
    pub fn inspect_err(self, f: impl FnOnce(&E) + 'static) -> Self {
        self.step(InspectErr(f), here())
    }

    /// Runs `f` however it ends, a Stop among it, and passes the end on. What has to wait is a
    /// [`Deferred::then`].
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use thence_core::Deferred;
    ///
    /// let busy = Rc::new(Cell::new(true));
    /// let done = busy.clone();
    /// let (trigger, d) = Deferred::<u8>::new();
    /// let d = d.finally(move || done.set(false));
    /// d.cancel();
    /// assert!(!busy.get());
    /// # drop((trigger, d));
    /// ```
    #[track_caller]
    pub fn finally(self, f: impl FnOnce() + 'static) -> Self {
        self.step(Finally(f), here())
    }

    /// The outcome as a value. A `Stop(Cancelled)` that arrives here is delivered: the request is
    /// fulfilled, and clean-up that follows may wait.
    ///
    /// ```
    /// use thence_core::{Deferred, flow};
    ///
    /// let (trigger, work) = Deferred::<u8>::new();
    /// let (cleaned, clean_up) = Deferred::<()>::new();
    /// let d = flow(async move {
    ///     let outcome = work.settled().await;
    ///     if outcome.is_cancelled() {
    ///         clean_up.await?; // is not asked to end: the request has been told
    ///     }
    ///     outcome.into_result()
    /// });
    /// d.cancel();
    /// assert!(!cleaned.is_cancelled());
    /// cleaned.fire(());
    /// d.recover(|failure| failure.to_string().len() as u8).done(|n| assert_eq!(n, 9));
    /// # drop(trigger);
    /// ```
    #[track_caller]
    pub fn settled(self) -> Deferred<Outcome<T, E>, Never> {
        self.step(Settled, here())
    }

    /// A request to end stops here: what is above runs on, and its end comes down as usual.
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// let (trigger, commit) = Deferred::<u8>::new();
    /// let d = commit.shield().map(|n| n + 1);
    /// d.cancel();
    /// assert!(!trigger.is_cancelled());
    /// trigger.fire(1);
    /// d.inspect(|n| assert_eq!(*n, 2)).report();
    /// ```
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
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// let nest: Deferred<Deferred<u8>> = Deferred::ok(3).map(|n| Deferred::ok(n * 2));
    /// nest.flatten().inspect(|n| assert_eq!(*n, 6)).report();
    /// ```
    #[track_caller]
    pub fn flatten(self) -> Deferred<T, E> {
        self.step(AndThen(|inner| inner), here())
    }
}
