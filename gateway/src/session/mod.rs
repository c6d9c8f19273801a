//! Sessions: what a cookie proves, where it is kept, and how long it lives.
//!
//! The rules (S1 to S15) are the gateway's own; each is cited where it is kept.

pub mod account;
pub mod command;
pub mod cookie;
mod error;
pub mod key;
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
    stamp::{Span, Stamp},
    store::{Found, Life, Row, Session, State, Store},
    survey::Survey,
    token::{Handle, MacKey, RowKey, SessionId},
};
