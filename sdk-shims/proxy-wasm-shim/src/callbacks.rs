//! The functions a host calls. [`crate::register!`] exports them.

use crate::hostcalls::{self, Buffer};
use crate::logger;
use crate::wasm_host::WasmHost;
use filter_api::{Action, CallEvent, CallId, Chain, Configure, IdMap, StreamId};
use std::cell::RefCell;
use std::mem::ManuallyDrop;

/// What this VM holds: one chain for each plugin that shares it, and whose each stream is.
struct Vm {
    /// One root for each plugin that shares the VM: few, and mostly one. `None`: not configured yet.
    roots: Vec<(u32, Option<Chain>)>,
    first_root: Option<u32>,
    /// Streams of other roots than the first. Most VMs have one root, and then a stream needs no entry.
    streams: IdMap<StreamId, u32>,
}

thread_local! {
    // Without a destructor, for which every access would look whether it is registered: a module has no end.
    static VM: ManuallyDrop<RefCell<Vm>> =
        const { ManuallyDrop::new(RefCell::new(Vm { roots: Vec::new(), first_root: None, streams: IdMap::new() })) };
}

/// Runs with the VM's state. A host must not call a module while the module calls it; one that does is passed over
/// rather than answered with a trap.
fn with_vm(run: &mut dyn FnMut(&mut Vm)) {
    VM.with(|vm| {
        if let Ok(mut vm) = vm.try_borrow_mut() {
            run(&mut vm);
        }
    });
}

impl Vm {
    fn root(&mut self, root: u32) -> Option<&mut Chain> {
        let (_, chain) = self.roots.iter_mut().find(|(id, _)| *id == root)?;
        chain.as_mut()
    }

    fn of_stream(&mut self, stream: u32) -> Option<&mut Chain> {
        // Mostly one plugin has the VM to itself, and then no stream has an entry.
        let other = self.streams.get(StreamId(stream)).copied();
        self.root(other.or(self.first_root)?)
    }
}

const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;

/// `_initialize`: runs the constructors that linked code registered.
pub fn initialize() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: the linker defines it; it takes nothing and a host calls `_initialize` once, before anything else.
    unsafe { __wasm_call_ctors() }
}

/// `proxy_on_memory_allocate`: memory for what a hostcall returns. Null when there is none.
pub fn allocate(size: usize) -> *mut u8 {
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(capacity(size)).is_err() {
        return std::ptr::null_mut();
    }
    memory.leak().as_mut_ptr()
}

/// The capacity of memory for `size` bytes: what is as large as a header map has room for some changes to it.
pub(crate) fn capacity(size: usize) -> usize {
    if size < 128 { size } else { size.saturating_add(128) }
}

/// `proxy_on_context_create`
pub fn context_create(context: u32, parent: u32) {
    with_vm(&mut |vm| match parent {
        0 => {
            vm.first_root.get_or_insert(context);
            vm.roots.push((context, None));
        }
        root if vm.first_root != Some(root) => {
            vm.streams.insert(StreamId(context), root);
        }
        _ => {}
    });
}

/// `proxy_on_vm_start`
pub fn vm_start() -> u32 {
    // The library would print to standard error, through layers that are larger than some filters.
    std::panic::set_hook(Box::new(|panic| hostcalls::log(logger::ERROR, &panic.to_string())));
    logger::install();
    u32::from(true)
}

/// `proxy_on_configure`: false, after every fault was logged, refuses the configuration.
pub fn configure(configure: Configure, root: u32, size: usize) -> u32 {
    let configuration = match hostcalls::buffer(Buffer::PluginConfiguration, 0, size) {
        Ok(configuration) => configuration,
        Err(error) => {
            log::error!("the plugin configuration cannot be read: {error}");
            return u32::from(false);
        }
    };
    match Chain::configure(configure, &configuration, &mut WasmHost) {
        Ok(chain) => {
            let (mut chain, mut configured) = (Some(chain), false);
            with_vm(&mut |vm| {
                if let Some((_, place)) = vm.roots.iter_mut().find(|(id, _)| *id == root) {
                    *place = chain.take();
                    configured = true;
                }
            });
            u32::from(configured)
        }
        Err(faults) => {
            log::error!("the plugin configuration is refused:\n{faults}");
            u32::from(false)
        }
    }
}

