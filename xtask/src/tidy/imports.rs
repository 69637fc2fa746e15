//! Which module of the agent may import which: within one crate the compiler will not say.

use super::source::{Source, Word, words};

/// From the words of the domain outwards: a module, what it may import besides itself.
const LAYERS: [(&str, &[&str]); 20] = [
    ("model", &[]),
    ("sys", &[]),
    ("drain", &[]),
    ("config", &["model"]),
    ("redirect", &["model", "config", "sys"]),
    ("tenants", &["model", "config", "sys", "redirect"]),
    ("path", &["model", "config", "sys", "drain"]),
    (
        "server",
        &[
            "connection",
            "query",
            "hold",
            "path::accept",
            "path::dns",
            "drain",
        ],
    ),
    ("namespaces", &["model", "sys", "redirect", "server"]),
    ("observe", &["model", "config", "drain"]),
    (
        "exchange",
        &[
            "connection",
            STORY[0],
            STORY[1],
            STORY[2],
            STORY[3],
            STORY[4],
            STORY[5],
        ],
    ),
    (
        "connection",
        &[
            "exchange", "query", STORY[0], STORY[1], STORY[2], STORY[3], STORY[4], STORY[5],
        ],
    ),
    (
        "hold",
        &[
            "connection",
            "redirect",
            "sys",
            STORY[0],
            STORY[1],
            STORY[2],
            STORY[3],
            STORY[5],
        ],
    ),
    (
        "query",
        &[
            "connection",
            STORY[0],
            STORY[1],
            STORY[2],
            STORY[3],
            STORY[4],
            STORY[5],
        ],
    ),
    ("token", &["connection", "path", "model"]),
    ("cli", &["config", "model"]),
    (
        "command",
        &[
            "cli",
            "config",
            "model",
            "sys",
            "app",
            "redirect",
            "tenants::runs",
            "path::policy",
            "path::worker",
            "observe::admin",
        ],
    ),
    ("app", &[""]),
    ("main", &[""]),
    ("lib", &[""]),
];

/// What the stories join: the stages, the records, the end of it all.
const STORY: [&str; 6] = [
    "path",
    "observe::record",
    "observe::labels",
    "drain",
    "config",
    "model",
];

/// The stages in path order: one may name the types of an earlier one and nothing else of it.
const STAGES: [&str; 12] = [
    "accept",
    "identify",
    "limits",
    "detect",
    "tls",
    "http",
    "policy",
    "worker",
    "credentials",
    "upstream",
    "tunnel",
    "dns",
];

pub(super) fn complaints(source: &Source) -> Vec<String> {
    let Some(file) = source.path.strip_prefix("outbound-agent/src/") else {
        return Vec::new();
    };
    if file.ends_with("/tests.rs") {
        return Vec::new();
    }
    let module: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    let code = source.production_code();
    let mut complaints = Vec::new();
    let own = module.join("::");
    let row = LAYERS
        .iter()
        .filter(|(layer, _imports)| is_below(&own, layer))
        .max_by_key(|(layer, _imports)| layer.len());
    let Some((_layer, imports)) = row else {
        let text = format!("{own} stands in no row of tidy's import table");
        return vec![source.complaint(0, &text)];
    };
    for (offset, path) in references(&code, &module) {
        let Some(first) = path.first().filter(|first| **first != module[0]) else {
            complaints
                .extend(stage_offence(&module, &path).map(|text| source.complaint(offset, &text)));
            continue;
        };
        // A macro or a type of the crate's root.
        if !LAYERS.iter().any(|(layer, _)| layer == first) {
            continue;
        }
        let name = path.join("::");
        if !imports.iter().any(|import| is_below(&name, import)) {
            let text = format!("{own} may not import {name}");
            complaints.push(source.complaint(offset, &text));
        }
    }
    complaints
}

/// Whether `path` is `module` or something of it; everything is below the nameless root.
fn is_below(path: &str, module: &str) -> bool {
    module.is_empty()
        || path
            .strip_prefix(module)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Types flow forward along the path; calls do not.
fn stage_offence(module: &[&str], path: &[&str]) -> Option<String> {
    let (["path", ours, ..], ["path", theirs, rest @ ..]) = (module, path) else {
        return None;
    };
    let place = |stage: &str| STAGES.iter().position(|name| *name == stage);
    let (our_place, their_place) = (place(ours)?, place(theirs)?);
    if our_place == their_place {
        return None;
    }
    let is_type = rest
        .last()
        .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_uppercase()));
    if their_place > our_place {
        Some(format!(
            "stage {ours} may not know the later stage {theirs}"
        ))
    } else if is_type {
        None
    } else {
        let name = rest.join("::");
        Some(format!(
            "stage {ours} may take types of {theirs}, not `{name}`"
        ))
    }
}

/// Every path that starts at `crate` or `super`, from the crate's root, with its place.
fn references<'a>(code: &'a str, module: &[&'a str]) -> Vec<(usize, Vec<&'a str>)> {
    let mut found = Vec::new();
    for Word { text, start } in words(code) {
        if code[..start].ends_with("::") {
            continue;
        }
        let after = &code[start + text.len()..];
        let (base, rest) = match text {
            "crate" => (Vec::new(), after),
            "super" => climbed(module, after),
            _ => continue,
        };
        if let Some(rest) = rest.strip_prefix("::") {
            let mut paths = Vec::new();
            tree(rest, &base, &mut paths);
            found.extend(paths.into_iter().map(|path| (start, path)));
        }
    }
    found
}

/// The module that `super` and every further `super` behind it lead to.
fn climbed<'a, 'b>(module: &[&'a str], mut rest: &'b str) -> (Vec<&'a str>, &'b str) {
    let mut base = module.to_vec();
    base.pop();
    while let Some(after) = rest.strip_prefix("::super") {
        base.pop();
        rest = after;
    }
    (base, rest)
}

/// Takes `a::{b, c::d}` apart; gives what follows.
fn tree<'a>(text: &'a str, base: &[&'a str], found: &mut Vec<Vec<&'a str>>) -> &'a str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if rest.is_empty() || rest.starts_with('}') {
                return rest.get(1..).unwrap_or_default();
            }
            let before = rest.len();
            rest = tree(rest, base, found).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest);
            // Anything that is no path, such as `as name`, is stepped over.
            if rest.len() == before {
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    let Some(word) = words(text).next().filter(|word| word.start == 0) else {
        return text;
    };
    let mut path = base.to_vec();
    if word.text != "self" {
        path.push(word.text);
    }
    let rest = &text[word.text.len()..];
    match rest.strip_prefix("::") {
        Some(further) => tree(further, &path, found),
        None => {
            found.push(path);
            rest
        }
    }
}

#[cfg(test)]
mod tests;
