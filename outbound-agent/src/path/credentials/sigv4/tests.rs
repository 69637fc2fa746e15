//! Against what AWS published: the examples of the S3 API reference ("Signature Calculations for
//! the Authorization Header", single and multiple chunks) and of the IAM reference.

use bytes::Bytes;

use super::*;
use crate::path::http::filter::Filter as _;

struct Request<'a> {
    method: Method,
    uri: &'a str,
    host: &'a str,
    headers: &'a [(&'static str, &'a str)],
    /// What the sender signed.
    signed: &'a str,
    payload: Payload,
}

/// Signs as the sender `AKIAIOSFODNN7EXAMPLE` of the S3 reference; gives the signature and the
/// header.
fn signature(request: &Request<'_>) -> (Signature, String) {
    let secret = Secret::new(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_vec());
    let signing = Signing {
        access_key_id: "AKIAIOSFODNN7EXAMPLE",
        secret_access_key: &secret,
        session_token: None,
        region: "us-east-1",
        service: "s3",
    };
    sign_as(request, signing, "20130524T000000Z")
}

fn sign_as(request: &Request<'_>, signing: Signing<'_>, at: &str) -> (Signature, String) {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let old = format!(
        "AWS4-HMAC-SHA256 Credential=x, SignedHeaders={}, Signature=y",
        request.signed
    );
    headers.insert(AUTHORIZATION, HeaderValue::try_from(old).unwrap());
    let signed = Signed {
        method: &request.method,
        uri: &request.uri.parse().unwrap(),
        host: request.host,
        headers: &mut headers,
    };
    let moment = Moment(at.to_owned());
    let signature = sign(signed, signing, &request.payload, moment).unwrap();
    let header = headers[AUTHORIZATION].to_str().unwrap().to_owned();
    (signature, header)
}

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn get<'a>(uri: &'a str, headers: &'a [(&'static str, &'a str)], signed: &'a str) -> Request<'a> {
    Request {
        method: Method::GET,
        uri,
        host: "examplebucket.s3.amazonaws.com",
        headers,
        signed,
        payload: Payload::Hash(EMPTY.to_owned()),
    }
}

#[test]
fn the_examples_of_s3_are_signed_as_published() {
    let (object, header) = signature(&get(
        "/test.txt",
        &[("range", "bytes=0-9")],
        "host;range;x-amz-content-sha256;x-amz-date",
    ));
    assert_eq!(
        object.text,
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    );
    assert!(header.starts_with(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
         SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature="
    ));
    let (lifecycle, _) = signature(&get("/?lifecycle", &[], "host"));
    assert_eq!(
        lifecycle.text,
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    );
    let (list, _) = signature(&get("/?max-keys=2&prefix=J", &[], "host"));
    assert_eq!(
        list.text,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    );
    let (put, _) = signature(&Request {
        method: Method::PUT,
        uri: "/test%24file.text",
        headers: &[
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ],
        payload: Payload::of(b"Welcome to Amazon S3."),
        ..get(
            "/",
            &[],
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        )
    });
    assert_eq!(
        put.text,
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    );
}

/// The body of the example, with these signatures.
fn chunked(signatures: [&str; 3]) -> Vec<u8> {
    let chunk = |size: usize, signature: &str| {
        let end = if size == 0 { "" } else { "\r\n" };
        let data = "a".repeat(size);
        format!("{size:x};chunk-signature={signature}\r\n{data}{end}")
    };
    let [first, second, last] = signatures;
    let body = chunk(65536, first) + &chunk(1024, second) + &chunk(0, last) + "\r\n";
    body.into_bytes()
}

#[test]
fn chunks_are_signed_as_published_wherever_the_pieces_end() {
    let (seed, _) = signature(&Request {
        method: Method::PUT,
        uri: "/examplebucket/chunkObject.txt",
        host: "s3.amazonaws.com",
        headers: &[
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("content-length", "66824"),
        ],
        signed: "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
                 x-amz-decoded-content-length;x-amz-storage-class",
        payload: Payload::Word(STREAMING),
    });
    assert_eq!(
        seed.text,
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    );
    let theirs = chunked(
        ["0"; 3]
            .map(|digit| digit.repeat(64))
            .each_ref()
            .map(String::as_str),
    );
    let ours = chunked([
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]);
    let again = || Signature {
        text: seed.text.clone(),
        key: seed.key.clone(),
        moment: seed.moment.clone(),
        scope: seed.scope.clone(),
    };
    for piece in [1, 7, 1000, 65_621, theirs.len()] {
        let mut chunks = Chunks::after(again(), 1 << 20);
        let mut out = Vec::new();
        for data in theirs.chunks(piece) {
            out.extend(chunks.push(Bytes::copy_from_slice(data)).unwrap());
        }
        assert_eq!(chunks.end(), Some(Bytes::new()));
        assert!(out == ours, "pieces of {piece}");
    }
    let mut chunks = Chunks::after(again(), 1000);
    assert_eq!(
        chunks.push(Bytes::from(theirs)),
        None,
        "too long to hold back"
    );
    let mut chunks = Chunks::after(again(), 1000);
    assert_eq!(chunks.push(Bytes::from_static(b"5\r\nhello\r\n")), None);
}

/// The example of "Create a signed AWS API request".
#[test]
fn a_service_that_is_not_s3_is_signed_as_published() {
    let secret = Secret::new(b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec());
    let signing = Signing {
        access_key_id: "AKIDEXAMPLE",
        secret_access_key: &secret,
        session_token: None,
        region: "us-east-1",
        service: "iam",
    };
    let request = Request {
        method: Method::GET,
        uri: "/?Action=ListUsers&Version=2010-05-08",
        host: "iam.amazonaws.com",
        headers: &[(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )],
        signed: "content-type;host;x-amz-date",
        payload: Payload::of(b""),
    };
    let (signature, _) = sign_as(&request, signing, "20150830T123600Z");
    assert_eq!(
        signature.text,
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
}

/// `get-vanilla` and its neighbours of the test suite that AWS published.
#[test]
fn the_suite_is_signed_as_published() {
    let secret = Secret::new(b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec());
    let signing = Signing {
        access_key_id: "AKIDEXAMPLE",
        secret_access_key: &secret,
        session_token: None,
        region: "us-east-1",
        service: "service",
    };
    let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    for (method, uri, expected) in [
        (Method::GET, "/", vanilla),
        // Paths are normalised.
        (Method::GET, "/example/..", vanilla),
        (Method::GET, "/./", vanilla),
        (Method::GET, "//", vanilla),
        (
            Method::POST,
            "/",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        // Parameters are put in order.
        (
            Method::GET,
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ] {
        let request = Request {
            method,
            uri,
            host: "example.amazonaws.com",
            headers: &[],
            signed: "host;x-amz-date",
            payload: Payload::of(b""),
        };
        let (signature, _) = sign_as(&request, signing, "20150830T123600Z");
        assert_eq!(signature.text, expected, "{uri}");
    }
}

#[test]
fn a_moment_is_written_as_aws_writes_it() {
    let moment = Moment::of(UNIX_EPOCH + Duration::from_secs(1_440_938_160));
    assert_eq!(
        (&*moment.0, moment.date()),
        ("20150830T123600Z", "20150830")
    );
}