/// `proxy_on_delete`: a stream, or a plugin, is over.
pub fn delete(context: u32) {
    with_vm(&mut |vm| {
        if let Some(place) = vm.roots.iter().position(|(id, _)| *id == context) {
            vm.roots.remove(place);
            return;
        }
        if let Some(chain) = vm.of_stream(context) {
            chain.on_stream_end(StreamId(context), &mut WasmHost);
        }
        vm.streams.remove(StreamId(context));
    });
}

fn on_stream(context: u32, run: &mut dyn FnMut(&mut Chain, StreamId)) {
    with_vm(&mut |vm| {
        if let Some(chain) = vm.of_stream(context) {
            run(chain, StreamId(context));
        }
    });
}

fn on_root(root: u32, run: &mut dyn FnMut(&mut Chain)) {
    with_vm(&mut |vm| {
        if let Some(chain) = vm.root(root) {
            run(chain);
        }
    });
}

/// `proxy_on_request_headers`
pub fn request_headers(context: u32, end_of_stream: u32) -> u32 {
    // No chain can only mean a host that runs streams of a plugin it never configured: nothing may pass unseen.
    let mut action = Action::Pause;
    on_stream(context, &mut |chain, id| {
        action = chain.on_request_headers(id, end_of_stream != 0, &mut WasmHost);
    });
    match action {
        Action::Continue => CONTINUE,
        Action::Pause => PAUSE,
    }
}

/// `proxy_on_new_connection`
pub fn new_connection(context: u32) -> u32 {
    // As for request headers: nothing may pass unseen.
    let mut action = Action::Pause;
    on_stream(context, &mut |chain, id| action = chain.on_new_connection(id, &mut WasmHost));
    match action {
        Action::Continue => CONTINUE,
        Action::Pause => PAUSE,
    }
}

/// `proxy_on_request_body`
pub fn request_body(context: u32, size: usize, end_of_stream: u32) -> u32 {
    on_stream(context, &mut |chain, id| chain.on_request_body(id, size, end_of_stream != 0, &mut WasmHost));
    CONTINUE
}

/// `proxy_on_request_trailers`
pub fn request_trailers(context: u32) -> u32 {
    on_stream(context, &mut |chain, id| chain.on_request_trailers(id, &mut WasmHost));
    CONTINUE
}

/// `proxy_on_response_headers`
pub fn response_headers(context: u32, end_of_stream: u32) -> u32 {
    on_stream(context, &mut |chain, id| chain.on_response_headers(id, end_of_stream != 0, &mut WasmHost));
    CONTINUE
}

/// `proxy_on_tick`
pub fn tick(root: u32) {
    on_root(root, &mut |chain| chain.on_tick(&mut WasmHost));
}

/// `proxy_on_http_call_response`
pub fn http_call_response(root: u32, call: u32, body_size: usize) {
    on_call(root, CallId::Http(call), CallEvent::HttpResponse { body_size });
}

/// `proxy_on_grpc_receive`
pub fn grpc_receive(root: u32, call: u32, size: usize) {
    on_call(root, CallId::Grpc(call), CallEvent::GrpcMessage { size });
}

/// `proxy_on_grpc_close`
pub fn grpc_close(root: u32, call: u32, status: u32) {
    on_call(root, CallId::Grpc(call), CallEvent::GrpcClosed { status });
}

fn on_call(root: u32, call: CallId, event: CallEvent) {
    on_root(root, &mut |chain| chain.on_call(call, event, &mut WasmHost));
}
