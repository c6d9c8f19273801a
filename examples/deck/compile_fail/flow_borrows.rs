//! A flow that borrows from the function that starts it: it may run on when that has returned.
// says: write `async move { .. Ok(value) }`
use thence::prelude::*;

fn main() {
    let name = String::from("thence");
    let name = &name; //~ E0597
    flow(async move {
        println!("{name}");
        Ok(())
    })
    .report();
}
