// The ABI as the C++ SDK has it: what is imported, and how memory is handed over. The host gets memory by `malloc`, and
// what it has placed there is the plugin's to free.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name))) extern "C" uint32_t name
#define EXPORT(name) extern "C" __attribute__((export_name(#name)))

enum : uint32_t { Ok = 0, NotFound = 1, CasMismatch = 8 };
enum : uint32_t { Continue = 0, Pause = 1 };
enum : uint32_t { RequestHeaders = 0, RequestTrailers = 1, ResponseHeaders = 2, CallHeaders = 6 };
enum : uint32_t { RequestBody = 0, ResponseBody = 1, CallBody = 4, PluginConfiguration = 7 };

IMPORT(proxy_log)(uint32_t level, const char* text, size_t size);
IMPORT(proxy_set_tick_period_milliseconds)(uint32_t milliseconds);
IMPORT(proxy_get_current_time_nanoseconds)(uint64_t* nanoseconds);
IMPORT(proxy_set_effective_context)(uint32_t context);
IMPORT(proxy_get_property)(const char* path, size_t path_size, const char** value, size_t* size);
IMPORT(proxy_get_buffer_status)(uint32_t buffer, size_t* size, uint32_t* flags);
IMPORT(proxy_get_buffer_bytes)(uint32_t buffer, uint32_t start, uint32_t most, const char** bytes, size_t* size);
IMPORT(proxy_set_buffer_bytes)(uint32_t buffer, uint32_t start, uint32_t replaced, const char* bytes, size_t size);
IMPORT(proxy_get_header_map_value)(uint32_t headers, const char* name, size_t name_size, const char** value, size_t* size);
IMPORT(proxy_get_header_map_pairs)(uint32_t headers, const char** pairs, size_t* size);
IMPORT(proxy_add_header_map_value)(uint32_t headers, const char* name, size_t name_size, const char* value, size_t size);
IMPORT(proxy_replace_header_map_value)
(uint32_t headers, const char* name, size_t name_size, const char* value, size_t size);
IMPORT(proxy_remove_header_map_value)(uint32_t headers, const char* name, size_t name_size);
IMPORT(proxy_continue_stream)(uint32_t stream);
IMPORT(proxy_send_local_response)
(uint32_t code, const char* details, size_t details_size, const char* body, size_t body_size, const char* headers,
 size_t headers_size, uint32_t grpc);
IMPORT(proxy_http_call)
(const char* cluster, size_t cluster_size, const char* headers, size_t headers_size, const char* body, size_t body_size,
 const char* trailers, size_t trailers_size, uint32_t milliseconds, uint32_t* call);
IMPORT(proxy_get_shared_data)(const char* key, size_t key_size, const char** value, size_t* size, uint32_t* cas);
IMPORT(proxy_set_shared_data)(const char* key, size_t key_size, const char* value, size_t size, uint32_t cas);
IMPORT(proxy_define_metric)(uint32_t kind, const char* name, size_t size, uint32_t* metric);
IMPORT(proxy_increment_metric)(uint32_t metric, int64_t by);

// Of emscripten's runtime, which calls it when memory has grown.
__attribute__((import_module("env"), import_name("emscripten_notify_memory_growth"))) extern "C" void
emscripten_notify_memory_growth(uint32_t memory);

using Pairs = std::vector<std::pair<std::string, std::string>>;

inline void must(uint32_t status, std::string_view hostcall) {
  if (status != Ok) {
    proxy_log(5, hostcall.data(), hostcall.size());
    std::abort();
  }
}

#define MUST(call) must(call, #call)

// Asks the host for bytes that it places by `malloc`, and frees them.
template <typename Ask> std::optional<std::string> given(Ask ask) {
  const char* bytes = nullptr;
  size_t size = 0;
  if (ask(&bytes, &size) != Ok) {
    return std::nullopt;
  }
  std::unique_ptr<char, decltype(&std::free)> owned(const_cast<char*>(bytes), &std::free);
  return std::string(bytes == nullptr ? "" : bytes, size);
}

inline void log(uint32_t level, std::string_view text) {
  proxy_log(level, text.data(), text.size());
}

inline std::optional<std::string> header(uint32_t headers, std::string_view name) {
  return given([&](const char** value, size_t* size) {
    return proxy_get_header_map_value(headers, name.data(), name.size(), value, size);
  });
}

inline void add_header(uint32_t headers, std::string_view name, std::string_view value) {
  MUST(proxy_add_header_map_value(headers, name.data(), name.size(), value.data(), value.size()));
}

inline void replace_header(uint32_t headers, std::string_view name, std::string_view value) {
  MUST(proxy_replace_header_map_value(headers, name.data(), name.size(), value.data(), value.size()));
}

inline void remove_header(uint32_t headers, std::string_view name) {
  MUST(proxy_remove_header_map_value(headers, name.data(), name.size()));
}

inline std::string buffer(uint32_t which, size_t size) {
  auto text = given([&](const char** bytes, size_t* length) {
    return proxy_get_buffer_bytes(which, 0, static_cast<uint32_t>(size), bytes, length);
  });
  return text.value_or("");
}

inline void replace_buffer(uint32_t which, size_t size, std::string_view text) {
  MUST(proxy_set_buffer_bytes(which, 0, static_cast<uint32_t>(size), text.data(), text.size()));
}

// Pairs as the ABI has them: how many, the sizes, then names and values, each with a zero behind it.
std::string encode_pairs(const Pairs& pairs);
Pairs decode_pairs(const std::string& bytes);
