// A plugin in C++, with the standard library: maps, strings, destructors, exceptions left out as the SDK has it. What it
// does is what the plugins of the other languages do; ../cases.yaml has what is expected of all.
#include "abi.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <unordered_map>

namespace {

class Stream {
public:
  Stream(uint32_t id, std::string greeting) : id_(id), greeting_(std::move(greeting)) {}
  virtual ~Stream() = default;

  uint32_t on_request_headers();
  uint32_t on_request_body(size_t size, bool end);
  void on_response_headers();
  uint32_t on_response_body(size_t size, bool end);
  void on_tick();
  void on_log();

private:
  uint32_t ask(const std::string& cluster);
  void litter();

  uint32_t id_;
  std::string greeting_;
  std::string path_;
  bool held_ = false;
  std::vector<std::unique_ptr<std::string>> garbage_;
};

// Made before `main` would be, by what `_initialize` calls.
std::unordered_map<uint32_t, std::unique_ptr<Stream>> streams;
std::map<uint32_t, std::function<void(size_t)>> calls;
// By root context: several plugins may share a VM.
std::map<uint32_t, std::string> greetings;
const std::string started = "constructors have run";

uint32_t seen = 0;
int littered = 0;

void reply(uint32_t code, std::string_view body, const Pairs& headers) {
  const std::string_view details = "plugin";
  const std::string pairs = encode_pairs(headers);
  MUST(proxy_send_local_response(code, details.data(), details.size(), body.data(), body.size(), pairs.data(),
                                 pairs.size(), static_cast<uint32_t>(-1)));
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char byte) { return std::toupper(byte); });
  return text;
}

std::string property(std::string_view path) {
  auto value = given([&](const char** bytes, size_t* size) {
    return proxy_get_property(path.data(), path.size(), bytes, size);
  });
  must(value ? Ok : NotFound, "proxy_get_property");
  return *value;
}

