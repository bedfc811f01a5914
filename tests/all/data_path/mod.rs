//! The data path over raw sockets: what hostile or broken neighbours say, and what the proxy makes of it.

mod answers;
mod requests;

use libtest_mimic::{Failed, Trial};

/// A 200 with the body `ok`, on a connection that goes on.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The tests.
pub(crate) fn trials() -> Vec<Trial> {
    [requests::trials(), answers::trials()].into_iter().flatten().collect()
}

/// A test of the data path.
fn trial(name: &str, run: fn() -> Result<(), String>) -> Trial {
    Trial::test(format!("data_path::{name}"), move || run().map_err(Failed::from))
}

/// Runs every row of a table: those that are not as they should be.
fn each<R>(
    rows: impl IntoIterator<Item = R>,
    mut run: impl FnMut(&R) -> Result<(), (String, String)>,
) -> Result<(), String> {
    let wrong = rows.into_iter().filter_map(|row| run(&row).err());
    let wrong: Vec<String> = wrong.map(|(name, fault)| format!("{name}: {fault}")).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// What is not equal, as an error.
fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?}, not {expected:?}")) }
}
