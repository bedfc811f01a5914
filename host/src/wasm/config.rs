//! The engine's settings. The build compiles our own filters with them, so that no start has to.

use wasmtime::Config;

/// What guests do not need is off: threads, garbage collection, components. Guard pages and signals check bounds;
/// the epoch counter stops guests (some 4 % of a request with five filters; fuel would cost some 26 %).
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.concurrency_support(false);
    config.max_wasm_stack(512 << 10);
    // A VM's memory is the one that is exported and counted, and its pointers have 32 bits.
    config.wasm_multi_memory(false).wasm_memory64(false);
    config
}