void edit_headers(const std::string& greeting) {
  const auto pairs = given([](const char** bytes, size_t* size) {
    return proxy_get_header_map_pairs(RequestHeaders, bytes, size);
  });
  must(pairs ? Ok : NotFound, "proxy_get_header_map_pairs");
  const Pairs headers = decode_pairs(*pairs);
  const auto many = std::count_if(headers.begin(), headers.end(), [](auto& pair) { return pair.first == "x-many"; });
  must(header(RequestHeaders, "x-absent") ? NotFound : Ok, "a header that nobody sent");
  const auto year = std::chrono::system_clock::now() > std::chrono::system_clock::from_time_t(1'600'000'000);
  add_header(RequestHeaders, "x-configured", greeting);
  add_header(RequestHeaders, "x-count", std::to_string(many));
  add_header(RequestHeaders, "x-method", property(std::string_view("request\0method", 14)));
  add_header(RequestHeaders, "x-year", year ? "true" : "false");
  replace_header(RequestHeaders, "x-in", upper(header(RequestHeaders, "x-in").value_or("")));
  remove_header(RequestHeaders, "x-secret");
}

// The next number of a counter that all streams share.
int counted() {
  const std::string_view key = "number";
  for (;;) {
    uint32_t cas = 0;
    const auto text = given([&](const char** value, size_t* size) {
      return proxy_get_shared_data(key.data(), key.size(), value, size, &cas);
    });
    const int next = std::atoi(text.value_or("0").c_str()) + 1;
    const std::string value = std::to_string(next);
    const uint32_t status = proxy_set_shared_data(key.data(), key.size(), value.data(), value.size(), cas);
    if (status == Ok) {
      return next;
    }
    must(status == CasMismatch ? Ok : status, "proxy_set_shared_data");
  }
}

uint32_t Stream::on_request_headers() {
  MUST(proxy_increment_metric(seen, 1));
  path_ = header(RequestHeaders, ":path").value_or("");
  if (path_ == "/headers") {
    edit_headers(greeting_);
  } else if (path_ == "/body" || path_ == "/measure") {
    remove_header(RequestHeaders, "content-length");
  } else if (path_ == "/count") {
    add_header(RequestHeaders, "x-number", std::to_string(counted()));
  } else if (path_ == "/call") {
    return ask("other");
  } else if (path_ == "/denied") {
    return ask("denies");
  } else if (path_ == "/call-nowhere") {
    return ask("nowhere");
  } else if (path_ == "/hold") {
    held_ = true;
    return Pause;
  } else if (path_ == "/reply") {
    reply(418, "from the plugin", {{"x-from", "plugin"}, {"x-from", "twice"}});
    return Pause;
  } else if (path_ == "/garbage") {
    litter();
  } else if (path_ == "/alive") {
    add_header(RequestHeaders, "x-littered", std::to_string(littered));
  } else if (path_ == "/print") {
    std::puts("printed by the plugin");
    std::fflush(stdout);
  } else if (path_ == "/panic") {
    std::abort();
  }
  return Continue;
}

uint32_t Stream::ask(const std::string& cluster) {
  const std::string mark = header(RequestHeaders, "x-case").value_or("");
  const std::string headers = encode_pairs(
      {{":method", "GET"}, {":path", "/lookup"}, {":authority", "lookup.test"}, {"x-case", mark}});
  const std::string none = encode_pairs({});
  uint32_t call = 0;
  const uint32_t status = proxy_http_call(cluster.data(), cluster.size(), headers.data(), headers.size(), nullptr, 0,
                                          none.data(), none.size(), 5000, &call);
  if (status != Ok) {
    reply(500, "no cluster " + cluster, {});
    return Pause;
  }
  calls[call] = [id = id_](size_t size) {
    const std::string code = header(CallHeaders, ":status").value_or("");
    const std::string kind = header(CallHeaders, "x-kind").value_or("");
    const std::string body = buffer(CallBody, size);
    MUST(proxy_set_effective_context(id));
    if (code == "403") {
      reply(401, "denied: " + body, {{"x-kind", kind}});
      return;
    }
    add_header(RequestHeaders, "x-call", code + " " + kind + " " + body);
    MUST(proxy_continue_stream(0));
  };
  return Pause;
}

// 4 MiB that nobody needs when the request is over.
void Stream::litter() {
  littered += 1;
  const size_t pages = __builtin_wasm_memory_size(0);
  for (int i = 0; i < 1024; ++i) {
    garbage_.push_back(std::make_unique<std::string>(4096, 'x'));
  }
  if (__builtin_wasm_memory_size(0) > pages) {
    emscripten_notify_memory_growth(0);
  }
}

uint32_t Stream::on_request_body(size_t size, bool end) {
  if (path_ != "/body" && path_ != "/measure") {
    return Continue;
  }
  if (!end) {
    return Pause;
  }
  size_t length = 0;
  uint32_t flags = 0;
  MUST(proxy_get_buffer_status(RequestBody, &length, &flags));
  must(length == size ? Ok : NotFound, "proxy_get_buffer_status");
  const std::string body = buffer(RequestBody, size);
  if (path_ == "/body") {
    replace_buffer(RequestBody, size, upper(body));
    return Continue;
  }
  const auto add = [](size_t sum, unsigned char byte) { return sum + byte; };
  const size_t sum = std::accumulate(body.begin(), body.end(), size_t{0}, add);
  replace_buffer(RequestBody, size, std::to_string(body.size()) + " bytes, in all " + std::to_string(sum));
  return Continue;
}

void Stream::on_response_headers() {
  if (path_ == "/body") {
    remove_header(ResponseHeaders, "content-length");
  }
  add_header(ResponseHeaders, "x-answer", header(ResponseHeaders, ":status").value_or("") + " to " + path_);
}

uint32_t Stream::on_response_body(size_t size, bool end) {
  if (path_ != "/body") {
    return Continue;
  }
  if (!end) {
    return Pause;
  }
  replace_buffer(ResponseBody, size, buffer(ResponseBody, size) + ", edited");
  return Continue;
}

void Stream::on_tick() {
  if (!std::exchange(held_, false)) {
    return;
  }
  MUST(proxy_set_effective_context(id_));
  add_header(RequestHeaders, "x-held", "until a tick");
  MUST(proxy_continue_stream(0));
}

void Stream::on_log() {
  log(2, "done: " + path_ + " " + header(ResponseHeaders, ":status").value_or(""));
}

} // namespace

std::string encode_pairs(const Pairs& pairs) {
  std::string bytes;
  const auto number = [&](size_t value) {
    const uint32_t word = static_cast<uint32_t>(value);
    bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
  };
  number(pairs.size());
  for (const auto& [name, value] : pairs) {
    number(name.size());
    number(value.size());
  }
  for (const auto& [name, value] : pairs) {
    bytes.append(name).push_back('\0');
    bytes.append(value).push_back('\0');
  }
  return bytes;
}

Pairs decode_pairs(const std::string& bytes) {
  const auto number = [&](size_t at) {
    uint32_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    return word;
  };
  Pairs pairs(number(0));
  size_t at = 4 + 8 * pairs.size();
  const auto next = [&](size_t size) {
    const std::string text = bytes.substr(at, size);
    at += size + 1;
    return text;
  };
  for (size_t i = 0; i < pairs.size(); ++i) {
    pairs[i].first = next(number(4 + 8 * i));
    pairs[i].second = next(number(8 + 8 * i));
  }
  return pairs;
}

EXPORT(proxy_abi_version_0_2_1) void abi_version() {}

