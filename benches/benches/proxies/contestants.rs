//! Who is compared, by what a request passes on its way.

use crate::bench::Modules;
use outrigger_benches::figures::Figure;
use outrigger_benches::load::Protocol;
use outrigger_benches::proxies::{Filters, Kind, Listener, Setup};
use outrigger_benches::rounds::Contestant;

pub(crate) const NO_FILTER: &str = "no filter";
pub(crate) const TRIVIAL: &str = "five trivial SDK filters";
pub(crate) const SIX: &str = "our six";
pub(crate) const SIX_AS_THEIRS: &str = "our six, a VM each";
pub(crate) const COMBINED: &str = "our six as one";
pub(crate) const SIX_MIRRORING: &str = "our six, 10 % mirrored";
pub(crate) const NATIVE: &str = "its own filters";
pub(crate) const NATIVE_MIRRORING: &str = "its own filters, 10 % mirrored";

/// Every proxy.
pub(crate) const KINDS: [Kind; 4] = [Kind::Outrigger, Kind::Envoy, Kind::Haproxy, Kind::Nginx];

/// HTTP/2 as it is, many streams on a connection.
pub(crate) const HTTP2: Listener = Listener { protocol: Protocol::Http2 { streams: 16 }, tls: false };

/// HTTP/1.1 with mutual TLS.
pub(crate) const MUTUAL_TLS: Listener = Listener { protocol: Protocol::Http1, tls: true };

/// Everything that is compared.
pub(crate) fn all(modules: &Modules, listener: Listener) -> Vec<Contestant> {
    use Kind::{Envoy, Haproxy, Nginx, Outrigger};
    let mut all = Vec::new();
    let mut add = |kind, name, filters| all.push(Contestant { name, setup: Setup { kind, filters, listener } });
    for kind in [Outrigger, Envoy] {
        add(kind, NO_FILTER, Filters::None);
        add(kind, TRIVIAL, modules.trivial(5));
        add(kind, SIX, modules.six(0.0));
        add(kind, COMBINED, modules.traffic());
        add(kind, SIX_MIRRORING, modules.six(10.0));
    }
    add(Outrigger, SIX_AS_THEIRS, modules.six_as_theirs());
    add(Envoy, NATIVE, Filters::Native { mirrored: 0.0 });
    add(Envoy, NATIVE_MIRRORING, Filters::Native { mirrored: 10.0 });
    add(Haproxy, NO_FILTER, Filters::None);
    add(Nginx, NO_FILTER, Filters::None);
    all
}

/// Every proxy without filters.
pub(crate) fn plain(listener: Listener) -> Vec<Contestant> {
    let plain = |kind| Contestant { name: NO_FILTER, setup: Setup { kind, filters: Filters::None, listener } };
    KINDS.into_iter().map(plain).collect()
}

/// What of ours does what a row does.
pub(crate) fn same(name: &str) -> &str {
    match name {
        NATIVE => SIX,
        NATIVE_MIRRORING => SIX_MIRRORING,
        name => name,
    }
}

/// A ratio as a row shows it: none of ours to itself.
pub(crate) fn shown(kind: Kind, ratio: Figure) -> String {
    if kind == Kind::Outrigger { String::new() } else { ratio.to_string() }
}

pub(crate) const MEBIBYTE: f64 = 1_048_576.0;

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / MEBIBYTE)
}
