// A plugin in Go, with the runtime of Go's own compiler: maps, closures, formatting, a garbage collector. What it does is
// what the plugins of the other languages do; ../cases.yaml has what is expected of all.
package main

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// What a plugin is configured with. Several may share a VM.
type plugin struct {
	greeting string
}

// A request under way.
type stream struct {
	plugin  *plugin
	path    string
	garbage map[string][]byte
	held    bool
}

var (
	seen     uint32
	littered int
	plugins  = map[uint32]*plugin{}
	streams  = map[uint32]*stream{}
	calls    = map[uint32]uint32{}
)

func main() {}

//go:wasmexport proxy_on_vm_start
func onVMStart(root, size uint32) bool { return true }

//go:wasmexport proxy_on_configure
func onConfigure(root, size uint32) bool {
	text := buffer(pluginConfiguration, int(size))
	if strings.Contains(text, `"refuse":true`) {
		logLine(4, "refuse: is asked for")
		return false
	}
	_, rest, _ := strings.Cut(text, `"greeting":"`)
	plugins[root].greeting, _, _ = strings.Cut(rest, `"`)
	name, length := pointer("requests_seen")
	must(proxyDefineMetric(0, name, length, &seen), "proxy_define_metric")
	must(proxySetTickPeriod(10), "proxy_set_tick_period_milliseconds")
	return true
}

//go:wasmexport proxy_on_context_create
func onContextCreate(context, root uint32) {
	if root == 0 {
		plugins[context] = &plugin{}
	} else {
		streams[context] = &stream{plugin: plugins[root]}
	}
}

//go:wasmexport proxy_on_tick
func onTick(root uint32) {
	for context, held := range streams {
		if held.held {
			held.held = false
			must(proxySetEffectiveContext(context), "proxy_set_effective_context")
			addHeader(requestHeaders, "x-held", "until a tick")
			must(proxyContinueStream(0), "proxy_continue_stream")
		}
	}
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, count uint32, end bool) uint32 {
	must(proxyIncrementMetric(seen, 1), "proxy_increment_metric")
	current := streams[context]
	current.path, _ = header(requestHeaders, ":path")
	switch current.path {
	case "/headers":
		editHeaders(current.plugin.greeting)
	case "/body", "/measure":
		removeHeader(requestHeaders, "content-length")
	case "/count":
		addHeader(requestHeaders, "x-number", strconv.Itoa(counted()))
	case "/call":
		return ask(context, "other")
	case "/denied":
		return ask(context, "denies")
	case "/call-nowhere":
		return ask(context, "nowhere")
	case "/hold":
		current.held = true
		return pause
	case "/reply":
		reply(418, "from the plugin", [][2]string{{"x-from", "plugin"}, {"x-from", "twice"}})
		return pause
	case "/garbage":
		litter(current)
	case "/alive":
		addHeader(requestHeaders, "x-littered", strconv.Itoa(littered))
	case "/print":
		fmt.Println("printed by the plugin")
	case "/panic":
		panic("as asked")
	}
	return carryOn
}

func editHeaders(greeting string) {
	many := 0
	for _, pair := range allHeaders(requestHeaders) {
		if pair[0] == "x-many" {
			many++
		}
	}
	in, _ := header(requestHeaders, "x-in")
	if _, found := header(requestHeaders, "x-absent"); found {
		panic("a header that nobody sent")
	}
	addHeader(requestHeaders, "x-configured", greeting)
	addHeader(requestHeaders, "x-count", strconv.Itoa(many))
	addHeader(requestHeaders, "x-method", property("request\x00method"))
	addHeader(requestHeaders, "x-year", strconv.FormatBool(time.Now().Year() > 2020))
	replaceHeader(requestHeaders, "x-in", strings.ToUpper(in))
	removeHeader(requestHeaders, "x-secret")
}

// The next number of a counter that all streams share.
func counted() int {
	key, size := pointer("number")
	for {
		var cas uint32
		text, answer := given(func(value unsafe.Pointer, length *int32) status {
			return proxyGetSharedData(key, size, value, length, &cas)
		})
		if answer != ok && answer != notFound {
			panic("proxy_get_shared_data failed")
		}
		before, _ := strconv.Atoi(text)
		value, length := pointer(strconv.Itoa(before + 1))
		if answer = proxySetSharedData(key, size, value, length, cas); answer == ok {
			return before + 1
		}
		if answer != casMismatch {
			panic("proxy_set_shared_data failed")
		}
	}
}

