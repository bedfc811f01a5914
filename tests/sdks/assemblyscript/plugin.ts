// A plugin in AssemblyScript, with the SDK itself. What it does is what the plugins of the other languages do;
// ../cases.yaml has what is expected of all.
export * from "@solo-io/proxy-runtime/proxy";
import {
  BaseContext, Context, Counter, FilterDataStatusValues, FilterHeadersStatusValues, FilterTrailersStatusValues,
  GrpcStatusValues, HeaderPair, Headers, LogLevelValues, RootContext, WasmResultValues, continue_request, log,
  registerRootContext, send_local_response, stream_context,
} from "@solo-io/proxy-runtime";
import {
  BufferTypeValues, get_buffer_bytes, get_current_time_nanoseconds, get_property, set_tick_period_milliseconds,
} from "@solo-io/proxy-runtime/runtime";
import { proxy_get_shared_data, proxy_set_shared_data } from "@solo-io/proxy-runtime/imports";

// The SDK has no way to edit a body.
// @ts-ignore: decorator
@external("env", "proxy_set_buffer_bytes")
declare function proxy_set_buffer_bytes(buffer: u32, start: u32, replaced: u32, bytes: usize, size: usize): u32;

// What the host writes its answers to.
const places = new StaticArray<u32>(3);
const held: Stream[] = [];
let littered = 0;

function text(bytes: ArrayBuffer): string {
  return String.UTF8.decode(bytes);
}

function pair(name: string, value: string): HeaderPair {
  return new HeaderPair(String.UTF8.encode(name), String.UTF8.encode(value));
}

function replaceBuffer(which: u32, size: usize, by: string): void {
  const bytes = String.UTF8.encode(by);
  const status = proxy_set_buffer_bytes(which, 0, <u32>size, changetype<usize>(bytes), bytes.byteLength);
  assert(status == 0, "proxy_set_buffer_bytes");
}

function reply(code: u32, body: string, headers: Headers): void {
  send_local_response(code, "plugin", String.UTF8.encode(body), headers, GrpcStatusValues.InvalidCode);
}

class Plugin extends RootContext {
  greeting: string = "";
  seen: Counter | null = null;

  createContext(context: u32): Context {
    return new Stream(context, this);
  }

  onConfigure(size: u32): bool {
    assert(super.onConfigure(size));
    const configuration = this.getConfiguration();
    if (configuration.includes('"refuse":true')) {
      log(LogLevelValues.error, "refuse: is asked for");
      return false;
    }
    const key = '"greeting":"';
    const start = configuration.indexOf(key) + key.length;
    this.greeting = configuration.substring(start, configuration.indexOf('"', start));
    this.seen = new Counter("requests_seen");
    set_tick_period_milliseconds(10);
    return true;
  }

  onTick(): void {
    while (held.length > 0) {
      held.pop().release();
    }
  }
}

class Stream extends Context {
  path: string = "";
  garbage: ArrayBuffer[] = [];

  constructor(context: u32, root: Plugin) {
    super(context, root);
  }

  plugin(): Plugin {
    return this.root_context as Plugin;
  }

  onRequestHeaders(count: u32, end: bool): FilterHeadersStatusValues {
    this.plugin().seen!.increment(1);
    const headers = stream_context.headers.request;
    this.path = headers.get(":path");
    if (this.path == "/headers") {
      this.editHeaders();
    } else if (this.path == "/body" || this.path == "/measure") {
      headers.remove("content-length");
    } else if (this.path == "/count") {
      headers.add("x-number", counted().toString());
    } else if (this.path == "/call") {
      return this.ask("other");
    } else if (this.path == "/denied") {
      return this.ask("denies");
    } else if (this.path == "/call-nowhere") {
      return this.ask("nowhere");
    } else if (this.path == "/hold") {
      held.push(this);
      return FilterHeadersStatusValues.StopIteration;
    } else if (this.path == "/reply") {
      reply(418, "from the plugin", [pair("x-from", "plugin"), pair("x-from", "twice")]);
      return FilterHeadersStatusValues.StopIteration;
    } else if (this.path == "/garbage") {
      this.litter();
    } else if (this.path == "/alive") {
      headers.add("x-littered", littered.toString());
    } else if (this.path == "/panic") {
      throw new Error("as asked");
    }
    return FilterHeadersStatusValues.Continue;
  }

  editHeaders(): void {
    const headers = stream_context.headers.request;
    const all = headers.get_headers();
    let many = 0;
    for (let i = 0; i < all.length; i++) {
      if (text(all[i].key) == "x-many") {
        many++;
      }
    }
    assert(headers.get("x-absent") == "", "a header that nobody sent");
    headers.add("x-configured", this.plugin().greeting);
    headers.add("x-count", many.toString());
    headers.add("x-method", text(get_property("request\0method")));
    headers.add("x-year", (get_current_time_nanoseconds() > 1_600_000_000_000_000_000).toString());
    headers.replace("x-in", headers.get("x-in").toUpperCase());
    headers.remove("x-secret");
  }

