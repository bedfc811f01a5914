//! What concerns the whole repository: sizes, examples, documents, imports.

use libtest_mimic::Trial;

/// The tests.
pub(crate) fn trials() -> Vec<Trial> {
    Vec::new()
}
