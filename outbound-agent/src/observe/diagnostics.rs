//! What the agent says about itself, on standard error.
//!
//! Traffic is not told here but in the access log. `OUTBOUND_LOG` overrides the configured
//! level with a filter per module, as in `info,outbound_agent::path=trace`.

use std::env;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;
use std::sync::OnceLock;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::set_global_default;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{self, MakeWriter};

/// How a diagnostic looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The variable with the filter.
pub const VARIABLE: &str = "OUTBOUND_LOG";

/// Why diagnostics could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variable's value.
    #[error("{VARIABLE} is not a filter, as in `debug` or `info,outbound_agent::path=trace`")]
    Filter {
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// They were started before.
    #[error("diagnostics are started already")]
    Started {
        /// What tracing says.
        source: tracing::subscriber::SetGlobalDefaultError,
    },
}

/// The text is no format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the format of diagnostics is `text` or `json`")]
pub struct FormatError;

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(FormatError),
        }
    }
}

/// Starts them, for the whole process, once.
pub fn start(level: LevelFilter, format: Format) -> Result<(), Error> {
    let filter = filter(level, env::var(VARIABLE).ok().as_deref())?;
    let has_colour = io::stderr().is_terminal();
    let (subscriber, replace) = subscriber(filter, format, has_colour, io::stderr);
    set_global_default(subscriber).map_err(|source| Error::Started { source })?;
    // They are started once.
    let _first = FILTER.set(replace);
    Ok(())
}

/// Says more or less from now on, unless the variable says how much.
pub fn set_level(level: LevelFilter) {
    let filter = filter(level, env::var(VARIABLE).ok().as_deref());
    if let (Ok(filter), Some(replace)) = (filter, FILTER.get()) {
        replace(filter);
    }
}

/// Replaces the filter of the diagnostics that were started.
static FILTER: OnceLock<Replace> = OnceLock::new();

/// Ours at `level`; of the libraries only what an operator should know.
fn filter(level: LevelFilter, variable: Option<&str>) -> Result<EnvFilter, Error> {
    let libraries = level.min(LevelFilter::WARN);
    let ours = format!("{libraries},outbound={level}");
    let directives = variable
        .filter(|text| !text.trim().is_empty())
        .unwrap_or(&ours);
    EnvFilter::builder()
        .parse(directives)
        .map_err(|source| Error::Filter { source })
}

type Replace = Box<dyn Fn(EnvFilter) + Send + Sync>;

fn subscriber<W>(
    filter: EnvFilter,
    format: Format,
    has_colour: bool,
    writer: W,
) -> (Box<dyn Subscriber + Send + Sync>, Replace)
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let builder = fmt::Subscriber::builder()
        .with_env_filter(filter)
        .with_writer(writer);
    // What cannot be replaced has ended with the process.
    match format {
        Format::Text => {
            let builder = builder.with_ansi(has_colour).with_filter_reloading();
            let handle = builder.reload_handle();
            let replace = Box::new(move |filter| drop(handle.reload(filter)));
            (Box::new(builder.finish()), replace)
        }
        Format::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            let replace = Box::new(move |filter| drop(handle.reload(filter)));
            (Box::new(builder.finish()), replace)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;
    use tracing::{debug, info};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[track_caller]
    fn said(variable: Option<&str>, format: Format) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let filter = filter(LevelFilter::INFO, variable).unwrap();
        let (subscriber, _replace) = subscriber(filter, format, false, move || writer.clone());
        with_default(subscriber, || {
            info!(tenant = "acme", "agent ready");
            debug!("connection refused");
            info!(target: "hyper", "library detail");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_level_holds_for_our_modules_and_libraries_keep_quiet() {
        let text = said(None, Format::Text);
        assert!(text.contains("agent ready tenant=\"acme\""), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn json_is_one_object_per_line() {
        let text = said(None, Format::Json);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["message"], "agent ready");
        assert_eq!(object["tenant"], "acme");
        assert_eq!(object["level"], "INFO");
    }

    #[test]
    fn the_variable_overrides_the_level() {
        assert_eq!(said(Some("trace"), Format::Text).lines().count(), 3);
        assert_eq!(said(Some("off"), Format::Text), "");
        assert_eq!(said(Some(" "), Format::Text).lines().count(), 1);
        assert!(matches!(
            filter(LevelFilter::INFO, Some("a=b=c")),
            Err(Error::Filter { .. })
        ));
    }

    #[test]
    fn a_format_is_text_or_json() {
        assert_eq!("json".parse(), Ok(Format::Json));
        assert_eq!("xml".parse::<Format>(), Err(FormatError));
    }
}
