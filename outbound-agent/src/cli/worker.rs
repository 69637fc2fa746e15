//! The command line of `outbound worker`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `outbound worker`
#[derive(Debug, Subcommand)]
pub enum Worker {
    /// Run a module once, without an agent, and print what it did
    Test(WorkerTest),
}

/// `outbound worker test`
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is sent: each `fetch` is answered here. Exit status: 0 where the module \
                  gives a response, 1 where it does not, 2 wrong usage."
)]
pub struct WorkerTest {
    /// The module; it may import what stands beside and below it
    #[arg(value_name = "MODULE")]
    pub main: PathBuf,
    /// The tenant's request, such as `GET https://api.example.com/v1`
    #[arg(long, value_name = "METHOD URL")]
    pub request: String,
    /// A field of the request, such as 'accept: text/html'
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// The body of the request; @FILE reads it from there
    #[arg(long, value_name = "TEXT")]
    pub body: Option<String>,
    /// A value on `env`: JSON, or else text
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub vars: Vec<String>,
    /// A dispatch parameter: on `env` under its name, and each member of an object under its own
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// A secret on `env`, whose key is made up
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,
    /// A cache on `env`
    #[arg(long = "cache", value_name = "NAME")]
    pub caches: Vec<String>,
    /// The export that answers [default: the default one]
    #[arg(long, value_name = "NAME")]
    pub entrypoint: Option<String>,
    /// What a `fetch` of a URL that begins so is answered [default: 200 and no body]
    #[arg(long = "fetch-response", value_name = "URL=STATUS[:FILE]")]
    pub answers: Vec<String>,
    /// Let every `fetch` fail that has no --fetch-response
    #[arg(long)]
    pub refuse_fetches: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
