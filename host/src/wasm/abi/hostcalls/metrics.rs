//! Metrics. An id names a class in its two low bits: 0 counter, 1 gauge, 2 histogram.

use crate::wasm::abi::memory::{Env, answer, place, slice, write_u32, write_u64};
use crate::wasm::abi::status::{Answer, Status};
use crate::wasm::root_context::Metric;
use crate::wasm::services::LogLevel;
use crate::wasm::vm_state::VmState;
use wasmtime::Linker;

/// The longest name, in bytes.
const MAX_NAME: usize = 256;

pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker
        .func_wrap("env", "proxy_define_metric", define)?
        .func_wrap("env", "proxy_increment_metric", increment)?
        .func_wrap("env", "proxy_record_metric", record)?
        .func_wrap("env", "proxy_get_metric", get)?;
    Ok(())
}

fn define(mut env: Env<'_>, kind: u32, name: u32, name_size: u32, out: u32) -> Answer {
    answer(&mut env, |memory, state| {
        place(memory, out, 4)?;
        let Ok(name) = str::from_utf8(slice(memory, name, name_size)?) else {
            return Ok(Status::BadArgument);
        };
        // What Prometheus does not take is replaced where it is shown: names of clusters have bars.
        let valid = name.chars().all(|c| c.is_ascii_graphic());
        if kind > 2 || !(1..=MAX_NAME).contains(&name.len()) || !valid {
            return Ok(Status::BadArgument);
        }
        if !count_definition(state) {
            return Ok(Status::InternalFailure);
        }
        let registry = state.services.metrics();
        // As Envoy names them: `/stats` shows the prefix, Prometheus does not.
        let name = format!("wasmcustom.{name}");
        let metric = match kind {
            0 => Metric::Counter(registry.counter(&name, &[])),
            1 => Metric::Gauge(registry.gauge(&name, &[])),
            _ => Metric::Histogram(registry.histogram(&name, &[])),
        };
        let Some(class) = state.metrics.get_mut(kind as usize) else {
            return Ok(Status::BadArgument);
        };
        class.push(metric);
        let Some(id) = u32::try_from(class.len()).ok().and_then(|n| n.checked_mul(4)) else {
            return Ok(Status::InternalFailure);
        };
        write_u32(memory, out, id | kind)?;
        Ok(Status::Ok)
    })
}

/// Whether the plugin may define another; the first that it may not is logged.
fn count_definition(state: &VmState) -> bool {
    let Some(root) = &state.root else { return false };
    let defined = root.defined_metrics.get();
    if defined < state.limits.metrics {
        root.defined_metrics.set(defined + 1);
        return true;
    }
    if defined == state.limits.metrics {
        root.defined_metrics.set(defined + 1);
        let line = format!("a plugin may define {} metrics; further ones are refused", state.limits.metrics);
        state.log(LogLevel::Warn, &line);
    }
    false
}

fn find(state: &VmState, id: u32) -> Result<&Metric, Status> {
    let class = state.metrics.get((id & 3) as usize).ok_or(Status::BadArgument)?;
    let index = (id >> 2).checked_sub(1).ok_or(Status::NotFound)?;
    class.get(index as usize).ok_or(Status::NotFound)
}

fn increment(mut env: Env<'_>, id: u32, delta: i64) -> Answer {
    answer(&mut env, |_, state| {
        Ok(match find(state, id) {
            Ok(Metric::Counter(counter)) if delta > 0 => {
                counter.add(delta.unsigned_abs());
                Status::Ok
            }
            Ok(Metric::Gauge(gauge)) => {
                // Stops at 0, where Envoy's gauges wrap.
                match delta {
                    0.. => gauge.add(delta.unsigned_abs()),
                    _ => gauge.sub(delta.unsigned_abs()),
                }
                Status::Ok
            }
            Ok(_) => Status::BadArgument,
            Err(_) if id & 3 == 2 => Status::BadArgument,
            Err(status) => status,
        })
    })
}

/// A gauge is set, a histogram records, a counter adds: as Envoy has it.
fn record(mut env: Env<'_>, id: u32, value: u64) -> Answer {
    answer(&mut env, |_, state| {
        Ok(match find(state, id) {
            Ok(Metric::Counter(counter)) => {
                counter.add(value);
                Status::Ok
            }
            Ok(Metric::Gauge(gauge)) => {
                gauge.set(value);
                Status::Ok
            }
            Ok(Metric::Histogram(histogram)) => {
                histogram.record(value);
                Status::Ok
            }
            Err(_) => Status::NotFound,
        })
    })
}

fn get(mut env: Env<'_>, id: u32, out: u32) -> Answer {
    answer(&mut env, |memory, state| {
        let value = match find(state, id) {
            Ok(Metric::Counter(counter)) => counter.value(),
            Ok(Metric::Gauge(gauge)) => gauge.value(),
            Ok(Metric::Histogram(_)) => return Ok(Status::BadArgument),
            Err(_) if id & 3 == 2 => return Ok(Status::BadArgument),
            Err(status) => return Ok(status),
        };
        write_u64(memory, out, value)?;
        Ok(Status::Ok)
    })
}
