//! Everything that is served, as one table: requests are answered by it, and the OpenAPI document
//! is made of it, so that neither knows what the other does not.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::routes::Surface;
use super::view::{
    Assign, Assigned, AssignmentList, Cgroup, Dispatch, DispatchList, Dispatched, Health,
    Judgement, Listens, Namespace, Problem, Question, Ready, Reloaded, Status, TenantList,
    TenantView,
};

/// One path, and what can be done there.
pub(super) struct Served {
    /// The path; `{name}` stands for one segment of it.
    pub(super) path: &'static str,
    /// Whether the metrics address has it as well.
    pub(super) on_metrics: bool,
    /// By method.
    pub(super) offers: &'static [Offer],
}

/// A method, and what it does.
pub(super) struct Offer {
    pub(super) method: &'static str,
    pub(super) operation: Operation,
    pub(super) summary: &'static str,
    /// What its query has to be: a key, a value, and why.
    pub(super) query: Option<[&'static str; 3]>,
    /// What its body has to be.
    pub(super) question: Option<Make>,
    pub(super) answers: &'static [Answer],
}

/// A status, when it is given, and with what.
pub(super) type Answer = (u16, &'static str, Content);

/// What an answer's body is.
pub(super) enum Content {
    Json(Make),
    /// An object of JSON a line.
    Lines,
    /// Prometheus' text format.
    Metrics,
    /// This document.
    OpenApi,
}

/// Makes a type's schema.
pub(super) type Make = fn(&mut SchemaGenerator) -> Schema;

/// One thing that can be asked of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Metrics,
    Healthz,
    Readyz,
    OpenApi,
    Status,
    Tenants,
    Tenant,
    ListenIn,
    Assignments,
    Assign,
    Unassign,
    Dispatches,
    Dispatch,
    Dispatched,
    EndDispatch,
    Check,
    Reload,
    Events,
}

impl Served {
    /// What a path is, where it is one of a surface's, and the names in it. They need no escaping.
    pub(super) fn find(surface: Surface, path: &str) -> Option<(&'static Self, Vec<String>)> {
        let is_here = |served: &&Self| served.on_metrics || surface == Surface::Admin;
        let mut served = SERVED.iter().filter(is_here);
        served.find_map(|served| Some((served, served.names(path)?)))
    }

    pub(super) fn offer(&self, method: &str) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.method == method)
    }

    /// As in `Allow`.
    pub(super) fn methods(&self) -> String {
        let methods: Vec<&str> = self.offers.iter().map(|offer| offer.method).collect();
        methods.join(", ")
    }

    /// What the names in its path are called, in their order.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &'static str> + use<> {
        let segments = self.path.split('/');
        segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    fn names(&self, path: &str) -> Option<Vec<String>> {
        let mut names = Vec::new();
        let mut said = path.split('/');
        for segment in self.path.split('/') {
            let said = said.next()?;
            if segment.starts_with('{') {
                names.push(said.to_owned());
            } else if segment != said {
                return None;
            }
        }
        let is_whole = said.next().is_none() && names.iter().all(|name| !name.is_empty());
        is_whole.then_some(names)
    }
}

impl Offer {
    const fn get(operation: Operation, summary: &'static str, answers: &'static [Answer]) -> Self {
        Self::new("GET", operation, summary, answers)
    }

    const fn new(
        method: &'static str,
        operation: Operation,
        summary: &'static str,
        answers: &'static [Answer],
    ) -> Self {
        Self {
            method,
            operation,
            summary,
            query: None,
            question: None,
            answers,
        }
    }

