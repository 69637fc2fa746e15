use std::path::Path;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::*;
use crate::model::credential::{Binding, Field, Jwt, Wrap};
use crate::model::secret::{Origin, Source};
use crate::model::template::{Claim, Template};
use crate::model::tenant::TenantId;
use crate::path::http::body;

fn source(value: &[u8]) -> Source {
    Source {
        name: "env:TOKEN".into(),
        origin: Origin::Fixed(Secret::new(value.to_vec())),
    }
}

fn credential(kind: Kind) -> Credential {
    Credential {
        name: "api".into(),
        binding: Binding::default(),
        scrub_bodies: false,
        kind,
    }
}

fn field() -> Field {
    Field {
        name: AUTHORIZATION,
        wrap: Wrap::default(),
    }
}

/// There is nobody to ask.
struct Nobody;

impl Ask for Nobody {
    fn ask<'a>(
        &'a self,
        _endpoint: &'a crate::model::credential::Endpoint,
        _request: http::Request<Bytes>,
    ) -> oauth2::Asked<'a> {
        Box::pin(async { Err(Reason::UpstreamRefused) })
    }
}

fn store() -> Credentials {
    Credentials::new(Limits {
        command: Duration::from_secs(10),
        command_ttl: Duration::from_secs(300),
        body: Duration::from_secs(10),
    })
}

async fn added(
    store: &Credentials,
    credential: &Credential,
    tenant: &str,
) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    headers.append(AUTHORIZATION, HeaderValue::from_static("mine"));
    headers.append(AUTHORIZATION, HeaderValue::from_static("mine too"));
    let subject = Subject {
        tenant: &TenantId::new(tenant).unwrap(),
        parameters: &Map::new(),
    };
    let mut leaving = Leaving {
        method: &Method::GET,
        authority: "api.test",
        is_secure: true,
        uri: &mut Uri::from_static("/"),
        headers: &mut headers,
        body: &mut body::Source::empty(),
        identity: &mut None,
    };
    let mut scrub = Scrub::default();
    let added = store.add(credential, subject, &mut leaving, &mut scrub, &Nobody);
    assert_eq!(added.await?, Added::Injected);
    Ok(headers)
}

#[tokio::test]
async fn the_tenants_own_header_is_replaced() {
    let credential = credential(Kind::Header {
        field: field(),
        secret: source(b"Bearer s"),
    });
    let headers = added(&store(), &credential, "acme").await.unwrap();
    let values: Vec<_> = headers.get_all(AUTHORIZATION).iter().collect();
    assert_eq!(values, ["Bearer s"]);
    assert!(values[0].is_sensitive());
}

#[tokio::test]
async fn what_cannot_be_a_header_fails_the_request() {
    let credential = credential(Kind::Header {
        field: field(),
        secret: source(b"a\nb"),
    });
    let failed = added(&store(), &credential, "acme").await;
    assert!(matches!(failed, Err(Error::NoHeader)));
}

#[tokio::test]
async fn what_cannot_be_read_fails_the_request() {
    let secret = Source {
        name: "file:/nowhere".into(),
        origin: Origin::File(Path::new("/nowhere").into()),
    };
    let credential = credential(Kind::Header {
        field: field(),
        secret,
    });
    let failed = added(&store(), &credential, "acme").await;
    assert!(matches!(failed, Err(Error::Secret { .. })));
}

/// The example of RFC 7617 section 2.
#[tokio::test]
async fn basic_is_written_as_the_standard_says() {
    let credential = credential(Kind::Basic {
        username: "Aladdin".into(),
        password: source(b"open sesame"),
    });
    let headers = added(&store(), &credential, "acme").await.unwrap();
    assert_eq!(headers[AUTHORIZATION], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

fn jwt(claims: &[(&str, &str)]) -> Credential {
    let claim = |(name, text): &(&str, &str)| {
        let template = Template::new(text).unwrap();
        ((*name).into(), Claim::Text(template))
    };
    credential(Kind::Jwt(Box::new(Jwt {
        field: field(),
        key: source(&[7; 32]),
        algorithm: jwt::Algorithm::Hs256,
        key_id: None,
        claims: claims.iter().map(claim).collect(),
        ttl: Duration::from_secs(100),
    })))
}

fn token(headers: &HeaderMap) -> &str {
    headers[AUTHORIZATION].to_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_token_is_minted_for_each_tenant_and_again_before_it_expires() {
    let (store, credential) = (store(), jwt(&[("sub", "{tenant}"), ("aud", "api")]));
    let acme = added(&store, &credential, "acme").await.unwrap();
    let claims = token(&acme).split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(
        (&claims["sub"], &claims["aud"]),
        (&json!("acme"), &json!("api"))
    );
    let lifetime = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(lifetime, 100);

    let globex = added(&store, &credential, "globex").await.unwrap();
    assert_ne!(token(&acme), token(&globex), "each says whose it is");
    assert_eq!(store.tokens.count(), 2);
    store.forget_expired();
    assert_eq!(store.tokens.count(), 2);
    tokio::time::advance(Duration::from_secs(90)).await;
    store.forget_expired();
    assert_eq!(
        store.tokens.count(),
        0,
        "a tenth of its time is left, and it is replaced"
    );
}

#[tokio::test]
async fn a_tenant_of_whom_too_little_is_known_gets_no_token() {
    let failed = added(&store(), &jwt(&[("sub", "{params.customer}")]), "acme").await;
    assert!(matches!(failed, Err(Error::Fill(_))));
}
