//! The prelude is compiled into the crate by a macro, whose files cargo cannot know.

fn main() {
    println!("cargo::rerun-if-changed=src/prelude");
}