    const fn asked(mut self, question: Make) -> Self {
        self.question = Some(question);
        self
    }
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

use Content::Json;

const UNREADABLE: Answer = (
    400,
    "What is asked cannot be read, or says what it may not",
    Json(of::<Problem>),
);
const MISSING: Answer = (
    404,
    "Something that it names is not there",
    Json(of::<Problem>),
);
const NOT_NOW: Answer = (409, "Not as things stand", Json(of::<Problem>));
const FAILED: Answer = (
    500,
    "The system does not let the agent",
    Json(of::<Problem>),
);

pub(super) static SERVED: [Served; 14] = [
    Served {
        path: "/metrics",
        on_metrics: true,
        offers: &[Offer::get(
            Operation::Metrics,
            "Every metric, for Prometheus",
            &[(200, "They are listed in docs/metrics.md", Content::Metrics)],
        )],
    },
    Served {
        path: "/healthz",
        on_metrics: true,
        offers: &[Offer::get(
            Operation::Healthz,
            "Whether the agent lives",
            &[(200, "It does", Json(of::<Health>))],
        )],
    },
    Served {
        path: "/readyz",
        on_metrics: true,
        offers: &[Offer::get(
            Operation::Readyz,
            "Whether tenants are served",
            &[
                (200, "They are", Json(of::<Ready>)),
                (503, "Not yet, or not any more", Json(of::<Ready>)),
            ],
        )],
    },
    Served {
        path: "/v1/openapi.json",
        on_metrics: false,
        offers: &[Offer::get(
            Operation::OpenApi,
            "This document",
            &[(200, "OpenAPI 3.1", Content::OpenApi)],
        )],
    },
    Served {
        path: "/v1/status",
        on_metrics: false,
        offers: &[Offer::get(
            Operation::Status,
            "The agent as a whole",
            &[(200, "What it is and does", Json(of::<Status>))],
        )],
    },
    Served {
        path: "/v1/tenants",
        on_metrics: false,
        offers: &[Offer::get(
            Operation::Tenants,
            "Every tenant",
            &[(200, "In the order of their names", Json(of::<TenantList>))],
        )],
    },
    Served {
        path: "/v1/tenants/{name}",
        on_metrics: false,
        offers: &[Offer::get(
            Operation::Tenant,
            "One tenant",
            &[(200, "The tenant", Json(of::<TenantView>)), MISSING],
        )],
    },
    Served {
        path: "/v1/tenants/{name}/namespaces",
        on_metrics: false,
        offers: &[Offer::new(
            "POST",
            Operation::ListenIn,
            "Listen in a network namespace that a process of the tenant is about to start in",
            &[
                (200, "The agent listens there", Json(of::<Listens>)),
                UNREADABLE,
                MISSING,
                NOT_NOW,
                FAILED,
            ],
        )
        .asked(of::<Namespace>)],
    },
    Served {
        path: "/v1/assignments",
        on_metrics: false,
        offers: &[
            Offer::get(
                Operation::Assignments,
                "Every cgroup that is a tenant's",
                &[(
                    200,
                    "In the order of their directories",
                    Json(of::<AssignmentList>),
                )],
            ),
            Offer::new(
                "PUT",
                Operation::Assign,
                "Make a cgroup a tenant's; it stays so when the agent is started again",
                &[
                    (200, "It is", Json(of::<Assigned>)),
                    UNREADABLE,
                    MISSING,
                    NOT_NOW,
                    FAILED,
                ],
            )
            .asked(of::<Assign>),
            Offer::new(
                "DELETE",
                Operation::Unassign,
                "Take a cgroup back that was assigned",
                &[
                    (200, "It is nobody's", Json(of::<Assigned>)),
                    UNREADABLE,
                    MISSING,
                    NOT_NOW,
                    FAILED,
                ],
            )
            .asked(of::<Cgroup>),
        ],
    },
    Served {
        path: "/v1/namespaces/{namespace}/dispatch",
        on_metrics: false,
        offers: &[
            Offer::get(
                Operation::Dispatches,
                "What is dispatched in a namespace",
                &[
                    (
                        200,
                        "In the order in which it was",
                        Json(of::<DispatchList>),
                    ),
                    MISSING,
                ],
            ),
            Offer::new(
                "POST",
                Operation::Dispatch,
                "Give a tenant's processes in a cgroup their parameters",
                &[
                    (201, "They have them", Json(of::<Dispatched>)),
                    UNREADABLE,
                    MISSING,
                    NOT_NOW,
                    FAILED,
                ],
            )
            .asked(of::<Dispatch>),
        ],
    },
    Served {
        path: "/v1/namespaces/{namespace}/dispatch/{id}",
        on_metrics: false,
        offers: &[
            Offer::get(
                Operation::Dispatched,
                "One dispatch",
                &[(200, "The dispatch", Json(of::<Dispatched>)), MISSING],
            ),
            Offer::new(
                "DELETE",
                Operation::EndDispatch,
                "End a dispatch",
                &[
                    (200, "What it was", Json(of::<Dispatched>)),
                    MISSING,
                    NOT_NOW,
                    FAILED,
                ],
            ),
        ],
    },
    Served {
        path: "/v1/policy:check",
        on_metrics: false,
        offers: &[Offer::new(
            "POST",
            Operation::Check,
            "What would happen to a request under the configuration that holds, and by which rule",
            &[
                (200, "That, and why", Json(of::<Judgement>)),
                UNREADABLE,
                MISSING,
                FAILED,
            ],
        )
        .asked(of::<Question>)],
    },
    Served {
        path: "/v1/reload",
        on_metrics: false,
        offers: &[Offer::new(
            "POST",
            Operation::Reload,
            "Read the configuration again; it is taken whole or not at all",
            &[
                (200, "It holds", Json(of::<Reloaded>)),
                (
                    422,
                    "It is wrong, and the last good one holds",
                    Json(of::<Problem>),
                ),
                FAILED,
            ],
        )],
    },
    Served {
        path: "/v1/events",
        on_metrics: false,
        offers: &[Offer {
            query: Some(["follow", "1", "Events are only sent as they happen"]),
            ..Offer::get(
                Operation::Events,
                "The access log, as it is written",
                &[
                    (
                        200,
                        "A line each, until the agent or the client ends it",
                        Content::Lines,
                    ),
                    UNREADABLE,
                ],
            )
        }],
    },
];
