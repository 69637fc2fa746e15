//! `[credentials.NAME]`: each type has keys of its own, besides those that say where it may go.

use std::convert::Infallible;
use std::time::Duration;

use http::{HeaderName, Method, header};

use crate::config::document::{Node, Value};
use crate::config::kind::compound::{InPlace, List, Optional, Placed};
use crate::config::kind::credential::{
    ClaimTable, EndpointText, MethodText, PathPatternText, PlaceholderText, TemplateText,
    UsernameText,
};
use crate::config::kind::unit::{Size, Time};
use crate::config::kind::{Flag, HeaderText, Kind as _, TargetText, Text, TextKind, words};
use crate::config::problem::{KeyPath, Problems};
use crate::config::secret::{SecretReference, SecretText, WrapText};
use crate::config::section::{FromNode, Section as _, as_table, section};
use crate::model::credential::{ClientAuth, Endpoint, Wrap};
use crate::model::jwt::Algorithm;
use crate::model::pattern::PathPattern;
use crate::model::target::Target;
use crate::model::template::{Claims, Template};

/// What every credential says of where it may go.
#[derive(Clone, Debug)]
pub(in crate::config) struct Bound {
    pub(in crate::config) hosts: Vec<Placed<Target>>,
    pub(in crate::config) methods: Vec<Method>,
    pub(in crate::config) paths: Vec<PathPattern>,
    pub(in crate::config) allow_plaintext: bool,
    pub(in crate::config) scrub_bodies: bool,
}

