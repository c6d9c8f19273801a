//! Three things that nobody handles, and what is printed of them: docs/failures.md.
use std::time::Duration;

use thence::prelude::*;
use thence::{FlowContext, backoff, retry};

fn main() -> Result<(), Failure> {
    run(async {
        let request = FlowContext::current().with_request_id("r-17");
        request.enter(|| limits("north").map(|limits| println!("{limits}")).report());

        let ports = [80, 443];
        Deferred::<usize>::ok(2)
            .map(move |n| println!("{}", ports[n]))
            .named("pick a port")
            .report();

        let (trigger, answer) = Deferred::<String>::new();
        answer.map(|text| println!("{text}")).report();
        drop(trigger); // whoever was to answer is gone

        Ok(())
    })
}

/// What a region may use, from a file that may be late.
fn limits(region: &str) -> Deferred<u32> {
    let path = format!("limits/{region}");
    flow(async move {
        let delay = backoff(Duration::from_millis(1), Duration::from_millis(4));
        let text = retry(3, delay, move |_| read(path.clone())).await.context("no limits")?;
        Ok(text.trim().parse()?)
    })
}

fn read(path: String) -> Deferred<String> {
    offload(move || Ok(std::fs::read_to_string(path)?)).named("read a file")
}
