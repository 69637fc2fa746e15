"""Verifies AWS Signature Version 4 as the receiving side does, with Python's library alone.

Reads a request as JSON: method, target, headers (pairs, lower case), body (hexadecimal). Writes
`ok`, or what is wrong.
"""

import hashlib
import hmac
import json
import re
import sys
from urllib.parse import parse_qsl, quote, unquote, urlsplit

KEY_ID, KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def verify(request):
    headers = {}
    for name, value in request["headers"]:
        headers.setdefault(name, []).append(" ".join(value.split()))
    pattern = r"AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
    match = re.fullmatch(pattern, ",".join(headers["authorization"]))
    if not match:
        return f"no signature: {headers['authorization']}"
    credential, signed, signature = match.groups()
    key_id, date, region, service, end = credential.split("/")
    if (key_id, end) != (KEY_ID, "aws4_request"):
        return f"another key: {credential}"
    missing = [name for name in headers if name.startswith("x-amz-")]
    missing = {"host", *missing} - set(signed.split(";"))
    if missing:
        return f"not signed: {missing}"
    body = bytes.fromhex(request["body"])
    hashed = headers.get("x-amz-content-sha256", [sha256(body)])[0]
    if re.fullmatch("[0-9a-f]{64}", hashed) and hashed != sha256(body):
        return "the hash is not the body's"
    target = urlsplit(request["target"])
    path = quote(unquote(target.path), safe="/-._~")
    if service != "s3":
        path = quote(path, safe="/-._~")
    pairs = parse_qsl(target.query, keep_blank_values=True)
    pairs = sorted((quote(k, safe="-._~"), quote(v, safe="-._~")) for k, v in pairs)
    canonical = "\n".join(
        [
            request["method"],
            path,
            "&".join(f"{k}={v}" for k, v in pairs),
            *(f"{name}:{','.join(headers[name])}" for name in signed.split(";")),
            "",
            signed,
            hashed,
        ]
    )
    moment = headers["x-amz-date"][0]
    if not moment.startswith(date):
        return "another day"
    scope = f"{date}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{sha256(canonical.encode())}"
    key = ("AWS4" + KEY).encode()
    for part in [date, region, service, "aws4_request"]:
        key = mac(key, part)
    if mac(key, text).hex() != signature:
        return f"another signature than of {canonical!r}"
    return "ok"


print(verify(json.load(sys.stdin)))
