//! `to[].operation`: what is requested.

use crate::config::Operation;
use crate::field::{Field, Scope, Terms};
use plugin_config::At;

/// Compiles one operation.
pub(crate) fn compile(operation: &Operation, scope: &mut Scope<'_>, at: &mut At) -> Option<Terms> {
    if *operation == Operation::default() {
        return at.fault("{}", "an operation must have at least one field with a value");
    }
    let mut terms = Terms::default();
    let mut field = |field, values, not_values| terms.field(&field, values, not_values, scope, at);
    let o = operation;
    let compiled = [
        field(Field::Host, ("hosts", &o.hosts), ("notHosts", &o.not_hosts)),
        field(Field::Port, ("ports", &o.ports), ("notPorts", &o.not_ports)),
        field(Field::Method, ("methods", &o.methods), ("notMethods", &o.not_methods)),
        field(Field::Path, ("paths", &o.paths), ("notPaths", &o.not_paths)),
    ];
    compiled.iter().all(Option::is_some).then_some(terms)
}
