//! Dispatch parameters as the command line says them: `--param k=v`, `--params-json FILE`.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use crate::cli::Parameters;

/// What was said; `None` where nothing was. The file first, then each `--param` in it.
pub(super) fn read(said: &Parameters) -> anyhow::Result<Option<Map<String, Value>>> {
    if said.param.is_empty() && said.params_json.is_none() {
        return Ok(None);
    }
    let mut parameters = match &said.params_json {
        Some(file) => of_file(file)?,
        None => Map::new(),
    };
    for said in &said.param {
        set(&mut parameters, said).with_context(|| format!("--param {said}"))?;
    }
    Ok(Some(parameters))
}

fn of_file(file: &Path) -> anyhow::Result<Map<String, Value>> {
    let (text, shown) = match file.to_str() {
        Some("-") => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            (read.map(|_length| text), "standard input".to_owned())
        }
        _ => (std::fs::read_to_string(file), file.display().to_string()),
    };
    let text = text.with_context(|| format!("--params-json: cannot read {shown}"))?;
    serde_json::from_str(&text)
        .with_context(|| format!("--params-json: {shown} is no object of parameters in JSON"))
}

/// `a.b=v`: the member `b` of the parameter `a`. The value is JSON where it can be read as such,
/// otherwise a text.
fn set(parameters: &mut Map<String, Value>, said: &str) -> anyhow::Result<()> {
    let Some((path, value)) = said.split_once('=') else {
        bail!("write NAME=VALUE");
    };
    let value = serde_json::from_str(value).unwrap_or_else(|_text| value.into());
    let (parents, name) = match path.rsplit_once('.') {
        Some((parents, name)) => (Some(parents), name),
        None => (None, path),
    };
    let mut within = parameters;
    for parent in parents.into_iter().flat_map(|parents| parents.split('.')) {
        if parent.is_empty() {
            bail!("there is a name missing beside a dot");
        }
        let member = within.entry(parent).or_insert_with(|| Map::new().into());
        let Value::Object(members) = member else {
            bail!("`{parent}` is {member} already, and has no members");
        };
        within = members;
    }
    match within.get(name) {
        _ if name.is_empty() => bail!("there is a name missing before the `=`"),
        Some(said) => bail!("`{path}` is {said} already"),
        None => within.insert(name.to_owned(), value),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(param: &[&str], params_json: Option<&Path>) -> anyhow::Result<Option<Value>> {
        let parameters = read(&Parameters {
            param: param.iter().map(|&said| said.to_owned()).collect(),
            params_json: params_json.map(Path::to_owned),
        });
        Ok(parameters?.map(Value::Object))
    }

    #[track_caller]
    fn refused(param: &[&str], words: &str) {
        let error = format!("{:#}", said(param, None).unwrap_err());
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn a_value_is_json_where_it_can_be_and_a_text_otherwise() {
        let parameters = said(
            &[
                "a=7",
                "b=\"7\"",
                "c=free",
                "d={\"x\": [1]}",
                "e=",
                "f=a=b",
                "g.h.i=true",
                "g.k=null",
            ],
            None,
        );
        let expected = json!({
            "a": 7, "b": "7", "c": "free", "d": { "x": [1] }, "e": "", "f": "a=b",
            "g": { "h": { "i": true }, "k": null },
        });
        assert_eq!(parameters.unwrap(), Some(expected));
        assert_eq!(said(&[], None).unwrap(), None);
    }

    #[test]
    fn what_means_two_things_or_none_is_refused() {
        refused(&["plan"], "--param plan: write NAME=VALUE");
        refused(&["=7"], "a name missing");
        refused(&["a..b=7"], "a name missing");
        refused(&["a.=7"], "a name missing");
        refused(&["a=1", "a=2"], "`a` is 1 already");
        refused(&["a=1", "a.b=2"], "`a` is 1 already, and has no members");
        refused(&["a.b=1", "a=2"], "already");
    }

    #[test]
    fn a_file_is_an_object_and_what_is_said_beside_it_joins_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("params.json");
        std::fs::write(&file, r#"{"a": {"b": 1}}"#).unwrap();
        let parameters = said(&["a.c=2", "d=x"], Some(&file)).unwrap();
        assert_eq!(
            parameters,
            Some(json!({ "a": { "b": 1, "c": 2 }, "d": "x" }))
        );
        std::fs::write(&file, "[1]").unwrap();
        let error = format!("{:#}", said(&[], Some(&file)).unwrap_err());
        assert!(
            error.contains("is no object of parameters in JSON"),
            "{error}"
        );
        let missing = format!("{:#}", said(&[], Some(Path::new("/nowhere"))).unwrap_err());
        assert!(missing.contains("cannot read /nowhere"), "{missing}");
    }
}
