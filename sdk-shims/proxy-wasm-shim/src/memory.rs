//! The module's memory: its allocator, and what the C library would otherwise bring for it.

use crate::{hostcalls, logger};
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use talc::wasm::WasmDynamicTalc;

#[global_allocator]
static ALLOCATOR: Allocator =
    Allocator { talc: talc::wasm::new_wasm_dynamic_allocator(), spare: UnsafeCell::new([Spare::NONE; CLASSES]) };

/// Small, and made for WebAssembly: talc extends one heap as the memory grows and joins free neighbours, so that a VM that
/// runs for months does not fall apart. The C library's allocator is eight times the size.
///
/// Before it stand a few small blocks of each size that were freed: a request takes and returns the same ones over and
/// over, and to join and split them each time would be a good part of what it costs. They are so few that they cannot
/// keep memory apart.
struct Allocator {
    talc: WasmDynamicTalc,
    spare: UnsafeCell<[Spare; CLASSES]>,
}

/// Freed blocks of one size: each starts with the address of the next.
#[derive(Clone, Copy)]
struct Spare {
    first: *mut u8,
    count: usize,
}

impl Spare {
    const NONE: Self = Self { first: null_mut(), count: 0 };
}

/// Sizes differ by so many bytes.
const STEP: usize = 16;
/// Blocks of up to 256 bytes are small.
const CLASSES: usize = 16;
/// At most so many blocks of a size are kept.
const KEPT: usize = 8;

// SAFETY: a module has one thread.
unsafe impl Sync for Allocator {}

/// A small block's class, and the layout of all blocks of this class.
fn class(layout: Layout) -> Option<(usize, Layout)> {
    let class = layout.size().checked_sub(1)? / STEP;
    if class >= CLASSES || layout.align() > STEP {
        return None;
    }
    Some((class, Layout::from_size_align((class + 1) * STEP, STEP).ok()?))
}

// SAFETY: every block comes from `talc`, with its own layout or with that of its class, which depends on its layout
// alone and holds it; it goes back to `talc` with the same. A spare block belongs to nobody, so its first bytes may
// hold the address of the next.
// Never inlined: values are dropped all over a module, and a copy of this in each place made the largest one half as
// large again.
unsafe impl GlobalAlloc for Allocator {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((class, whole)) = class(layout) else {
            return said(unsafe { self.talc.alloc(layout) });
        };
        match unsafe { &mut *self.spare.get() }.get_mut(class) {
            Some(spare) if !spare.first.is_null() => {
                let block = spare.first;
                spare.first = unsafe { block.cast::<*mut u8>().read() };
                spare.count -= 1;
                block
            }
            _ => said(unsafe { self.talc.alloc(whole) }),
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((class, whole)) = class(layout) else {
            return unsafe { self.talc.dealloc(block, layout) };
        };
        match unsafe { &mut *self.spare.get() }.get_mut(class) {
            Some(spare) if spare.count < KEPT => {
                unsafe { block.cast::<*mut u8>().write(spare.first) };
                spare.first = block;
                spare.count += 1;
            }
            _ => unsafe { self.talc.dealloc(block, whole) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(size, layout.align()) else {
            return null_mut();
        };
        match (class(layout), class(new)) {
            (None, None) => return said(unsafe { self.talc.realloc(block, layout, size) }),
            (Some((old, _)), Some((new, _))) if old == new => return block,
            _ => {}
        }
        let moved = unsafe { self.alloc(new) };
        if !moved.is_null() {
            unsafe {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
        }
        moved
    }
}

/// Says that there is no memory, where there is none: the library would end the VM without a word.
fn said(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        hostcalls::log(logger::ERROR, "the plugin's memory is used up");
    }
    block
}

/// Compares by words: names and values of headers are compared many times in a request, and the C library goes byte by
/// byte.
///
/// # Safety
/// As in C: both have `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, size: usize) -> i32 {
    // SAFETY: every read lies within the `size` bytes, as the loop and its start say.
    let words = |at: usize| unsafe {
        (
            one.add(at).cast::<u64>().read_unaligned().swap_bytes(),
            other.add(at).cast::<u64>().read_unaligned().swap_bytes(),
        )
    };
    let mut at = 0;
    if size >= 8 {
        loop {
            let (one, other) = words(at);
            if one != other {
                return if one < other { -1 } else { 1 };
            }
            match size - at {
                8 => return 0,
                // The last word overlaps the one before it, which was equal.
                rest => at = if rest < 16 { size - 8 } else { at + 8 },
            }
        }
    }
    // SAFETY: as above.
    let halves = |at: usize| unsafe {
        (
            one.add(at).cast::<u32>().read_unaligned().swap_bytes(),
            other.add(at).cast::<u32>().read_unaligned().swap_bytes(),
        )
    };
    if size >= 4 {
        let (one, other) = match halves(0) {
            (one, other) if one == other => halves(size - 4),
            unequal => unequal,
        };
        return if one == other {
            0
        } else if one < other {
            -1
        } else {
            1
        };
    }
    while at < size {
        // SAFETY: as above.
        let (one, other) = unsafe { (*one.add(at), *other.add(at)) };
        if one != other {
            return i32::from(one) - i32::from(other);
        }
        at += 1;
    }
    0
}

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
