//! Slide "Don't Block the Event Loop", the good half: the query runs on a thread.
//!
//! The slide's version throws its answer away: the inner function is never returned, and what it renders
//! goes nowhere. Here the answer is what the function promises, and forgetting it does not compile.
//! While the thread works the loop goes on: it counts its ticks.

use std::thread;
use std::time::Duration;

use thence::prelude::*;

struct Request {
    account_id: &'static str,
}

struct Account {
    id: u64,
}

impl Account {
    /// A query that takes its time, as queries do.
    fn get(id: u64) -> Account {
        thread::sleep(Duration::from_millis(200));
        Account { id }
    }
}

fn render_index(account: &Account) -> String {
    format!("the index of account {}", account.id)
}

fn handle_event_good(request: &Request) -> Deferred<String> {
    let account_id = request.account_id.parse();
    // offload long-running computation out of the event loop
    offload(move || {
        let account = Account::get(account_id?);
        Ok(render_index(&account))
    })
}

fn main() -> Result<(), Failure> {
    run(async {
        let page = handle_event_good(&Request { account_id: "42" });
        let mut ticks = 0;
        while !page.is_ready() {
            after(Duration::from_millis(10)).await;
            ticks += 1;
        }
        println!("{}", if ticks > 1 { "the loop went on" } else { "the loop stood still" });
        println!("{}", page.await?);

        // The wrong question gets its failure, on the same way.
        handle_event_good(&Request { account_id: "forty-two" })
            .map(|page| println!("{page}"))
            .recover(|failure| println!("no page: {failure}"))
            .await;
        Ok(())
    })
}
