;; Wants functions that no host of the ABI has, and one that it has.
(module
  (import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))
  (import "env" "proxy_launch_rockets" (func (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_teleport" (func (param i32)))
  (import "host" "anything" (func))
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) i32.const 1024))
