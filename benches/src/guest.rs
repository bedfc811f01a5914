//! A module under a small Proxy-Wasm host that counts what the guest executes: enough of the ABI for request header
//! callbacks, with the same answers every time.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use wasmtime::{
    Caller, Config, Engine, Extern, ExternType, Instance, Linker, Memory, Module, Store, TypedFunc, Val, error::Result,
};

/// What the hostcalls of one VM answer from.
#[derive(Default)]
struct World {
    configuration: Vec<u8>,
    headers: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    properties: HashMap<Vec<u8>, Vec<u8>>,
    tally: Tally,
    log: Vec<String>,
}

impl World {
    fn called(&mut self, hostcall: &str) {
        *self.tally.hostcalls.entry(hostcall.to_owned()).or_default() += 1;
    }
}

/// How often guest and host called each other.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Callbacks into the guest.
    pub callbacks: u64,
    /// Hostcalls, by name.
    pub hostcalls: BTreeMap<String, u64>,
    /// Hostcalls that returned bytes: for each of them the host calls the guest's allocator.
    pub returned: u64,
    /// WebAssembly instructions the guest executed; 0 when they are not counted.
    pub instructions: u64,
}

impl Tally {
    /// All hostcalls.
    pub fn total(&self) -> u64 {
        self.hostcalls.values().sum()
    }
}

/// One VM with one configured plugin.
pub struct Guest {
    store: Store<World>,
    instance: Instance,
    request_headers: TypedFunc<(i32, i32, i32), i32>,
    context_create: TypedFunc<(i32, i32), ()>,
    delete: TypedFunc<i32, ()>,
    memory: Memory,
    next: i32,
    counted: bool,
}

/// What one request cost: the callbacks create, request headers, delete.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// WebAssembly instructions the guest executed; 0 when they are not counted.
    pub instructions: u64,
    /// Hostcalls it made.
    pub hostcalls: u64,
    /// Wall time, compiled code, host included.
    pub time: Duration,
    /// What the request header callback returned: 0 continue, 1 pause.
    pub action: i32,
}

/// What configuring a plugin cost.
#[derive(Clone, Copy, Debug)]
pub struct ConfigureCost {
    /// Wall time of the configure callback.
    pub time: Duration,
    /// Size of the guest's memory afterwards, in bytes. Guest memory never shrinks, so this is the peak.
    pub memory: usize,
}

const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const INVALID_MEMORY: i32 = 6;

/// Fuel to start each callback with; what is missing afterwards was executed.
const FUEL: u64 = u64::MAX / 2;

