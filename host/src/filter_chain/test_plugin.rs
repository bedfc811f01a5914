//! Plugins for tests: guests written as text, each callback of which writes a line to the log and answers as the test
//! says; and a worker's services of which the test is the other end.

use crate::filter_chain::FilterChain;
use crate::telemetry::Registry;
use crate::wasm::{
    ConnectionProperties, FailStrategy, GrpcCall, GrpcEvent, HttpCall, HttpCallResponse, Limits, LocalFuture, LogLevel,
    Plugin, PluginSettings, QueueReady, Services, SharedState, Stream, StreamState, VmTable, WasmEngine, WasmModule,
};
use bytes::Bytes;
use http_match::HeaderList;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// Callbacks: name without `proxy_on_`, parameters after the context's id, result if there is one.
const CALLBACKS: [(&str, usize, Option<u32>); 25] = [
    ("context_create", 1, None),
    ("vm_start", 1, Some(1)),
    ("configure", 1, Some(1)),
    ("tick", 0, None),
    ("queue_ready", 1, None),
    ("new_connection", 0, Some(0)),
    ("downstream_data", 2, Some(0)),
    ("upstream_data", 2, Some(0)),
    ("downstream_connection_close", 1, None),
    ("upstream_connection_close", 1, None),
    ("request_headers", 2, Some(0)),
    ("request_body", 2, Some(0)),
    ("request_trailers", 1, Some(0)),
    ("response_headers", 2, Some(0)),
    ("response_body", 2, Some(0)),
    ("response_trailers", 1, Some(0)),
    ("http_call_response", 4, None),
    ("grpc_receive_initial_metadata", 2, None),
    ("grpc_receive", 2, None),
    ("grpc_receive_trailing_metadata", 2, None),
    ("grpc_close", 2, None),
    ("foreign_function", 2, None),
    ("done", 0, Some(1)),
    ("log", 0, None),
    ("delete", 0, None),
];

/// Callbacks from the first on that a logging guest does not have unless a test asks for them.
const START_UP: usize = 5;

/// Hostcalls that a callback may use, with the number of their parameters; all are i32 and return one.
const HOSTCALLS: [(&str, usize); 14] = [
    ("proxy_get_buffer_bytes", 5),
    ("proxy_set_buffer_bytes", 5),
    ("proxy_continue_stream", 1),
    ("proxy_close_stream", 1),
    ("proxy_set_effective_context", 1),
    ("proxy_get_header_map_value", 5),
    ("proxy_add_header_map_value", 5),
    ("proxy_get_property", 4),
    ("proxy_send_local_response", 8),
    ("proxy_http_call", 10),
    ("proxy_grpc_call", 12),
    ("proxy_grpc_stream", 9),
    ("proxy_grpc_send", 4),
    ("proxy_get_status", 3),
];

/// Where the names of callbacks stand in memory, where lines are written, and what the allocator gives.
const NAMES: usize = 1024;
const LINE: usize = 4096;
const HEAP: usize = 64 << 10;

/// A guest in the text format of WebAssembly.
///
/// A callback's instructions run after it has written its line: its name and parameters, `downstream_data 3 0`. The
/// parameters are `$id` (the context) and `$a`, `$b`, `$c`, `$d`; the local `$x` and the global `$seen` are free. What
/// has a result must leave it on the stack. Hostcalls are called by name: `(call $proxy_close_stream …)`.
#[derive(Clone, Default)]
pub(crate) struct GuestText {
    callbacks: Vec<(&'static str, String)>,
    data: String,
}

impl GuestText {
    /// A guest without callbacks.
    pub(crate) fn silent() -> Self {
        Self::default()
    }

    /// A guest whose every callback writes its line, those of its start excepted, and continues.
    pub(crate) fn logging() -> Self {
        CALLBACKS.iter().skip(START_UP).fold(Self::default(), |guest, (name, _, result)| {
            guest.on(name, &result.map_or(String::new(), |result| format!("(i32.const {result})")))
        })
    }

    /// What a callback does after it has written its line.
    pub(crate) fn on(mut self, callback: &'static str, instructions: &str) -> Self {
        self.callbacks.retain(|(name, _)| *name != callback);
        self.callbacks.push((callback, instructions.to_owned()));
        self
    }

    /// Leaves a callback out.
    pub(crate) fn without(mut self, callback: &str) -> Self {
        self.callbacks.retain(|(name, _)| *name != callback);
        self
    }

    /// Puts bytes into memory; from 8192 on it is free.
    pub(crate) fn data(mut self, place: u32, bytes: &[u8]) -> Self {
        let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        self.data += &format!("(data (i32.const {place}) \"{text}\")\n");
        self
    }

