;; Has no place for what the host hands over.
(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1")))
