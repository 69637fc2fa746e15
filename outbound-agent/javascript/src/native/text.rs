//! URLs, text and base64.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rquickjs::{Ctx, Exception};
use url::{Url, form_urlencoded, quirks};

use super::Table;
use super::bytes::{Octets, array};

pub(super) fn define(table: &Table<'_>) -> rquickjs::Result<()> {
    urls(table)?;
    encodings(table)?;
    base64(table)
}

fn urls<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add(
        "url",
        move |ctx: Ctx<'js>, text: String, base: Option<String>| {
            shared.check(&ctx)?;
            let base = base.map(|base| Url::parse(&base)).transpose();
            let url = base.and_then(|base| Url::options().base_url(base.as_ref()).parse(&text));
            rquickjs::Result::Ok(url.ok().map(String::from))
        },
    )?;
    let shared = table.shared.clone();
    table.add("urlParts", move |ctx: Ctx<'js>, href: String| {
        shared.check(&ctx)?;
        rquickjs::Result::Ok(Url::parse(&href).ok().map(|url| parts(&url)))
    })?;
    let shared = table.shared.clone();
    table.add(
        "urlPart",
        move |ctx: Ctx<'js>, href: String, index: usize| {
            shared.check(&ctx)?;
            let part = Url::parse(&href).ok().and_then(|url| part(&url, index));
            rquickjs::Result::Ok(part)
        },
    )?;
    let shared = table.shared.clone();
    table.add(
        "urlSet",
        move |ctx: Ctx<'js>, href: String, part: String, value: String| {
            shared.check(&ctx)?;
            let changed = Url::parse(&href).ok().and_then(|mut url| {
                set(&mut url, &part, &value)?;
                Some(parts(&url))
            });
            rquickjs::Result::Ok(changed)
        },
    )?;
    let shared = table.shared.clone();
    table.add("formDecode", move |ctx: Ctx<'js>, text: String| {
        shared.check(&ctx)?;
        let pairs = form_urlencoded::parse(text.as_bytes());
        let flat = pairs.flat_map(|(name, value)| [name.into_owned(), value.into_owned()]);
        rquickjs::Result::Ok(flat.collect::<Vec<_>>())
    })?;
    let shared = table.shared.clone();
    table.add("formEncode", move |ctx: Ctx<'js>, flat: Vec<String>| {
        shared.check(&ctx)?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        let (pairs, _rest) = flat.as_chunks::<2>();
        for [name, value] in pairs {
            form.append_pair(name, value);
        }
        rquickjs::Result::Ok(form.finish())
    })
}

fn encodings<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add("encode", move |ctx: Ctx<'js>, text: String| {
        shared.check(&ctx)?;
        array(&ctx, text.as_bytes())
    })?;
    let shared = table.shared.clone();
    table.add(
        "decode",
        move |ctx: Ctx<'js>, bytes: Octets, fatal: bool, keep_mark: bool| {
            shared.check(&ctx)?;
            let text = match std::str::from_utf8(&bytes.0) {
                Ok(text) => Cow::Borrowed(text),
                Err(_broken) if fatal => {
                    return Err(Exception::throw_type(
                        &ctx,
                        "TextDecoder.decode: input is no UTF-8",
                    ));
                }
                Err(_broken) => String::from_utf8_lossy(&bytes.0),
            };
            let text = match text.strip_prefix('\u{feff}') {
                Some(rest) if !keep_mark => rest,
                _ => &text,
            };
            rquickjs::String::from_str(ctx.clone(), text).map(rquickjs::String::into_value)
        },
    )?;
    let shared = table.shared.clone();
    table.add("decodeLatin1", move |ctx: Ctx<'js>, bytes: Octets| {
        shared.check(&ctx)?;
        rquickjs::Result::Ok(
            bytes
                .0
                .iter()
                .map(|octet| windows_1252(*octet))
                .collect::<String>(),
        )
    })?;
    let shared = table.shared.clone();
    table.add(
        "find",
        move |ctx: Ctx<'js>, bytes: Octets, wanted: Octets, from: usize| {
            shared.check(&ctx)?;
            let rest = bytes.0.get(from..).unwrap_or_default();
            let found = rest
                .windows(wanted.0.len().max(1))
                .position(|window| *window == wanted.0);
            rquickjs::Result::Ok(found.map_or(-1.0, |at| (from + at) as f64))
        },
    )
}

fn base64<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add("toBase64", move |ctx: Ctx<'js>, text: String| {
        shared.check(&ctx)?;
        let octets: Vec<u8> = text
            .chars()
            .map(|c| u8::try_from(c).unwrap_or(b'?'))
            .collect();
        rquickjs::Result::Ok(FORGIVING.encode(octets))
    })?;
    let shared = table.shared.clone();
    table.add("fromBase64", move |ctx: Ctx<'js>, text: String| {
        shared.check(&ctx)?;
        rquickjs::Result::Ok(forgiving_decode(&text))
    })
}

/// A part of a URL, in the order of the prelude; `None` behind the last one.
fn part(url: &Url, index: usize) -> Option<String> {
    Some(match index {
        0 => quirks::href(url).to_owned(),
        1 => quirks::origin(url),
        2 => quirks::protocol(url).to_owned(),
        3 => quirks::username(url).to_owned(),
        4 => quirks::password(url).to_owned(),
        5 => quirks::host(url).to_owned(),
        6 => quirks::hostname(url).to_owned(),
        7 => quirks::port(url).to_owned(),
        8 => quirks::pathname(url).to_owned(),
        9 => quirks::search(url).to_owned(),
        10 => quirks::hash(url).to_owned(),
        _beyond => return None,
    })
}

/// All of them.
fn parts(url: &Url) -> String {
    let parts: Vec<String> = (0..).map_while(|index| part(url, index)).collect();
    parts.join("\n")
}

/// Changes a part; `None` where the value is refused.
fn set(url: &mut Url, part: &str, value: &str) -> Option<()> {
    match part {
        "href" => *url = Url::parse(value).ok()?,
        "protocol" => quirks::set_protocol(url, value).ok()?,
        "username" => quirks::set_username(url, value).ok()?,
        "password" => quirks::set_password(url, value).ok()?,
        "host" => quirks::set_host(url, value).ok()?,
        "hostname" => quirks::set_hostname(url, value).ok()?,
        "port" => quirks::set_port(url, value).ok()?,
        "pathname" => quirks::set_pathname(url, value),
        "search" => quirks::set_search(url, value),
        "hash" => quirks::set_hash(url, value),
        _unknown => return None,
    }
    Some(())
}

/// As the web decodes base64: blanks anywhere, padding or none. Gives one character per octet.
fn forgiving_decode(text: &str) -> Option<String> {
    let is_blank = |c: &char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}');
    let text: String = text.chars().filter(|c| !is_blank(c)).collect();
    let octets = FORGIVING.decode(text).ok()?;
    Some(octets.into_iter().map(char::from).collect())
}

/// What browsers take Latin-1 to be (Encoding Standard, section 9).
fn windows_1252(octet: u8) -> char {
    let index = usize::from(octet).checked_sub(0x80);
    let special = index.and_then(|index| WINDOWS_1252.get(index));
    special.copied().unwrap_or(char::from(octet))
}

const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_forgivingly() {
        assert_eq!(forgiving_decode(" YQ = = ").as_deref(), Some("a"));
        assert_eq!(forgiving_decode("YQ").as_deref(), Some("a"));
        assert_eq!(forgiving_decode("Y"), None);
        assert_eq!(forgiving_decode("Y-"), None);
    }
}
