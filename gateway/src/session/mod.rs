//! Sessions: what a cookie proves, where it is kept, and how long it lives.
//!
//! The rules (S1 to S15) are the gateway's own; each is cited where it is kept.

pub mod account;
mod anchor;
pub mod command;
pub mod cookie;
mod error;
pub mod key;
mod row;
mod schema;
pub mod stamp;
pub mod store;
pub mod survey;
pub mod token;
pub mod touches;

pub use self::{
    account::Account,
    cookie::{Cookie, Presented},
    error::StoreError,
    row::{Found, Row, Session, State},
    stamp::{Span, Stamp},
    store::{Life, Store},
    survey::Survey,
    token::{Handle, MacKey, RowKey, SessionId},
};