  ask(cluster: string): FilterHeadersStatusValues {
    const headers: Headers = [
      pair(":method", "GET"), pair(":path", "/lookup"), pair(":authority", "lookup.test"),
      pair("x-case", stream_context.headers.request.get("x-case")),
    ];
    const asked = this.root_context.httpCall(
      cluster, headers, new ArrayBuffer(0), [], 5000, this,
      (origin: BaseContext, headers: u32, size: usize, trailers: u32): void => { (origin as Stream).answered(size); });
    if (asked != WasmResultValues.Ok) {
      reply(500, "no cluster " + cluster, []);
    }
    return FilterHeadersStatusValues.StopIteration;
  }

  answered(size: usize): void {
    const answer = stream_context.headers.http_callback;
    const code = answer.get(":status");
    const kind = answer.get("x-kind");
    const body = text(get_buffer_bytes(BufferTypeValues.HttpCallResponseBody, 0, <u32>size));
    if (code == "403") {
      reply(401, "denied: " + body, [pair("x-kind", kind)]);
      return;
    }
    stream_context.headers.request.add("x-call", code + " " + kind + " " + body);
    continue_request();
  }

  // 4 MiB that nobody needs when the request is over.
  litter(): void {
    littered++;
    for (let i = 0; i < 1024; i++) {
      this.garbage.push(new ArrayBuffer(4096));
    }
  }

  release(): void {
    this.setEffectiveContext();
    stream_context.headers.request.add("x-held", "until a tick");
    continue_request();
  }

  onRequestBody(size: usize, end: bool): FilterDataStatusValues {
    if (this.path != "/body" && this.path != "/measure") {
      return FilterDataStatusValues.Continue;
    }
    if (!end) {
      return FilterDataStatusValues.StopIterationAndBuffer;
    }
    const bytes = get_buffer_bytes(BufferTypeValues.HttpRequestBody, 0, <u32>size);
    if (this.path == "/body") {
      replaceBuffer(BufferTypeValues.HttpRequestBody, size, text(bytes).toUpperCase());
      return FilterDataStatusValues.Continue;
    }
    const view = Uint8Array.wrap(bytes);
    let sum = 0;
    for (let i = 0; i < view.length; i++) {
      sum += view[i];
    }
    const measured = view.length.toString() + " bytes, in all " + sum.toString();
    replaceBuffer(BufferTypeValues.HttpRequestBody, size, measured);
    return FilterDataStatusValues.Continue;
  }

  onRequestTrailers(count: u32): FilterTrailersStatusValues {
    log(LogLevelValues.info, "trailers: x-sum is " + stream_context.trailers.request.get("x-sum"));
    return FilterTrailersStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end: bool): FilterHeadersStatusValues {
    const headers = stream_context.headers.response;
    if (this.path == "/body") {
      headers.remove("content-length");
    }
    headers.add("x-answer", headers.get(":status") + " to " + this.path);
    return FilterHeadersStatusValues.Continue;
  }

  onResponseBody(size: usize, end: bool): FilterDataStatusValues {
    if (this.path != "/body") {
      return FilterDataStatusValues.Continue;
    }
    if (!end) {
      return FilterDataStatusValues.StopIterationAndBuffer;
    }
    const body = text(get_buffer_bytes(BufferTypeValues.HttpResponseBody, 0, <u32>size));
    replaceBuffer(BufferTypeValues.HttpResponseBody, size, body + ", edited");
    return FilterDataStatusValues.Continue;
  }

  // The SDK keeps contexts for ever: what is large has to be let go by hand.
  onDelete(): void {
    this.garbage = [];
  }

  onLog(): void {
    log(LogLevelValues.info, "done: " + this.path + " " + stream_context.headers.response.get(":status"));
  }
}

// The next number of a counter that all streams share. What the SDK has for it takes the value's place for the value.
function counted(): i32 {
  const key = String.UTF8.encode("number");
  const place = changetype<usize>(places);
  let next = 0;
  let set: u32 = WasmResultValues.CasMismatch;
  while (set == WasmResultValues.CasMismatch) {
    places[2] = 0;
    const found = proxy_get_shared_data(changetype<usize>(key), key.byteLength, place, place + 4, place + 8);
    next = 1;
    if (found == WasmResultValues.Ok) {
      next += <i32>parseInt(String.UTF8.decodeUnsafe(places[0], places[1]));
    }
    const value = String.UTF8.encode(next.toString());
    set = proxy_set_shared_data(
      changetype<usize>(key), key.byteLength, changetype<usize>(value), value.byteLength, places[2]);
  }
  assert(set == WasmResultValues.Ok, "proxy_set_shared_data");
  return next;
}

registerRootContext((context: u32) => new Plugin(context), "plugin");
