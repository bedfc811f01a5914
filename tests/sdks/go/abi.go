// The ABI as the Go SDK has it: what is imported, what is exported, and how memory is handed over. The plugin itself is
// in main.go.
package main

import "unsafe"

type status uint32

const (
	ok          status = 0
	notFound    status = 1
	casMismatch status = 8
)

const (
	carryOn uint32 = 0
	pause   uint32 = 1
)

const (
	requestHeaders  uint32 = 0
	requestTrailers uint32 = 1
	responseHeaders uint32 = 2
	callHeaders     uint32 = 6
)

const (
	requestBody         uint32 = 0
	responseBody        uint32 = 1
	callBody            uint32 = 4
	pluginConfiguration uint32 = 7
)

//go:wasmimport env proxy_log
func proxyLog(level uint32, text *byte, size int32) status

//go:wasmimport env proxy_set_tick_period_milliseconds
func proxySetTickPeriod(milliseconds uint32) status

//go:wasmimport env proxy_set_effective_context
func proxySetEffectiveContext(context uint32) status

//go:wasmimport env proxy_get_property
func proxyGetProperty(path *byte, size int32, value unsafe.Pointer, valueSize *int32) status

//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBufferBytes(buffer uint32, start, most int32, bytes unsafe.Pointer, size *int32) status

//go:wasmimport env proxy_set_buffer_bytes
func proxySetBufferBytes(buffer uint32, start, replaced int32, bytes *byte, size int32) status

//go:wasmimport env proxy_get_header_map_value
func proxyGetHeader(headers uint32, name *byte, size int32, value unsafe.Pointer, valueSize *int32) status

//go:wasmimport env proxy_get_header_map_pairs
func proxyGetHeaders(headers uint32, pairs unsafe.Pointer, size *int32) status

//go:wasmimport env proxy_add_header_map_value
func proxyAddHeader(headers uint32, name *byte, size int32, value *byte, valueSize int32) status

//go:wasmimport env proxy_replace_header_map_value
func proxyReplaceHeader(headers uint32, name *byte, size int32, value *byte, valueSize int32) status

//go:wasmimport env proxy_remove_header_map_value
func proxyRemoveHeader(headers uint32, name *byte, size int32) status

//go:wasmimport env proxy_continue_stream
func proxyContinueStream(stream uint32) status

//go:wasmimport env proxy_send_local_response
func proxySendLocalResponse(code uint32, details *byte, detailsSize int32, body *byte, bodySize int32,
	headers *byte, headersSize int32, grpc int32) status

//go:wasmimport env proxy_http_call
func proxyHTTPCall(cluster *byte, clusterSize int32, headers *byte, headersSize int32, body *byte, bodySize int32,
	trailers *byte, trailersSize int32, milliseconds uint32, call *uint32) status

//go:wasmimport env proxy_get_shared_data
func proxyGetSharedData(key *byte, size int32, value unsafe.Pointer, valueSize *int32, cas *uint32) status

//go:wasmimport env proxy_set_shared_data
func proxySetSharedData(key *byte, size int32, value *byte, valueSize int32, cas uint32) status

//go:wasmimport env proxy_define_metric
func proxyDefineMetric(kind uint32, name *byte, size int32, metric *uint32) status

//go:wasmimport env proxy_increment_metric
func proxyIncrementMetric(metric uint32, by int64) status

//go:wasmexport proxy_abi_version_0_2_0
func abiVersion() {}

// What the host writes into is garbage to the collector, until the pointer that the host leaves is read.
//
//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) *byte {
	bytes := make([]byte, size)
	return &bytes[0]
}

func pointer(text string) (*byte, int32) {
	if text == "" {
		return nil, 0
	}
	return unsafe.StringData(text), int32(len(text))
}

// Asks the host for bytes that it places by `allocate`.
func given(ask func(value unsafe.Pointer, size *int32) status) (string, status) {
	var bytes *byte
	var size int32
	answer := ask(unsafe.Pointer(&bytes), &size)
	if answer != ok || bytes == nil {
		return "", answer
	}
	return unsafe.String(bytes, size), answer
}

func logLine(level uint32, text string) {
	bytes, size := pointer(text)
	proxyLog(level, bytes, size)
}

func header(headers uint32, name string) (string, bool) {
	key, size := pointer(name)
	value, answer := given(func(value unsafe.Pointer, length *int32) status {
		return proxyGetHeader(headers, key, size, value, length)
	})
	return value, answer == ok
}

func addHeader(headers uint32, name, value string) {
	key, size := pointer(name)
	bytes, length := pointer(value)
	must(proxyAddHeader(headers, key, size, bytes, length), "proxy_add_header_map_value")
}

func replaceHeader(headers uint32, name, value string) {
	key, size := pointer(name)
	bytes, length := pointer(value)
	must(proxyReplaceHeader(headers, key, size, bytes, length), "proxy_replace_header_map_value")
}

func removeHeader(headers uint32, name string) {
	key, size := pointer(name)
	must(proxyRemoveHeader(headers, key, size), "proxy_remove_header_map_value")
}

func allHeaders(headers uint32) [][2]string {
	text, answer := given(func(value unsafe.Pointer, size *int32) status {
		return proxyGetHeaders(headers, value, size)
	})
	must(answer, "proxy_get_header_map_pairs")
	return decodePairs(text)
}

func buffer(which uint32, size int) string {
	if size == 0 {
		return ""
	}
	text, answer := given(func(value unsafe.Pointer, length *int32) status {
		return proxyGetBufferBytes(which, 0, int32(size), value, length)
	})
	must(answer, "proxy_get_buffer_bytes")
	return text
}

func replaceBuffer(which uint32, size int, text string) {
	bytes, length := pointer(text)
	must(proxySetBufferBytes(which, 0, int32(size), bytes, length), "proxy_set_buffer_bytes")
}

func property(path string) string {
	key, size := pointer(path)
	text, answer := given(func(value unsafe.Pointer, length *int32) status {
		return proxyGetProperty(key, size, value, length)
	})
	must(answer, "proxy_get_property")
	return text
}

func reply(code uint32, body string, headers [][2]string) {
	details, detailsSize := pointer("plugin")
	text, size := pointer(body)
	pairs, length := pointer(encodePairs(headers))
	must(proxySendLocalResponse(code, details, detailsSize, text, size, pairs, length, -1), "proxy_send_local_response")
}

func call(cluster string, headers [][2]string) (uint32, status) {
	name, size := pointer(cluster)
	pairs, length := pointer(encodePairs(headers))
	none, noneSize := pointer(encodePairs(nil))
	var number uint32
	answer := proxyHTTPCall(name, size, pairs, length, nil, 0, none, noneSize, 5000, &number)
	return number, answer
}

func must(answer status, hostcall string) {
	if answer != ok {
		panic(hostcall + " failed")
	}
}
