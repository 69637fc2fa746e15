//! What of the prelude is loaded when it is first touched.

use std::collections::BTreeSet;

use super::world::World;

/// What a handler of this body answers.
async fn answer(body: &str) -> String {
    let source = format!("export default {{ async fetch(request) {{ {body} }} }}");
    World::new(&source).answer().await
}

#[tokio::test]
async fn a_global_is_as_any_other_once_it_was_touched() {
    let body = "
        const shape = (name) => {
          const { value, writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(globalThis, name);
          return [value === globalThis[name], writable, enumerable, configurable];
        };
        const found = ['Blob' in globalThis, typeof Blob, shape('Blob')];
        class Mine extends TransformStream {}
        found.push(new Mine() instanceof TransformStream, Object.keys(globalThis).includes('URL'));
        File = 1;
        globalThis.URL = 2;
        found.push(File, shape('File'), URL, shape('URL'));
        return Response.json(found)";
    let expected = "[true,\"function\",[true,true,false,true],true,false,1,[true,true,false,true],2,[true,true,false,true]]";
    assert_eq!(answer(body).await, expected);
}

#[tokio::test]
async fn a_module_that_patches_the_language_does_not_break_what_comes_late() {
    let body = "
        const no = () => { throw new TypeError('patched') };
        Object.defineProperty = Object.getOwnPropertyNames = Object.keys = Reflect.apply = no;
        Function.prototype.call = Function.prototype.apply = Function.prototype.bind = no;
        Array.prototype.shift = Array.prototype.sort = no;
        String.prototype.slice = no;
        Map.prototype.forEach = Promise.prototype.then = no;
        Array.isArray = no;
        globalThis.Symbol = globalThis.Map = globalThis.Error = globalThis.DOMException = no;
        const names = [
          'AbortController', 'Blob', 'Event', 'FormData', 'ReadableStream', 'TextDecoder', 'TransformStream', 'URL',
          'URLSearchParams', 'WritableStream', 'console', 'crypto', 'setTimeout', 'structuredClone',
        ];
        let found = '';
        for (let i = 0; i < names.length; i++) found += `${typeof globalThis[names[i]]} `;
        console.log(new URL('https://a.test/b').pathname);
        const held = new TransformStream();
        held.writable.getWriter().write('one');
        const { value } = await held.readable.getReader().read();
        await new Promise((resolve) => setTimeout(resolve, 1));
        return new Response(found + value)";
    let expected = "function function function function function function function function function function object object function function one";
    assert_eq!(answer(body).await, expected);
}

#[tokio::test]
async fn what_failed_to_load_is_tried_anew() {
    let body = "
        const failures = new Set();
        const deep = () => {
          try { deep() } catch {}
          try { return Blob } catch (error) { failures.add(error.name) }
        };
        deep();
        return new Response([...failures, await new Blob(['whole']).text()].join())";
    assert_eq!(answer(body).await, "RangeError,whole");
}

/// Imported as well, it would be there twice.
#[test]
fn what_is_loaded_late_is_not_imported() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/prelude");
    let mut text = String::new();
    for file in std::fs::read_dir(directory).unwrap() {
        text += &std::fs::read_to_string(file.unwrap().path()).unwrap();
    }
    let names = |before: &str| -> BTreeSet<String> {
        let after = text.split(before).skip(1);
        let names = after.filter_map(|rest| rest.split_once('\''));
        names.map(|(name, _rest)| name.to_owned()).collect()
    };
    let imported = names("from '");
    let late = &names("load('") | &names("exposeLate('");
    assert!(imported.contains("outbound:native") && late.contains("outbound:blob"));
    let both: Vec<_> = imported.intersection(&late).collect();
    assert!(both.is_empty(), "{both:?}");
}
