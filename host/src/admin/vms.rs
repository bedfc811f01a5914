//! `/wasm`: how each plugin does on each worker.

use crate::admin::VmReport;
use crate::admin::answer::{Answer, Asked};
use serde_json::{Value as Json, json};
use std::fmt::Write;

pub(super) fn vms(asked: &Asked<'_>) -> Answer {
    let mut vms = asked.status.vms();
    vms.sort_by(|one, other| (&one.plugin, one.worker).cmp(&(&other.plugin, other.worker)));
    match asked.json() {
        Ok(false) => {
            let mut out = String::new();
            vms.iter().for_each(|vm| vm_text(vm, &mut out));
            Answer::text(out)
        }
        Ok(true) => Answer::json(&json!({ "vms": vms.iter().map(vm_json).collect::<Vec<_>>() })),
        Err(answer) => answer,
    }
}

/// `plugin::worker_0::what::value`, as `/clusters` has it.
fn vm_text(vm: &VmReport, out: &mut String) {
    let VmReport { plugin, worker, running, memory, callbacks, callback_time, ended, last_end } = vm;
    let mut line = |what: &str, value: &dyn std::fmt::Display| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{plugin}::worker_{worker}::{what}::{value}");
    };
    line("running", running);
    line("memory_bytes", memory);
    line("callbacks", callbacks);
    line("callback_microseconds", &callback_time.as_micros());
    line("ended", ended);
    line("last_end", &last_end.as_deref().unwrap_or("-").replace('\n', " "));
}

fn vm_json(vm: &VmReport) -> Json {
    json!({
        "plugin": vm.plugin,
        "worker": vm.worker,
        "running": vm.running,
        "memory_bytes": vm.memory,
        "callbacks": vm.callbacks,
        "callback_microseconds": u64::try_from(vm.callback_time.as_micros()).unwrap_or(u64::MAX),
        "ended": vm.ended,
        "last_end": vm.last_end,
    })
}
