//! `to[].operation`: what is requested.

use crate::config::Operation;
use crate::field::{Field, Scope, Terms};
use plugin_config::At;

/// Compiles one operation.
pub(crate) fn compile(operation: &Operation, scope: &Scope<'_>, at: &mut At) -> Terms {
    let mut terms = Terms::default();
    let o = operation;
    for (field, values, not_values) in [
        (Field::Host, ("hosts", &o.hosts), ("notHosts", &o.not_hosts)),
        (Field::Port, ("ports", &o.ports), ("notPorts", &o.not_ports)),
        (Field::Method, ("methods", &o.methods), ("notMethods", &o.not_methods)),
        (Field::Path, ("paths", &o.paths), ("notPaths", &o.not_paths)),
    ] {
        terms.field(field, (values.0, values.1), (not_values.0, not_values.1), scope, at);
    }
    if terms.terms.is_empty() && !terms.faulty {
        at.refuse("{}", "an operation must have at least one field with a value");
        terms.faulty = true;
    }
    terms
}
