;; Fills all the memory it can have again and again: the one thing that no clock interrupts.
(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) i32.const 1024)
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (loop $grow (br_if $grow (i32.ne (i32.const -1) (memory.grow (i32.const 1)))))
    (loop $again
      (memory.fill (i32.const 0) (i32.const 7) (i32.mul (memory.size) (i32.const 65536)))
      (br $again))
    (i32.const 0)))
