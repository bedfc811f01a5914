//! HTTP/1 on the wire: heads and bodies parsed as RFC 9112 writes them and no looser, and written again.

pub mod body;
pub mod encode;
mod fields;
pub mod head;
pub(crate) mod response;
mod section;
mod target;
#[cfg(test)]
mod tests;
