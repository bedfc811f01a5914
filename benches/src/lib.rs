//! What the benches share: configurations of growing size, a small Proxy-Wasm host that counts, the proxies that are
//! compared, and the load on them.

pub mod configurations;
pub mod count;
pub mod figures;
pub mod guest;
pub mod load;
pub mod process;
pub mod proxies;
pub mod rounds;
pub mod sdk;
pub mod settle;
pub mod tls;
pub mod upstream;
