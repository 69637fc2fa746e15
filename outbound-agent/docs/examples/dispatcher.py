"""A dispatcher: for http://NAME.example.com/ it runs a program as the tenant NAME, each request in
a cgroup of its own, whose requests reach the outbound worker with parameters of their own.

    dispatcher.py PORT TENANTS PROGRAM...     TENANTS is the directory of the tenants' cgroups
"""
import contextlib, http.client, json, os, pathlib, re, socket, subprocess, sys, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SOCKET = os.environ.get("OUTBOUND_SOCKET", "/run/outbound/admin.sock")
NAMESPACE = os.environ.get("OUTBOUND_NAMESPACE", "production")

class Agent(http.client.HTTPConnection):
    """The admin API, which is plain HTTP over a Unix socket."""
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)

def ask(method, path, question=None):
    agent = Agent("agent")
    agent.request(method, f"/v1/namespaces/{NAMESPACE}/dispatch{path}", question and json.dumps(question))
    reply = agent.getresponse()
    answer = json.load(reply)
    if reply.status >= 400:
        raise RuntimeError(answer["error"])
    return answer

@contextlib.contextmanager
def dispatched(worker, cgroup, outbound):
    """As long as it lasts, what runs in the cgroup is the worker's, with these parameters."""
    question = {"worker": worker, "cgroup": str(cgroup), "outbound": outbound}
    dispatch = ask("POST", "", question)["id"]
    try:
        yield dispatch
    finally:
        ask("DELETE", f"/{dispatch}")

@contextlib.contextmanager
def cgroup_for(worker):
    cgroup = pathlib.Path(TENANTS) / f"{worker}-{uuid.uuid4()}"
    cgroup.mkdir()
    try:
        yield cgroup
    finally:
        (cgroup / "cgroup.kill").write_text("1")
        while "populated 1" in (cgroup / "cgroup.events").read_text():
            pass
        cgroup.rmdir()

class Dispatcher(BaseHTTPRequestHandler):
    def do_GET(self):
        host = self.headers["host"]
        worker = re.sub(r"[^a-z0-9-]", "", host.split(".")[0])
        # The object's name is one that the namespace declares.
        context = {"customer_name": worker, "url": f"http://{host}{self.path}"}
        try:
            with cgroup_for(worker) as cgroup, dispatched(worker, cgroup, {"params_object": context}):
                within = ["sh", "-c", 'echo 0 > "$0/cgroup.procs"; exec "$@"', cgroup, *PROGRAM]
                self.answer(200, subprocess.run(within, stdout=subprocess.PIPE).stdout)
        except RuntimeError as error:
            # A tenant that is not there, or a parameter that is not declared.
            self.answer(404 if str(error).startswith("Worker not found") else 500, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

PORT, TENANTS, *PROGRAM = sys.argv[1:]
ThreadingHTTPServer(("127.0.0.1", int(PORT)), Dispatcher).serve_forever()