impl Guest {
    /// Loads a module and configures one plugin. `count`: count instructions (slower code) or not (real time).
    ///
    /// # Errors
    /// When the module does not link or refuses its configuration.
    pub fn configure(module: &[u8], configuration: &str, count: bool) -> Result<(Self, ConfigureCost)> {
        let engine = Engine::new(Config::new().consume_fuel(count))?;
        let module = Module::new(&engine, module)?;
        let mut store = Store::new(&engine, World::default());
        store.data_mut().configuration = configuration.as_bytes().to_vec();
        if count {
            store.set_fuel(FUEL)?;
        }
        let mut linker = Linker::new(&engine);
        linker.allow_shadowing(true);
        every_hostcall(&mut linker, &module)?;
        answering_hostcalls(&mut linker)?;
        linker.define_unknown_imports_as_default_values(&mut store, &module)?;
        let instance = linker.instantiate(&mut store, &module)?;
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| wasmtime::format_err!("no memory"))?;
        let context_create = instance.get_typed_func(&mut store, "proxy_on_context_create")?;
        instance.get_typed_func::<(), ()>(&mut store, "_initialize")?.call(&mut store, ())?;
        context_create.call(&mut store, (1, 0))?;
        instance.get_typed_func::<(i32, i32), i32>(&mut store, "proxy_on_vm_start")?.call(&mut store, (1, 0))?;
        let size = i32::try_from(configuration.len())?;
        let start = Instant::now();
        let configure = instance.get_typed_func::<(i32, i32), i32>(&mut store, "proxy_on_configure")?;
        let accepted = configure.call(&mut store, (1, size))?;
        let cost = ConfigureCost { time: start.elapsed(), memory: memory.data_size(&store) };
        if accepted == 0 {
            return Err(wasmtime::format_err!("refused: {}", store.data().log.join("\n")));
        }
        let request_headers = instance.get_typed_func(&mut store, "proxy_on_request_headers")?;
        let delete = instance.get_typed_func(&mut store, "proxy_on_delete")?;
        let guest = Self { store, instance, request_headers, context_create, delete, memory, next: 2, counted: count };
        Ok((guest, cost))
    }

    /// Sets what a property answers.
    pub fn property(&mut self, path: &str, value: &[u8]) {
        let path = path.split('.').collect::<Vec<_>>().join("\0");
        self.store.data_mut().properties.insert(path.into_bytes(), value.to_vec());
    }

    /// Carries one request's headers through the plugin.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn request(&mut self, headers: &[(String, String)]) -> Result<Cost> {
        let context = self.begin(headers)?;
        let start = Instant::now();
        self.context_create.call(&mut self.store, (context, 1))?;
        let action = self.request_headers.call(&mut self.store, (context, i32::try_from(headers.len())?, 1))?;
        self.delete.call(&mut self.store, context)?;
        let time = start.elapsed();
        Ok(Cost { instructions: self.executed()?, hostcalls: self.store.data().tally.total(), time, action })
    }

    /// Has the guest meet these headers, and counts anew: the number of the context to make.
    fn begin(&mut self, headers: &[(String, String)]) -> Result<i32> {
        let world = self.store.data_mut();
        world.headers = pairs(headers);
        world.fields = headers.iter().map(|(n, v)| (n.clone().into_bytes(), v.clone().into_bytes())).collect();
        world.tally = Tally::default();
        if self.counted {
            self.store.set_fuel(FUEL)?;
        }
        let context = self.next;
        self.next += 1;
        Ok(context)
    }

    /// Instructions since the request began; 0 when they are not counted.
    fn executed(&self) -> Result<u64> {
        Ok(if self.counted { FUEL - self.store.get_fuel()? } else { 0 })
    }

    /// Carries a request without a body, and its answer with one, through the plugin, by the callbacks that Envoy makes
    /// of those that the module exports; how often each side called the other.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn exchange(&mut self, headers: &[(String, String)]) -> Result<Tally> {
        let (context, count) = (self.begin(headers)?, i32::try_from(headers.len())?);
        let callbacks: [(&str, &[i32]); 7] = [
            ("proxy_on_context_create", &[context, 1]),
            ("proxy_on_request_headers", &[context, count, 1]),
            ("proxy_on_response_headers", &[context, count, 0]),
            ("proxy_on_response_body", &[context, 1024, 1]),
            ("proxy_on_log", &[context]),
            ("proxy_on_done", &[context]),
            ("proxy_on_delete", &[context]),
        ];
        for (name, arguments) in callbacks {
            let Some(callback) = self.instance.get_func(&mut self.store, name) else {
                continue;
            };
            let arguments: Vec<Val> = arguments.iter().map(|&argument| Val::I32(argument)).collect();
            let mut results = vec![Val::I32(0); callback.ty(&self.store).results().len()];
            callback.call(&mut self.store, &arguments, &mut results)?;
            self.store.data_mut().tally.callbacks += 1;
        }
        Ok(Tally { instructions: self.executed()?, ..self.store.data().tally.clone() })
    }

    /// Hands on what was said about the stream to the plugin that stands behind this one.
    pub fn hand_on(&self, next: &mut Self) {
        next.store.data_mut().properties.clone_from(&self.store.data().properties);
    }

    /// Size of the guest's memory in bytes.
    pub fn memory(&self) -> usize {
        self.memory.data_size(&self.store)
    }
}

