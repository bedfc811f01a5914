;; Floods the log before it was started.
(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "early")
  (func (export "_initialize") (local $left i32)
    (local.set $left (i32.const 100000))
    (loop $again
      (drop (call $log (i32.const 2) (i32.const 0) (i32.const 5)))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) i32.const 1024))
