//! Where a request goes that has passed its filters, how often it is tried, and what becomes of it.

mod exchange;
mod forward;
mod route;

pub(crate) use exchange::{Downstream, Finished, serve};
