"""The upstreams that the examples expect: v1, v2 and mirror on ports 10001 to 10003 of the loopback address.

Each answers with its name, and says what it gets.
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = f"{self.server.name}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

    def log_message(self, form, *arguments):
        print(f"at {self.server.name}: {form % arguments}", flush=True)


for port, name in (10001, "v1"), (10002, "v2"), (10003, "mirror"):
    server = ThreadingHTTPServer(("127.0.0.1", port), Upstream)
    server.name = name
    Thread(target=server.serve_forever).start()
