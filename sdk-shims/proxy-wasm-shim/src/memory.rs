//! The module's memory.

/// Small, and made for WebAssembly: it extends one heap as the memory grows and joins free neighbours, so that a VM that
/// runs for months does not fall apart. The C library's allocator is eight times the size.
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

// A panic asks the C library for RUST_BACKTRACE and for the current directory. A module has neither, and to look them
// up the library would bring its own allocator and the environment imports: these two answer instead.

/// There are no environment variables.
#[unsafe(no_mangle)]
extern "C" fn getenv(_name: *const u8) -> *mut u8 {
    std::ptr::null_mut()
}

/// There is no memory for copies of C strings.
#[unsafe(no_mangle)]
extern "C" fn strdup(_text: *const u8) -> *mut u8 {
    std::ptr::null_mut()
}