/// Declares the types: each a section of the keys that all have and of its own.
macro_rules! credentials {
    ($(
        $(#[doc = $about:literal])+
        $name:ident, $word:ident $label:literal {$($own:tt)*}
    )+) => {
        /// A credential of one type.
        #[derive(Clone, Debug)]
        pub(in crate::config) enum Credential {
            $($name($name),)+
        }

        impl Credential {
            /// Where it may go.
            pub(in crate::config) fn bound(&self) -> Bound {
                match self {$(
                    Self::$name(section) => {
                        let $name { kind: _kind, hosts, methods, paths, allow_plaintext, scrub_bodies, .. } =
                            section.clone();
                        Bound { hosts, methods, paths, allow_plaintext, scrub_bodies }
                    }
                )+}
            }
        }

        impl FromNode for Credential {
            fn from_node(
                node: &Node,
                path: &KeyPath<'_>,
                problems: &mut Problems,
            ) -> Option<Self> {
                let table = as_table(node, path, problems)?;
                let key = KeyPath::Key(path, "type");
                let Some(entry) = table.0.get("type") else {
                    let accepted = TypeText::accepted();
                    let message = format!("the key `type` is missing; write {accepted}");
                    problems.add(&node.place, path, message);
                    return None;
                };
                match &entry.node.value {
                    $(Value::Text(text) if text == $label => {
                        $name::read(node, path, problems).map(Self::$name)
                    })+
                    _ => {
                        TypeText::read(&entry.node, &key, problems);
                        None
                    }
                }
            }
        }

        /// Each type's table, for the documents.
        pub(in crate::config) const TYPES: &[(&str, &str, fn() -> Vec<crate::config::section::Key>)] =
            &[$((
                concat!("[credentials.NAME], ", $label),
                $name::ABOUT,
                $name::keys,
            )),+];

        $(
            struct $word;

            impl TextKind for $word {
                type Out = ();
                const ACCEPTED: &str = concat!("\"", $label, "\"");
                const WORDS: &[&str] = &[$label];

                fn parse(text: &str) -> Result<(), Option<String>> {
                    if text == $label { Ok(()) } else { Err(None) }
                }

                fn show(_value: &()) -> String {
                    $label.to_owned()
                }
            }

            section! {
                $(#[doc = $about])+
                pub(in crate::config) struct $name {
                    /// This very word.
                    kind as "type": () as $word;
                    /// Targets that it may go to. Without a port: 80 and 443.
                    hosts: Vec<Placed<Target>> as List<InPlace<TargetText>>;
                    /// Methods that it goes with. None: all.
                    methods: Vec<Method> as List<MethodText> = Vec::new();
                    /// Paths that it goes to. None: all.
                    paths: Vec<PathPattern> as List<PathPatternText> = Vec::new();
                    $($own)*
                    /// Whether it may go over plain HTTP, where everybody on the way can read it.
                    allow_plaintext: bool as Flag = false;
                    /// Whether response bodies are searched for what was added, plain,
                    /// percent-encoded or in base64, and each byte of it becomes `*`, as in
                    /// response headers in any case. The request then asks for no content coding
                    /// and no range; a response in a coding all the same is refused.
                    scrub_bodies: bool as Flag = false;
                }
            }
        )+
    };
}

credentials! {
    /// What proves a tenant's right to an upstream, by name. The tenant never sees it: the agent
    /// adds it after everything else, over a connection whose certificate is the host's, and
    /// removes what the tenant sent in its place. Where it cannot be had, the request fails with
    /// 502 and `credential_unavailable`; it never goes out without.
    ///
    /// A secret is written as a reference: `file:/path` (read again when it changes), `env:NAME`
    /// of the agent, `credential:NAME` of its systemd unit, or `cmd:/program argument ...` (no
    /// shell: what it writes is the secret, for `secret_command_ttl`). One newline at its end is
    /// not part of it.
    ///
    /// The type `header` is a secret in one header.
    Header, HeaderWord "header" {
        /// The header's name.
        header: HeaderName as HeaderText = header::AUTHORIZATION;
        /// The header's value.
        value: Wrap as WrapText = Wrap::default();
        /// Where the secret is.
        secret: Placed<SecretReference> as InPlace<SecretText>;
    }
    /// The type `basic` is a user's name and password in `authorization` (RFC 7617).
    Basic, BasicWord "basic" {
        /// The user's name.
        username: String as UsernameText;
        /// Where the password is.
        secret: Placed<SecretReference> as InPlace<SecretText>;
    }
    /// The type `bearer` is a token in `authorization` (RFC 6750).
    Bearer, BearerWord "bearer" {
        /// Where the token is.
        secret: Placed<SecretReference> as InPlace<SecretText>;
    }
    /// The type `jwt` is a token that the agent signs itself (RFC 7519), anew shortly before it
    /// expires.
    Jwt, JwtWord "jwt" {
        /// The header's name.
        header: HeaderName as HeaderText = header::AUTHORIZATION;
        /// The header's value; `{secret}` is the token.
        value: Wrap as WrapText = bearer();
        /// Where the key is: for HS256 its bytes, 32 or more; otherwise PEM.
        key: Placed<SecretReference> as InPlace<SecretText>;
        /// How it is signed.
        algorithm: Algorithm as AlgorithmText;
        /// The key's name, `kid`, for a verifier that has several.
        key_id: Option<String> as Optional<Text> = None;
        /// What the token says. Texts may have `{tenant}` and `{params.NAME}` in them, where
        /// `NAME` is a parameter of the tenant or, as in `a.b`, a member of one. `iat` and `exp`
        /// are the agent's.
        claims: Claims as ClaimTable = Vec::new();
        /// How long it is valid.
        ttl: Duration as Time = Duration::from_secs(300);
    }
    /// The type `oauth2-client-credentials` is a token that the agent fetches (RFC 6749 section
    /// 4.4), anew shortly before it expires, once for all who wait for it. Tenants share one where
    /// `scope` and `audience` say nothing of them.
    OAuth2, OAuth2Word "oauth2-client-credentials" {
        /// The header's name.
        header: HeaderName as HeaderText = header::AUTHORIZATION;
        /// The header's value; `{secret}` is the token.
        value: Wrap as WrapText = bearer();
        /// Who gives it out. The agent verifies its certificate, as every upstream's.
        token_url: Endpoint as EndpointText;
        /// Who the agent is there.
        client_id: String as Text;
        /// Where the client's secret is.
        client_secret: Placed<SecretReference> as InPlace<SecretText>;
        /// How the agent shows it: in `authorization`, or in the form.
        client_auth: ClientAuth as ClientAuthText = ClientAuth::default();
        /// What the token is to allow. May have `{tenant}` and `{params.NAME}` in it.
        scope: Option<Template> as Optional<TemplateText> = None;
        /// For whom it is to be. May have them as well.
        audience: Option<Template> as Optional<TemplateText> = None;
    }
    /// The type `aws-sigv4` is a signature over the request, for AWS and what speaks like it
    /// (Signature Version 4). A signature that the tenant made, with a key that is none, is
    /// replaced; a presigned URL stays as it is. What the body's hash is follows from
    /// `x-amz-content-sha256` where the tenant sends it: a hash, `UNSIGNED-PAYLOAD`, or chunks,
    /// which are signed anew one by one. Without it a body for `s3` is not signed over TLS, and
    /// any other is held back for its hash.
    AwsSigV4, AwsSigV4Word "aws-sigv4" {
        /// Where the id of the key is.
        access_key_id: Placed<SecretReference> as InPlace<SecretText>;
        /// Where the key is.
        secret_access_key: Placed<SecretReference> as InPlace<SecretText>;
        /// Where the token of a temporary key is.
        session_token: Option<Placed<SecretReference>> as Optional<InPlace<SecretText>> = None;
        /// The region.
        region: String as Text;
        /// The service, as AWS names it in signatures.
        service: String as Text;
        /// The longest body, or chunk of one, that is held back for its hash. A longer one fails.
        body_limit: usize as Size = 8 << 20;
    }
    /// The type `placeholder` is a secret in the place of a text that the tenant holds, for
    /// clients that insist on a token of their own. It is swapped in every header that frames
    /// nothing, also within Basic.
    Placeholder, PlaceholderWord "placeholder" {
        /// The text that the tenant holds. It is no secret.
        placeholder: String as PlaceholderText;
        /// Where the secret is.
        secret: Placed<SecretReference> as InPlace<SecretText>;
        /// Whether query strings are searched as well. The secret is percent-encoded there.
        in_query: bool as Flag = false;
        /// Whether bodies are: JSON and forms get the secret as they write it, others as it is.
        in_body: bool as Flag = false;
        /// The longest body with a length that is searched: it is held back, for its new length.
        /// A longer one passes as it is; one without a length is searched as it passes.
        body_limit: usize as Size = 1 << 20;
    }
    /// The type `mtls` is a client's certificate, shown to an upstream that asks for one. It goes
    /// with the connection: one that was made with it serves no request that it does not go with,
    /// nor another tenant's. Of several that go with a request the first is shown.
    Mtls, MtlsWord "mtls" {
        /// Where the certificate is (PEM), with the chain behind it.
        certificate: Placed<SecretReference> as InPlace<SecretText>;
        /// Where its key is (PEM).
        key: Placed<SecretReference> as InPlace<SecretText>;
    }
}

words!(ClientAuthText: ClientAuth, "\"basic\" or \"post\"", {
    "basic" => ClientAuth::Basic,
    "post" => ClientAuth::Post,
});

/// `Bearer {secret}` (RFC 6750 section 2.1).
pub(in crate::config) fn bearer() -> Wrap {
    Wrap {
        before: "Bearer ".into(),
        after: "".into(),
    }
}

/// The type of a credential that has none of the types.
struct TypeText;

impl TextKind for TypeText {
    type Out = Infallible;
    const ACCEPTED: &str = "\"header\", \"basic\", \"bearer\", \"jwt\", \"oauth2-client-credentials\", \"aws-sigv4\", \"placeholder\" or \"mtls\"";

    fn parse(_text: &str) -> Result<Infallible, Option<String>> {
        Err(None)
    }

    fn show(value: &Infallible) -> String {
        match *value {}
    }
}

words!(AlgorithmText: Algorithm, "\"HS256\", \"RS256\", \"ES256\" or \"EdDSA\"", {
    "HS256" => Algorithm::Hs256,
    "RS256" => Algorithm::Rs256,
    "ES256" => Algorithm::Es256,
    "EdDSA" => Algorithm::EdDsa,
});
