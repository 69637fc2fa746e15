//! boto3, with keys that are worth nothing, and S3 by moto: what arrives is signed, by the measure
//! of botocore.

use harness::host::Host;

use super::{interpreter, python};

const ORIGIN: &str = include_str!("s3.py");

/// Objects in every way in which boto3 sends one; it says what came back.
const CLIENT: &str = r#"
import os, boto3
from botocore.config import Config
def client(**more):
    config = Config(s3={"addressing_style": "path", **more.pop("s3", {})}, retries={"max_attempts": 1}, **more)
    return boto3.client("s3", endpoint_url="https://s3.eu-central-1.amazonaws.com", region_name="us-west-2",
                        aws_access_key_id="DUMMYID", aws_secret_access_key="dummy", config=config)
plain = client(request_checksum_calculation="when_required", s3={"payload_signing_enabled": False})
signed = client(request_checksum_calculation="when_required", s3={"payload_signing_enabled": True})
with_trailer = client()
plain.create_bucket(Bucket="box", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
large = os.urandom(3 << 20)
for one, key, body in [
    (plain, "a b/ü+%.txt", b"unsigned"),
    (signed, "signed~(1)", b"signed"),
    (with_trailer, "trailer", large),
]:
    one.put_object(Bucket="box", Key=key, Body=body)
    assert plain.get_object(Bucket="box", Key=key)["Body"].read() == body, key
    part = plain.get_object(Bucket="box", Key=key, Range="bytes=0-3")["Body"].read()
    assert part == body[:4], key
print(*[one["Key"] for one in plain.list_objects_v2(Bucket="box", Prefix="a b/")["Contents"]])
plain.delete_object(Bucket="box", Key="trailer")
print(plain.list_objects_v2(Bucket="box")["KeyCount"])
"#;

/// An object in chunks that each have a signature, which boto3 does not send.
const CHUNKS: &str = r#"
import http.client, ssl
body = b"".join(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(data), b"0" * 64, data)
                for data in (b"first " * 20000, b"second", b""))
connection = http.client.HTTPSConnection("s3.eu-central-1.amazonaws.com", context=ssl.create_default_context(), timeout=60)
connection.request("PUT", "/box/chunks", body, {
    "authorization": "AWS4-HMAC-SHA256 Credential=DUMMYID/20200101/us-west-2/s3/aws4_request, "
                     "SignedHeaders=content-encoding;host;x-amz-content-sha256;x-amz-date;"
                     "x-amz-decoded-content-length, Signature=" + "0" * 64,
    "content-encoding": "aws-chunked",
    "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "x-amz-date": "20200101T000000Z",
    "x-amz-decoded-content-length": "120006",
})
answer = connection.getresponse()
print(answer.status, answer.read().decode())
connection.request("GET", "/box/chunks")
answer = connection.getresponse()
print(answer.status, answer.read() == b"first " * 20000 + b"second")
"#;

/// The same as [`CLIENT`]'s first, again.
const AGAIN: &str = r#"
import boto3, botocore.exceptions
from botocore.config import Config
s3 = boto3.client("s3", endpoint_url="https://s3.eu-central-1.amazonaws.com", region_name="us-west-2", aws_access_key_id="DUMMYID",
                  aws_secret_access_key="dummy", config=Config(s3={"addressing_style": "path"}))
try: print(s3.get_object(Bucket="box", Key="signed~(1)")["Body"].read())
except botocore.exceptions.ClientError as error: print(error.response["Error"]["Code"])
"#;

fn host() -> Option<Host> {
    let host = Host::new()?;
    host.resolve(&["s3.eu-central-1.amazonaws.com"]);
    super::be_patient(&host);
    host.write("id", "AKIDEXAMPLE");
    host.write("key", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    let [id, key] = ["id", "key"].map(|name| host.path(name).display().to_string());
    host.configure(
        "policies",
        &format!(
            r#"
[policies.acme]
allow = ["s3.eu-central-1.amazonaws.com"]
credentials = ["aws"]
[credentials.aws]
type = "aws-sigv4"
hosts = ["s3.eu-central-1.amazonaws.com"]
access_key_id = "file:{id}"
secret_access_key = "file:{key}"
region = "eu-central-1"
service = "s3"
"#
        ),
    );
    host.tenant("acme", "acme");
    Some(host)
}

#[test]
fn what_boto3_sends_without_a_key_arrives_signed() {
    let Some(host) = host() else { return };
    host.identity(&["s3.eu-central-1.amazonaws.com"]);
    let directory = host.path("").display().to_string();
    let origin = host.program(&interpreter(), &["-u", "-c", ORIGIN, &directory]);
    let origin = origin.start();
    origin.expect("listening\n");
    let agent = host.agent();
    let told = python(&host, CLIENT).end();
    assert_eq!(
        told.stdout,
        "a b/ü+%.txt\n2\n",
        "{told:?}\n{}",
        origin.output()
    );
    let chunks = python(&host, CHUNKS).end();
    assert_eq!(
        chunks.stdout,
        "200 \n200 True\n",
        "{chunks:?}\n{}",
        origin.output()
    );
    let passed = origin.output();
    assert!(!passed.contains("refused"), "{passed}");
    for passing in [
        "passed PUT /box/a%20b/%C3%BC%2B%25.txt UNSIGNED-PAYLOAD\n",
        "passed PUT /box/signed~%281%29 HASH\n",
        "passed PUT /box/trailer STREAMING-UNSIGNED-PAYLOAD-TRAILER\n",
        "passed PUT /box/chunks STREAMING-AWS4-HMAC-SHA256-PAYLOAD\n",
    ] {
        assert!(passed.contains(passing), "{passing}: {passed}");
    }
    assert_eq!(python(&host, AGAIN).output(), "b'signed'\n");
    // Another secret: the origin can tell, and the agent reads the file again.
    host.write("key", "another key, of somebody else");
    harness::sandbox::eventually("the other key signs", || {
        (python(&host, AGAIN).output() == "SignatureDoesNotMatch\n").then_some(())
    });
    let ended = agent.stop();
    assert!(!ended.stderr.contains("wJalrXUtnFEMI"), "{ended:?}");
}
