;; Has no memory left, and says so.
(module
  (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) ":path" )
  (data (i32.const 16) "x-seen")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param $size i32) (result i32)
    i32.const 0)
  ;; Reads :path, and writes what it was given to x-seen.
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $value (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 32) (i32.const 36)))
    (drop (call $add (i32.const 0) (i32.const 16) (i32.const 6) (i32.load (i32.const 32)) (i32.load (i32.const 36))))
    (i32.const 0)))
