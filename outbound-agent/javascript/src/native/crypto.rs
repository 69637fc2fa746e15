//! Digests, keys and signatures, on the provider that TLS uses as well.

mod der;
mod key;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use ring::digest::{self, digest};
use rquickjs::class::{Class, Trace};
use rquickjs::{Array, Ctx, Exception, IntoJs as _, JsLifetime, Value};

use super::Table;
use super::bytes::{Octets, array};
use key::Key;

/// A key as the prelude holds it; freed when nobody does.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
struct KeyHandle {
    #[qjs(skip_trace)]
    key: Rc<Key>,
}

/// Keys that were imported lately, by the digest of what they were made from: a handler that
/// imports the same key for every request has it parsed once.
#[derive(Default)]
struct Imported(RefCell<VecDeque<(digest::Digest, Rc<Key>)>>);

pub(super) fn define(table: &Table<'_>) -> rquickjs::Result<()> {
    keys(table)?;
    operations(table)
}

fn keys<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    let imported = Imported::default();
    table.add(
        "importKey",
        move |ctx: Ctx<'js>, format: String, algorithm: String, parameter: String, data: Octets| {
            shared.check(&ctx)?;
            match imported.key(&format, &algorithm, &parameter, &data.0) {
                Ok(key) => {
                    let fields = Array::new(ctx.clone())?;
                    let (kind, bits) = (key.kind(), key.bits());
                    fields.set(0, Class::instance(ctx, KeyHandle { key })?)?;
                    fields.set(1, kind)?;
                    fields.set(2, bits)?;
                    Ok(fields.into_value())
                }
                Err(text) => text.into_js(&ctx),
            }
        },
    )?;
    let shared = table.shared.clone();
    table.add(
        "exportKey",
        move |ctx: Ctx<'js>, key: Class<'js, KeyHandle>| {
            shared.check(&ctx)?;
            match key.borrow().key.secret() {
                Some(octets) => array(&ctx, octets),
                None => Err(Exception::throw_type(
                    &ctx,
                    "SubtleCrypto.exportKey: no secret key",
                )),
            }
        },
    )
}

fn operations<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add(
        "digest",
        move |ctx: Ctx<'js>, hash: String, data: Octets| {
            shared.check(&ctx)?;
            let Some(algorithm) = key::hash(&hash) else {
                return Err(Exception::throw_type(
                    &ctx,
                    "SubtleCrypto.digest: no such hash",
                ));
            };
            array(&ctx, digest(algorithm, &data.0).as_ref())
        },
    )?;
    let shared = table.shared.clone();
    table.add(
        "sign",
        move |ctx: Ctx<'js>, key: Class<'js, KeyHandle>, data: Octets| {
            shared.check(&ctx)?;
            match key.borrow().key.sign(&data.0) {
                Some(signature) => array(&ctx, &signature),
                None => Ok(Value::new_undefined(ctx)),
            }
        },
    )?;
    let shared = table.shared.clone();
    table.add(
        "verify",
        move |ctx: Ctx<'js>, key: Class<'js, KeyHandle>, signature: Octets, data: Octets| {
            shared.check(&ctx)?;
            rquickjs::Result::Ok(key.borrow().key.verify(&signature.0, &data.0))
        },
    )
}

impl Imported {
    fn key(
        &self,
        format: &str,
        algorithm: &str,
        parameter: &str,
        data: &[u8],
    ) -> Result<Rc<Key>, &'static str> {
        let mut content = digest::Context::new(&digest::SHA256);
        for part in [
            format.as_bytes(),
            algorithm.as_bytes(),
            parameter.as_bytes(),
            data,
        ] {
            content.update(&part.len().to_ne_bytes());
            content.update(part);
        }
        let name = content.finish();
        let mut keys = self.0.borrow_mut();
        let known = keys
            .iter()
            .find(|(known, _key)| known.as_ref() == name.as_ref());
        if let Some((_name, key)) = known {
            return Ok(key.clone());
        }
        let key = Rc::new(Key::import(format, algorithm, parameter, data)?);
        if keys.len() == MOST_KEYS {
            keys.pop_front();
        }
        keys.push_back((name, key.clone()));
        Ok(key)
    }
}

/// Imported keys that are remembered.
const MOST_KEYS: usize = 64;
