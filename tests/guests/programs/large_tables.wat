;; Makes its tables grow as far as they go, for each request.
(module
  (memory (export "memory") 1)
  (table $a 1 funcref)
  (table $b 1 funcref)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) i32.const 1024)
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (loop $again
      (br_if $again (i32.ne (i32.const -1) (table.grow $a (ref.null func) (i32.const 10000)))))
    (loop $again
      (br_if $again (i32.ne (i32.const -1) (table.grow $b (ref.null func) (i32.const 10000)))))
    (if (i32.gt_u (i32.add (table.size $a) (table.size $b)) (i32.const 200000)) (then unreachable))
    (i32.const 0)))
