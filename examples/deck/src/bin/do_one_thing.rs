//! Slide "CPS Programming (Callbacks)": do one thing, then another, then more stuff. Three times over: with
//! callbacks as on the slide, as a chain, and as `async`.

use std::time::Duration;

use thence::prelude::*;

fn main() -> Result<(), Failure> {
    run(async {
        let (finished, callbacks) = Deferred::infallible();
        with_callbacks("callbacks", move || finished.fire(()));
        callbacks.await;

        as_a_chain("chain").await;
        as_async("async").await?;
        Ok(())
    })
}

fn with_callbacks(a: &'static str, more_stuff: impl FnOnce() + 'static) {
    do_one_thing(a, move || {
        let b = "something";
        let c = "something else";
        do_another_thing(a, b, c, move || {
            println!("{a}: more stuff!");
            more_stuff();
        });
    });
}

fn as_a_chain(a: &'static str) -> Deferred<(), Never> {
    let (b, c) = ("something", "something else");
    one_thing(a)
        .and_then(move |()| another_thing(a, b, c))
        .map(move |()| println!("{a}: more stuff!"))
}

fn as_async(a: &'static str) -> Deferred<()> {
    flow(async move {
        one_thing(a).await;
        let b = "something";
        let c = "something else";
        another_thing(a, b, c).await;
        println!("{a}: more stuff!");
        Ok(())
    })
}

fn do_one_thing(a: &'static str, callback: impl FnOnce() + 'static) {
    one_thing(a).done(|()| callback());
}

fn do_another_thing(a: &'static str, b: &str, c: &str, callback: impl FnOnce() + 'static) {
    another_thing(a, b, c).done(|()| callback());
}

fn one_thing(a: &'static str) -> Deferred<(), Never> {
    after(Duration::from_millis(1)).map(move |()| println!("{a}: one thing"))
}

fn another_thing(a: &'static str, b: &str, c: &str) -> Deferred<(), Never> {
    let line = format!("{a}: another thing with {b} and {c}");
    after(Duration::from_millis(1)).map(move |()| println!("{line}"))
}
