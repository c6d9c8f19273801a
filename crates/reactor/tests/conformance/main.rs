//! What every driver must do, and what the Deferreds over it must do on every driver.
//!
//! * `driver`: one table, every operation in everything that may happen to it.
//! * `net`: the same for every Deferred of a connection.
//! * `behaviours`: what is not of one operation, such as order and bounds.
//! * `edges`: what readiness makes hard.
//! * `published`: bugs of other drivers, each under its number.
//!
//! A new driver is one line in `drivers`. Each test runs alone and ends by counting: every
//! operation ended once, and no descriptor, socket, buffer, timer or step is left.

#[path = "../common/mod.rs"]
mod common;

#[macro_use]
mod drivers;

mod behaviours;
mod bench;
mod count;
mod driver;
mod edges;
mod net;
mod published;
mod sockets;
mod stage;
