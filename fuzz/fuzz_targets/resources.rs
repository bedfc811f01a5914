//! Any text as resources, and as a MeshConfig; and every place that is asked for.

#![no_main]

use istio_api::{File, Options, read_files};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|text: &str| {
    let file = Arc::new(File { name: "fuzz.yaml".into(), text: text.into() });
    let options = Options { mesh_config: Some(file.clone()), ..Options::default() };
    let faults = match read_files(&[file], &options) {
        Ok(resources) => {
            for resource in resources.all() {
                assert!(!resource.fields().is_null(), "{}", resource.resource_name());
            }
            resources.warnings
        }
        Err(faults) => faults.faults,
    };
    for fault in faults {
        assert!(!fault.to_string().is_empty());
        let place = fault.place.map(|place| place.file.text.get(place.bytes).is_some());
        assert_ne!(place, Some(false));
    }
});
