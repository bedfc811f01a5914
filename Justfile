# Everyday recipes; CI runs the same ones (`just ci` = .ci/run).

# Lists the recipes.
default:
    @just --list

# Formatting and lints.
check:
    cargo fmt --all --check
    rustfmt --check --edition 2024 tests/guests/abi/*.rs tests/guests/programs/*.rs
    cargo clippy --workspace --all-targets -- -D warnings

# Every test: native, stock Envoy, wasm-bindgen.
test *args:
    cargo test --workspace {{args}}

# The modules as shipped, optimised, in target/wasm, with a table of their sizes.
wasm:
    cargo run -q -p outrigger-tests --example wasm

# The cases of one filter (or all): `just cases fault-injection`.
cases filter="":
    cargo test -p outrigger-tests --test all -- {{filter}}

# Only what runs in stock Envoy.
envoy:
    cargo test -p outrigger-tests --test all -- ::envoy

# Sizes, instructions per request, time per callback, cost in stock Envoy.
bench-filters *args:
    cargo bench -p outrigger-benches --bench filters {{args}}

# Our proxy beside stock Envoy, haproxy and nginx: `just bench http1 paced rounds=9`, or everything without words;
# `before=FILE` compares with another build of it, `ours=FILE` measures another (`just ship`). Needs haproxy, nginx, strace and valgrind.
bench *args:
    cargo build --release -F precompiled -p outrigger
    cargo bench -p outrigger-benches --bench proxies -- {{args}}

# Each fuzz target for ten seconds (needs a nightly toolchain and cargo-fuzz).
fuzz-smoke:
    for target in $(cargo +nightly fuzz list); do \
        mkdir -p "fuzz/corpus/$target" "fuzz/seeds/$target" && \
        cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- -max_total_time=10 || exit 1; \
    done

# The binary as packages hold it: target/ship/outrigger.
ship:
    cargo build --profile ship -F precompiled -p outrigger

# What may be linked, under which licenses, from where (needs cargo-deny; advisories are asked of github.com).
deny *checks:
    cargo deny check {{checks}}

# What CI runs.
ci:
    .ci/run
