//! `cargo bench -p outrigger-benches --bench flatness`: instructions of a request through the filters as native code,
//! with ten entries and with ten thousand, for each shape that an index answers (in the order of `INDEXED`). Needs
//! valgrind, and `cargo install gungraun-runner` of the version in `Cargo.lock`.
//!
//! The table of `--bench filters -- instructions` counts the same of the modules as they ship, in guest instructions;
//! this one counts what the machine executes, the memory that a host gives included.

#![allow(missing_docs, unreachable_pub, reason = "what gungraun's macros make")]

use gungraun::{library_benchmark, library_benchmark_group};
use http_match::HeaderList;
use native_shim::{Message, NativeProxy, Settings};
use outrigger_benches::configurations::{INDEXED, Shape};
use outrigger_tests::native;

/// A proxy that has served the request once, and the request.
type Ready = (NativeProxy, Message);

fn ready(shape: &Shape, n: usize) -> Ready {
    let settings = Settings { properties: shape.properties(n), ..Settings::default() };
    let mut proxy = NativeProxy::new(settings);
    let configure = native::configure(shape.module).expect(shape.module);
    proxy.add_plugin(configure, (shape.configuration)(n).to_string().as_bytes()).expect(shape.name);
    let headers = shape.headers(n);
    let headers: HeaderList = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let request = Message { headers, ..Message::default() };
    let stream = proxy.open_stream(&request);
    assert!(!proxy.replied(stream), "{} with {n} entries: the request was not let through", shape.name);
    proxy.close_stream(stream);
    proxy.take_recorded();
    (proxy, request)
}

fn ten(shape: usize) -> Ready {
    ready(&INDEXED[shape], 10)
}

fn ten_thousand(shape: usize) -> Ready {
    ready(&INDEXED[shape], 10_000)
}

#[library_benchmark]
#[benches::ten(iter = 0..INDEXED.len(), setup = ten)]
#[benches::ten_thousand(iter = 0..INDEXED.len(), setup = ten_thousand)]
fn request((mut proxy, request): Ready) -> Ready {
    proxy.open_stream(&request);
    (proxy, request)
}

library_benchmark_group!(name = flatness, benchmarks = request);
gungraun::main!(library_benchmark_groups = flatness);