    /// The module.
    pub(crate) fn module(&self) -> Vec<u8> {
        let text = self.text();
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn text(&self) -> String {
        let mut text = String::from("(module\n");
        let used = |name: &str| self.callbacks.iter().any(|(_, body)| body.contains(&format!("${name} ")));
        let imports = HOSTCALLS.iter().filter(|(name, _)| used(name)).chain([&("proxy_log", 3)]);
        for (name, count) in imports {
            let parameters = " i32".repeat(*count);
            let _ = writeln!(text, "(import \"env\" \"{name}\" (func ${name} (param{parameters}) (result i32)))");
        }
        let _ = writeln!(text, "{}\n{}", PRELUDE.replace("HEAP", &HEAP.to_string()), self.data);
        let mut place = NAMES;
        for (name, body) in &self.callbacks {
            text += &callback(name, body, place);
            place += name.len();
        }
        text + ")"
    }
}

/// Memory, the allocator, and `$put`: a space and a number in decimal, answered with the place after.
const PRELUDE: &str = r#"
(memory (export "memory") 64)
(global $free (mut i32) (i32.const HEAP))
(global $seen (mut i32) (i32.const 0))
(func (export "proxy_abi_version_0_2_1"))
(func (export "malloc") (param $size i32) (result i32)
  global.get $free
  (global.set $free (i32.add (global.get $free) (local.get $size))))
(func $digits (param $place i32) (param $number i32) (result i32)
  (if (i32.ge_u (local.get $number) (i32.const 10))
    (then (local.set $place (call $digits (local.get $place) (i32.div_u (local.get $number) (i32.const 10))))))
  (i32.store8 (local.get $place)
    (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
  (i32.add (local.get $place) (i32.const 1)))
(func $put (param $place i32) (param $number i32) (result i32)
  (i32.store8 (local.get $place) (i32.const 32))
  (call $digits (i32.add (local.get $place) (i32.const 1)) (local.get $number)))"#;

fn callback(name: &str, body: &str, place: usize) -> String {
    let known = CALLBACKS.iter().find(|(known, ..)| *known == name);
    let (_, count, result) = known.unwrap_or_else(|| panic!("no callback {name}"));
    let parameters: String =
        ["$a", "$b", "$c", "$d"].iter().take(*count).map(|p| format!(" (param {p} i32)")).collect();
    let result = result.map_or("", |_| " (result i32)");
    let puts: String = ["$a", "$b", "$c", "$d"]
        .iter()
        .take(*count)
        .map(|p| format!("(local.set $x (call $put (local.get $x) (local.get {p})))\n"))
        .collect();
    format!(
        "(data (i32.const {place}) \"{name}\")
(func (export \"proxy_on_{name}\") (param $id i32){parameters}{result} (local $x i32)
(memory.copy (i32.const {LINE}) (i32.const {place}) (i32.const {length}))
(local.set $x (i32.const {end}))
{puts}(drop (call $proxy_log (i32.const 2) (i32.const {LINE}) (i32.sub (local.get $x) (i32.const {LINE}))))
{body})
",
        length = name.len(),
        end = LINE + name.len(),
    )
}

/// A call that a guest has begun; the test answers it.
pub(crate) struct PendingCall {
    pub(crate) call: HttpCall,
    pub(crate) answer: oneshot::Sender<HttpCallResponse>,
}

/// A gRPC exchange that a guest has begun.
pub(crate) struct PendingGrpc {
    pub(crate) call: GrpcCall,
    pub(crate) messages: UnboundedReceiver<(Bytes, bool)>,
    pub(crate) events: UnboundedSender<GrpcEvent>,
}

/// What guests ask for, kept for the test.
pub(crate) struct TestServices {
    /// Monotonic time in nanoseconds.
    pub(crate) monotonic: Cell<u64>,
    /// Calls not answered yet.
    pub(crate) calls: RefCell<Vec<PendingCall>>,
    /// The same of gRPC.
    pub(crate) grpc_calls: RefCell<Vec<PendingGrpc>>,
    /// Who answers calls in place of the test.
    pub(crate) caller: RefCell<Option<Rc<dyn Services>>>,
    lines: RefCell<Vec<String>>,
    registry: Registry,
    mailbox: UnboundedSender<QueueReady>,
}

impl Services for TestServices {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn monotonic(&self) -> u64 {
        self.monotonic.get()
    }

    fn random(&self, out: &mut [u8]) {
        out.fill(0);
    }

    fn log_level(&self) -> LogLevel {
        LogLevel::Trace
    }

    fn log(&self, _: LogLevel, plugin: &str, line: &str) {
        self.lines.borrow_mut().push(format!("{plugin} {line}"));
    }

    fn has_cluster(&self, name: &str) -> bool {
        name != "unknown"
    }

    fn http_call(&self, call: HttpCall) -> LocalFuture<HttpCallResponse> {
        if let Some(caller) = &*self.caller.borrow() {
            return caller.http_call(call);
        }
        let (answer, answered) = oneshot::channel();
        self.calls.borrow_mut().push(PendingCall { call, answer });
        Box::pin(async move { answered.await.unwrap_or_default() })
    }

    fn grpc_call(&self, call: GrpcCall, messages: UnboundedReceiver<(Bytes, bool)>) -> UnboundedReceiver<GrpcEvent> {
        if let Some(caller) = &*self.caller.borrow() {
            return caller.grpc_call(call, messages);
        }
        let (events, received) = unbounded_channel();
        self.grpc_calls.borrow_mut().push(PendingGrpc { call, messages, events });
        received
    }

    fn metrics(&self) -> &Registry {
        &self.registry
    }

    fn mailbox(&self) -> UnboundedSender<QueueReady> {
        self.mailbox.clone()
    }
}

/// A worker's Proxy-Wasm host.
pub(crate) struct TestHost {
    pub(crate) services: Rc<TestServices>,
    vms: Rc<VmTable>,
    shared: Arc<SharedState>,
    _queues: UnboundedReceiver<QueueReady>,
}

static ENGINE: LazyLock<WasmEngine> = LazyLock::new(|| WasmEngine::new(None).unwrap());

impl TestHost {
    pub(crate) fn new() -> Self {
        let (mailbox, _queues) = unbounded_channel();
        let services = TestServices {
            monotonic: Cell::new(1),
            calls: RefCell::default(),
            grpc_calls: RefCell::default(),
            caller: RefCell::default(),
            lines: RefCell::default(),
            registry: Registry::default(),
            mailbox,
        };
        Self { services: Rc::new(services), vms: Rc::default(), shared: Arc::default(), _queues }
    }

    /// A plugin with default settings.
    pub(crate) fn plugin(&self, name: &str, guest: &GuestText) -> Rc<Plugin> {
        self.plugin_with(name, guest, |_| {})
    }

    /// A plugin whose settings `edit` changes. Each has a VM of its own unless `vm_id` says otherwise.
    pub(crate) fn plugin_with(
        &self,
        name: &str,
        guest: &GuestText,
        edit: impl FnOnce(&mut PluginSettings),
    ) -> Rc<Plugin> {
        let mut settings = settings(name);
        edit(&mut settings);
        let module = Arc::new(WasmModule::load(&ENGINE, &guest.module()).unwrap());
        let services: Rc<dyn Services> = self.services.clone();
        Plugin::start(Arc::new(settings), module, self.vms.clone(), services, self.shared.clone()).unwrap()
    }

    /// The lines written since the last time, each with the plugin's name before it.
    pub(crate) fn take_lines(&self) -> Vec<String> {
        self.services.lines.take()
    }

    /// The calls begun since the last time.
    pub(crate) fn take_calls(&self) -> Vec<PendingCall> {
        self.services.calls.take()
    }
}

fn settings(name: &str) -> PluginSettings {
    PluginSettings {
        name: name.to_owned(),
        root_id: String::new(),
        vm_id: name.to_owned(),
        vm_configuration: Vec::new(),
        configuration: Vec::new(),
        fail_strategy: FailStrategy::Reload,
        environment: Vec::new(),
        allowed: BTreeSet::new(),
        limits: Limits::default(),
        allow_on_headers_stop_iteration: false,
        vm_per_request: false,
    }
}

/// A chain of plugins, and a stream or connection at its start.
pub(crate) fn chain_and_stream(plugins: Vec<Rc<Plugin>>, request: HeaderList) -> (Rc<FilterChain>, Rc<Stream>) {
    let slots = plugins.len();
    let state = StreamState::new(request, slots, connection_properties(), UNIX_EPOCH);
    (Rc::new(FilterChain::new(plugins)), Stream::new(state))
}

/// A connection from 192.0.2.1 to 192.0.2.2.
pub(crate) fn connection_properties() -> Rc<ConnectionProperties> {
    Rc::new(ConnectionProperties {
        id: 1,
        source: ([192, 0, 2, 1], 40000).into(),
        direct_peer: ([192, 0, 2, 1], 40000).into(),
        destination: ([192, 0, 2, 2], 80).into(),
        redirected: false,
        requested_server_name: String::new(),
        tls_version: None,
        peer: None,
        local: None,
    })
}

/// Runs a test as a worker runs: on one thread. `paused`: time moves only when nothing else does; not for tests with
/// sockets, whose bytes time does not wait for.
pub(crate) fn run<F: Future>(paused: bool, test: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(paused).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}