/// The ABI's serialisation of a header map.
fn pairs(headers: &[(String, String)]) -> Vec<u8> {
    let size = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = u32::try_from(headers.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    for (name, value) in headers {
        out.extend(size(name));
        out.extend(size(value));
    }
    for (name, value) in headers {
        out.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
    }
    out
}

/// Those whose answers matter.
fn answering_hostcalls(linker: &mut Linker<World>) -> Result<()> {
    let env = "env";
    linker.func_wrap(env, "proxy_log", |mut caller: Caller<'_, World>, _level: i32, message: i32, size: i32| {
        let message = String::from_utf8_lossy(&read(&mut caller, message, size)).into_owned();
        caller.data_mut().called("log");
        caller.data_mut().log.push(message);
        OK
    })?;
    linker.func_wrap(
        env,
        "proxy_get_buffer_bytes",
        |mut caller: Caller<'_, World>, _buffer: i32, _start: i32, _length: i32, value: i32, size: i32| {
            caller.data_mut().called("get_buffer_bytes");
            let bytes = caller.data().configuration.clone();
            give(&mut caller, &bytes, value, size)
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_get_header_map_pairs",
        |mut caller: Caller<'_, World>, _map: i32, value: i32, size: i32| {
            caller.data_mut().called("get_header_map_pairs");
            let bytes = caller.data().headers.clone();
            give(&mut caller, &bytes, value, size)
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_get_header_map_value",
        |mut caller: Caller<'_, World>, _map: i32, name: i32, name_size: i32, value: i32, size: i32| {
            caller.data_mut().called("get_header_map_value");
            let name = read(&mut caller, name, name_size);
            let found = caller.data().fields.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
            give_if_any(&mut caller, found, value, size)
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_get_property",
        |mut caller: Caller<'_, World>, path: i32, path_size: i32, value: i32, size: i32| {
            caller.data_mut().called("get_property");
            let path = read(&mut caller, path, path_size);
            let found = caller.data().properties.get(&path).cloned();
            give_if_any(&mut caller, found, value, size)
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_set_property",
        |mut caller: Caller<'_, World>, path: i32, path_size: i32, value: i32, size: i32| {
            caller.data_mut().called("set_property");
            let (path, value) = (read(&mut caller, path, path_size), read(&mut caller, value, size));
            caller.data_mut().properties.insert(path, value);
            OK
        },
    )?;
    Ok(())
}

/// Whatever the module imports: counted, and answered with zero.
fn every_hostcall(linker: &mut Linker<World>, module: &Module) -> Result<()> {
    for import in module.imports().filter(|import| import.module() == "env") {
        let ExternType::Func(signature) = import.ty() else {
            continue;
        };
        let name = import.name().strip_prefix("proxy_").unwrap_or(import.name()).to_owned();
        linker.func_new("env", import.name(), signature, move |mut caller, _, results| {
            caller.data_mut().called(&name);
            results.fill(Val::I32(OK));
            Ok(())
        })?;
    }
    Ok(())
}

fn memory(caller: &mut Caller<'_, World>) -> Option<Memory> {
    caller.get_export("memory").and_then(Extern::into_memory)
}

fn read(caller: &mut Caller<'_, World>, start: i32, size: i32) -> Vec<u8> {
    let (start, size) = (start as u32 as usize, size as u32 as usize);
    let bytes = memory(caller).and_then(|memory| memory.data(&*caller).get(start..start + size).map(<[u8]>::to_vec));
    bytes.unwrap_or_default()
}

fn give_if_any(caller: &mut Caller<'_, World>, bytes: Option<Vec<u8>>, value: i32, size: i32) -> i32 {
    match bytes {
        Some(bytes) => give(caller, &bytes, value, size),
        None => NOT_FOUND,
    }
}

/// Puts bytes into memory of the guest's allocator.
fn give(caller: &mut Caller<'_, World>, bytes: &[u8], value: i32, size: i32) -> i32 {
    caller.data_mut().tally.returned += 1;
    give_inner(caller, bytes, value, size).map_or(INVALID_MEMORY, |()| OK)
}

fn give_inner(caller: &mut Caller<'_, World>, bytes: &[u8], value: i32, size: i32) -> Option<()> {
    let length = i32::try_from(bytes.len()).ok()?;
    let mut start = 0;
    if length > 0 {
        let allocate = caller.get_export("proxy_on_memory_allocate")?.into_func()?.typed::<i32, i32>(&*caller).ok()?;
        start = allocate.call(&mut *caller, length).ok()?;
    }
    let memory = memory(caller)?;
    memory.write(&mut *caller, start as u32 as usize, bytes).ok()?;
    memory.write(&mut *caller, value as u32 as usize, &start.to_le_bytes()).ok()?;
    memory.write(&mut *caller, size as u32 as usize, &length.to_le_bytes()).ok()
}
