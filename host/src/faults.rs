//! Everything that is wrong with a snapshot, at once.

use std::fmt;

/// Why a snapshot is refused: every fault, each with the resource, the field, the value and the reason.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Faults(Vec<String>);

impl Faults {
    /// One fault.
    pub fn one(fault: impl Into<String>) -> Self {
        Self(vec![fault.into()])
    }

    /// Adds one, unless it is known already.
    pub fn push(&mut self, fault: impl Into<String>) {
        let fault = fault.into();
        if !self.0.contains(&fault) {
            self.0.push(fault);
        }
    }

    /// Adds those of a part, with where that part is.
    pub fn extend(&mut self, place: &str, faults: impl IntoIterator<Item = impl fmt::Display>) {
        faults.into_iter().for_each(|fault| self.push(format!("{place}: {fault}")));
    }

    /// Adds all of others.
    pub fn append(&mut self, others: Self) {
        others.0.into_iter().for_each(|fault| self.push(fault));
    }

    /// The value, unless something is wrong.
    ///
    /// # Errors
    /// The faults, if there are any.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each fault.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// One to a line.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Faults {}
