"""S3 by moto over TLS, to which nothing passes whose signature botocore does not come to as well.

    s3.py DIRECTORY

The directory has origin.pem and origin.key. Says what has passed: method, path, and what the sender
says of its body."""
import hashlib, hmac, io, re, sys
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY_ID, KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/([^/]+)/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def headers_of(environ):
    headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items()
               if key.startswith("HTTP_")}
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            headers[key.replace("_", "-").lower()] = environ[key]
    return headers


def chunks(body, seed, auth, moment, region):
    """AWS's "Signature Calculations for the Authorization Header: Transferring Payload in Multiple
    Chunks"; botocore has no code for it."""
    date = moment[:8]
    key = ("AWS4" + KEY).encode()
    for part in (date, region, "s3", "aws4_request"):
        key = mac(key, part)
    while True:
        head, body = body.split(b"\r\n", 1)
        size, signature = head.decode().split(";chunk-signature=")
        data, body = body[: int(size, 16)], body[int(size, 16) + 2 :]
        scope = f"{date}/{region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", moment, scope, seed, sha256(b""), sha256(data)])
        if mac(key, text).hex() != signature:
            return f"the signature of a chunk of {len(data)} octets is wrong"
        if not data:
            return None
        seed = signature


def wrong(environ, body):
    headers = headers_of(environ)
    if "DUMMY" in str(headers):
        return "the tenant's own key"
    match = SIGNED.fullmatch(headers.get("authorization", ""))
    if not match:
        return "no signature"
    key_id, date, region, service, signed, signature = match.groups()
    if (key_id, service) != (KEY_ID, "s3"):
        return "another key, or for another service"
    signed = signed.split(";")
    missing = {name for name in headers if name.startswith("x-amz-")} | {"host"}
    if missing - set(signed):
        return f"not signed: {missing - set(signed)}"
    request = AWSRequest(
        method=environ["REQUEST_METHOD"],
        url=f"https://{headers['host']}{environ['REQUEST_URI']}",
        headers={name: headers[name] for name in signed},
        data=body,
    )
    request.context["timestamp"] = headers["x-amz-date"]
    auth = S3SigV4Auth(Credentials(KEY_ID, KEY), service, region)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    if auth.signature(text, request) != signature:
        return f"another signature than of {text!r}"
    payload = headers["x-amz-content-sha256"]
    if re.fullmatch("[0-9a-f]{64}", payload) and payload != sha256(body):
        return "the hash is not the body's"
    if payload == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
        return chunks(body, signature, auth, headers["x-amz-date"], region)
    return None


class Verified:
    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        stream = environ["wsgi.input"]
        length = environ.get("CONTENT_LENGTH")
        body = stream.read() if environ.get("wsgi.input_terminated") else stream.read(int(length or 0))
        problem = wrong(environ, body)
        path = environ["REQUEST_URI"]
        if problem:
            print("refused", environ["REQUEST_METHOD"], path, problem, flush=True)
            start_response("403 Forbidden", [("content-type", "application/xml")])
            return [b"<Error><Code>SignatureDoesNotMatch</Code></Error>"]
        word = headers_of(environ)["x-amz-content-sha256"]
        word = "HASH" if re.fullmatch("[0-9a-f]{64}", word) else word
        print("passed", environ["REQUEST_METHOD"], path, word, flush=True)
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        return self.application(environ, start_response)


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *ignored):
        pass


directory = sys.argv[1]
application = Verified(create_backend_app("s3"))
server = make_server("203.0.113.10", 443, application, threaded=True, request_handler=Quiet,
                     ssl_context=(directory + "/origin.pem", directory + "/origin.key"))
print("listening", flush=True)
server.serve_forever()