func ask(context uint32, cluster string) uint32 {
	mark, _ := header(requestHeaders, "x-case")
	number, answer := call(cluster, [][2]string{
		{":method", "GET"}, {":path", "/lookup"}, {":authority", "lookup.test"}, {"x-case", mark},
	})
	if answer != ok {
		reply(500, "no cluster "+cluster, nil)
		return pause
	}
	calls[number] = context
	return pause
}

//go:wasmexport proxy_on_http_call_response
func onHTTPCallResponse(root, number, headers, bodySize, trailers uint32) {
	context := calls[number]
	delete(calls, number)
	code, _ := header(callHeaders, ":status")
	kind, _ := header(callHeaders, "x-kind")
	body := buffer(callBody, int(bodySize))
	must(proxySetEffectiveContext(context), "proxy_set_effective_context")
	if code == "403" {
		reply(401, "denied: "+body, [][2]string{{"x-kind", kind}})
		return
	}
	addHeader(requestHeaders, "x-call", fmt.Sprintf("%s %s %s", code, kind, body))
	must(proxyContinueStream(0), "proxy_continue_stream")
}

// 4 MiB that nobody needs when the request is over.
func litter(current *stream) {
	littered++
	current.garbage = map[string][]byte{}
	for i := range 1024 {
		current.garbage[strconv.Itoa(i)] = make([]byte, 4096)
	}
}

//go:wasmexport proxy_on_request_body
func onRequestBody(context, size uint32, end bool) uint32 {
	current := streams[context]
	if current.path != "/body" && current.path != "/measure" {
		return carryOn
	}
	if !end {
		return pause
	}
	body := buffer(requestBody, int(size))
	if current.path == "/body" {
		replaceBuffer(requestBody, int(size), strings.ToUpper(body))
		return carryOn
	}
	sum := 0
	for _, byte := range []byte(body) {
		sum += int(byte)
	}
	replaceBuffer(requestBody, int(size), fmt.Sprintf("%d bytes, in all %d", len(body), sum))
	return carryOn
}

//go:wasmexport proxy_on_request_trailers
func onRequestTrailers(context, count uint32) uint32 {
	sum, _ := header(requestTrailers, "x-sum")
	logLine(2, "trailers: x-sum is "+sum)
	return carryOn
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(context, count uint32, end bool) uint32 {
	current := streams[context]
	if current.path == "/body" {
		removeHeader(responseHeaders, "content-length")
	}
	code, _ := header(responseHeaders, ":status")
	addHeader(responseHeaders, "x-answer", code+" to "+current.path)
	return carryOn
}

//go:wasmexport proxy_on_response_body
func onResponseBody(context, size uint32, end bool) uint32 {
	if streams[context].path != "/body" {
		return carryOn
	}
	if !end {
		return pause
	}
	replaceBuffer(responseBody, int(size), buffer(responseBody, int(size))+", edited")
	return carryOn
}

//go:wasmexport proxy_on_done
func onDone(context uint32) bool { return true }

//go:wasmexport proxy_on_log
func onLog(context uint32) {
	if current, found := streams[context]; found {
		code, _ := header(responseHeaders, ":status")
		logLine(2, "done: "+current.path+" "+code)
	}
}

//go:wasmexport proxy_on_delete
func onDelete(context uint32) {
	delete(streams, context)
	delete(plugins, context)
}

// Pairs as the ABI has them: how many, the sizes, then names and values, each with a zero behind it.
func encodePairs(pairs [][2]string) string {
	bytes := binary.LittleEndian.AppendUint32(nil, uint32(len(pairs)))
	for _, pair := range pairs {
		bytes = binary.LittleEndian.AppendUint32(bytes, uint32(len(pair[0])))
		bytes = binary.LittleEndian.AppendUint32(bytes, uint32(len(pair[1])))
	}
	for _, pair := range pairs {
		bytes = append(append(append(append(bytes, pair[0]...), 0), pair[1]...), 0)
	}
	return string(bytes)
}

func decodePairs(text string) [][2]string {
	bytes := []byte(text)
	count := int(binary.LittleEndian.Uint32(bytes))
	at := 4 + 8*count
	pairs := make([][2]string, count)
	for i := range pairs {
		for j := range 2 {
			size := int(binary.LittleEndian.Uint32(bytes[4+8*i+4*j:]))
			pairs[i][j] = string(bytes[at : at+size])
			at += size + 1
		}
	}
	return pairs
}