EXPORT(proxy_on_vm_start) uint32_t on_vm_start(uint32_t, uint32_t) {
  return started == "constructors have run" ? 1 : 0;
}

EXPORT(proxy_validate_configuration) uint32_t validate_configuration(uint32_t, uint32_t) {
  return 1;
}

EXPORT(proxy_on_configure) uint32_t on_configure(uint32_t root, uint32_t size) {
  const std::string text = buffer(PluginConfiguration, size);
  if (text.find("\"refuse\":true") != std::string::npos) {
    log(4, "refuse: is asked for");
    return 0;
  }
  const std::string key = "\"greeting\":\"";
  const size_t start = text.find(key) + key.size();
  greetings[root] = text.substr(start, text.find('"', start) - start);
  const std::string_view name = "requests_seen";
  MUST(proxy_define_metric(0, name.data(), name.size(), &seen));
  MUST(proxy_set_tick_period_milliseconds(10));
  return 1;
}

EXPORT(proxy_on_context_create) void on_context_create(uint32_t context, uint32_t root) {
  if (root != 0) {
    streams[context] = std::make_unique<Stream>(context, greetings[root]);
  }
}

EXPORT(proxy_on_tick) void on_tick(uint32_t) {
  for (const auto& [context, stream] : streams) {
    stream->on_tick();
  }
}

EXPORT(proxy_on_http_call_response) void on_http_call_response(uint32_t, uint32_t call, uint32_t, uint32_t size, uint32_t) {
  const auto node = calls.extract(call);
  node.mapped()(size);
}

EXPORT(proxy_on_request_headers) uint32_t on_request_headers(uint32_t context, uint32_t, uint32_t) {
  return streams[context]->on_request_headers();
}

EXPORT(proxy_on_request_body) uint32_t on_request_body(uint32_t context, uint32_t size, uint32_t end) {
  return streams[context]->on_request_body(size, end != 0);
}

EXPORT(proxy_on_request_trailers) uint32_t on_request_trailers(uint32_t, uint32_t) {
  log(2, "trailers: x-sum is " + header(RequestTrailers, "x-sum").value_or(""));
  return Continue;
}

EXPORT(proxy_on_request_metadata) uint32_t on_request_metadata(uint32_t, uint32_t) {
  return Continue;
}

EXPORT(proxy_on_response_headers) uint32_t on_response_headers(uint32_t context, uint32_t, uint32_t) {
  streams[context]->on_response_headers();
  return Continue;
}

EXPORT(proxy_on_response_body) uint32_t on_response_body(uint32_t context, uint32_t size, uint32_t end) {
  return streams[context]->on_response_body(size, end != 0);
}

EXPORT(proxy_on_response_trailers) uint32_t on_response_trailers(uint32_t, uint32_t) {
  return Continue;
}

EXPORT(proxy_on_response_metadata) uint32_t on_response_metadata(uint32_t, uint32_t) {
  return Continue;
}

// Callbacks that the SDK exports of every plugin, and that this one has no use for.
EXPORT(proxy_on_new_connection) uint32_t on_new_connection(uint32_t) {
  return Continue;
}

EXPORT(proxy_on_downstream_data) uint32_t on_downstream_data(uint32_t, uint32_t, uint32_t) {
  return Continue;
}

EXPORT(proxy_on_upstream_data) uint32_t on_upstream_data(uint32_t, uint32_t, uint32_t) {
  return Continue;
}

EXPORT(proxy_on_downstream_connection_close) void on_downstream_connection_close(uint32_t, uint32_t) {}

EXPORT(proxy_on_upstream_connection_close) void on_upstream_connection_close(uint32_t, uint32_t) {}

EXPORT(proxy_on_grpc_receive_initial_metadata) void on_grpc_receive_initial_metadata(uint32_t, uint32_t, uint32_t) {}

EXPORT(proxy_on_grpc_receive_trailing_metadata) void on_grpc_receive_trailing_metadata(uint32_t, uint32_t, uint32_t) {}

EXPORT(proxy_on_grpc_receive) void on_grpc_receive(uint32_t, uint32_t, uint32_t) {}

EXPORT(proxy_on_grpc_close) void on_grpc_close(uint32_t, uint32_t, uint32_t) {}

EXPORT(proxy_on_queue_ready) void on_queue_ready(uint32_t, uint32_t) {}

EXPORT(proxy_on_foreign_function) void on_foreign_function(uint32_t, uint32_t, uint32_t) {}

EXPORT(proxy_on_done) uint32_t on_done(uint32_t) {
  return 1;
}

EXPORT(proxy_on_log) void on_log(uint32_t context) {
  if (const auto found = streams.find(context); found != streams.end()) {
    found->second->on_log();
  }
}

EXPORT(proxy_on_delete) void on_delete(uint32_t context) {
  streams.erase(context);
}
