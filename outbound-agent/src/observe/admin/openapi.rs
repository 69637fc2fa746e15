//! The admin API as an OpenAPI 3.1 document: `docs/openapi.json`, and what `/v1/openapi.json`
//! answers. It is made of the table of what is served and of the types that are read and written.

use schemars::generate::{Contract, SchemaSettings};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value as Json, json};

use super::operation::{Answer, Content, Offer, SERVED, Served};

/// The whole document, as it stands in the file.
pub fn text() -> String {
    format!("{:#}\n", document())
}

fn document() -> Json {
    let mut schemas = Schemas::new();
    let paths: Map<String, Json> = SERVED
        .iter()
        .map(|served| (served.path.to_owned(), schemas.path(served)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Outbound",
            "summary": "The admin API of the agent",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0 or MIT", "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [socket()],
        "paths": paths,
        "components": { "schemas": schemas.components() },
    })
}

const ABOUT: &str = "HTTP/1.1 and JSON on the agent's Unix socket (`admin_socket`, mode 0660, group \
`admin_group`): whoever may open the file may ask everything. `/metrics`, `/healthz` and `/readyz` \
are on the metrics address as well. A path that is not listed is answered with 404, another method \
with 405 and `Allow`.";

fn socket() -> Json {
    json!({ "url": "http://localhost", "description": "the admin socket" })
}

/// The schemas that operations refer to. What is read may lack what has a default; what is written
/// has it.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = |contract: Contract| {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
                settings.contract = contract;
            })
        };
        Self {
            read: settings(Contract::Deserialize).into_generator(),
            written: settings(Contract::Serialize).into_generator(),
        }
    }

    fn components(mut self) -> Map<String, Json> {
        let mut schemas = self.read.take_definitions(true);
        schemas.extend(self.written.take_definitions(true));
        schemas
    }

    fn path(&mut self, served: &Served) -> Json {
        let operations = served.offers.iter().map(|offer| {
            let method = offer.method.to_ascii_lowercase();
            (method, self.operation(served, offer))
        });
        let mut path: Map<String, Json> = operations.collect();
        let parameters: Vec<Json> = served.parameters().map(name).collect();
        if !parameters.is_empty() {
            path.insert("parameters".to_owned(), parameters.into());
        }
        if served.on_metrics {
            let metrics = json!({
                "url": "http://127.0.0.1:9464",
                "description": "the metrics address, as `metrics` in `[agent]` says",
            });
            path.insert("servers".to_owned(), json!([socket(), metrics]));
        }
        path.into()
    }

    fn operation(&mut self, served: &Served, offer: &Offer) -> Json {
        let answers = offer.answers.iter();
        let answers: Map<String, Json> = answers
            .map(|answer| (answer.0.to_string(), self.answer(answer)))
            .collect();
        let mut operation = json!({
            "operationId": format!("{:?}", offer.operation),
            "summary": offer.summary,
            "tags": [if served.on_metrics { "health" } else { "admin" }],
            "responses": answers,
        });
        if let Some(question) = offer.question {
            let schema = question(&mut self.read);
            operation["requestBody"] = json!({
                "required": true,
                "content": { "application/json": { "schema": schema } },
            });
        }
        if let Some([key, value, why]) = offer.query {
            operation["parameters"] = json!([{
                "name": key,
                "in": "query",
                "required": true,
                "description": why,
                "schema": { "const": value },
            }]);
        }
        operation
    }

    fn answer(&mut self, (_status, about, content): &Answer) -> Json {
        let (kind, schema): (&str, Schema) = match content {
            Content::Json(schema) => ("application/json", schema(&mut self.written)),
            Content::OpenApi => (
                "application/json",
                schemars::json_schema!({ "type": "object" }),
            ),
            Content::Lines => ("application/x-ndjson", text_of("an object of JSON a line")),
            Content::Metrics => ("text/plain", text_of("Prometheus' text format 0.0.4")),
        };
        json!({ "description": about, "content": { kind: { "schema": schema } } })
    }
}

fn text_of(about: &str) -> Schema {
    schemars::json_schema!({ "type": "string", "description": about })
}

/// A name in a path.
fn name(name: &str) -> Json {
    let about = match name {
        "name" => "the tenant's name",
        "namespace" => "the dispatch namespace's name",
        _ => "what the dispatch's answer calls it",
    };
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": about,
        "schema": { "type": "string" },
    })
}
