"""The scripted origins: HTTP and HTTPS over IPv4 and IPv6.

Each answers with a line that tells what was asked for, and notes what it saw as a line of JSON.
"""

import http.server
import json
import socket
import ssl
import sys
import threading

DIRECTORY, *ADDRESSES = sys.argv[1:]
NOTES = open(f"{DIRECTORY}/origin.jsonl", "a", buffering=1)


class Origin(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A connection that ends early is the client's business."""


class OriginV6(Origin):
    address_family = socket.AF_INET6


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "origin"
    sys_version = ""
    timeout = 20

    def do_GET(self):
        host, port = self.request.getsockname()[:2]
        NOTES.write(json.dumps({
            "address": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "server_name": getattr(self.request, "asked_for", None),
            "method": self.command,
            "path": self.path,
            "body": self.rfile.read(int(self.headers.get("content-length", 0))).decode(),
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }) + "\n")
        body = f"Hello from {self.headers['host']}. You asked for {self.path}.\n".encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        """The notes say more."""


def remember_server_name(connection, name, _context):
    connection.asked_for = name


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(f"{DIRECTORY}/origin.pem", f"{DIRECTORY}/origin.key")
tls.sni_callback = remember_server_name

for address in ADDRESSES:
    kind = OriginV6 if ":" in address else Origin
    plain = kind((address, 80), Handler)
    secure = kind((address, 443), Handler)
    # The handshake belongs to the thread of the connection, not to the one that accepts.
    secure.socket = tls.wrap_socket(secure.socket, server_side=True, do_handshake_on_connect=False)
    for server in (plain, secure):
        threading.Thread(target=server.serve_forever, daemon=True).start()

print("ready", flush=True)
threading.Event().wait()
