;; Has a second memory, beside the one that is counted.
(module
  (memory (export "memory") 1)
  (memory 1000)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) i32.const 1024))
