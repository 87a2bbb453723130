//! Reading `plugin.py` without running it: parsed by a real parser, in bounded time and memory.

mod classes;
mod declarations;
mod nesting;
mod scope;
mod source;
mod value;

use std::io;
use std::thread;

use ruff_python_parser::parse_module;

use super::fields::Draft;
use super::finding::{Findings, Place, quoted};
use nesting::Fault;
use source::Source;

/// Most bytes of a `plugin.py`.
pub(super) const SIZE_LIMIT: usize = 1024 * 1024;

/// Stack for the parser and everything that walks its tree. What [`nesting`] lets through needs less than
/// half of it, even without optimisation.
const STACK_SIZE: usize = 16 * 1024 * 1024;

/// Everything that the file says about the plugin. An error is one of starting the thread that reads it.
pub(super) fn read(path: &str, bytes: Vec<u8>) -> io::Result<(Draft, Findings)> {
    let owned = path.to_owned();
    let reader = thread::Builder::new()
        .name("plugin.py".to_owned())
        .stack_size(STACK_SIZE)
        .spawn(move || read_here(&owned, &bytes))?;
    Ok(reader.join().unwrap_or_else(|_| {
        // The parser is not ours: whatever trips it must not end more than the reading of this file.
        refused(path, "python.syntax", "plugin.py cannot be parsed")
    }))
}

fn refused(path: &str, rule: &'static str, message: &str) -> (Draft, Findings) {
    let place = Place::of(path);
    let mut findings = Findings::default();
    findings.push(place.error(rule, message));
    (declarations::unreadable(place), findings)
}

fn read_here(path: &str, bytes: &[u8]) -> (Draft, Findings) {
    if bytes.len() > SIZE_LIMIT {
        return refused(path, "python.size", &format!("plugin.py is larger than {SIZE_LIMIT} bytes"));
    }
    let source = match Source::decode(path, bytes) {
        Ok(source) => source,
        Err(why) => return refused(path, "python.encoding", &format!("plugin.py {why}")),
    };
    let mut findings = Findings::default();
    if let Some((fault, at)) = nesting::check(&source.text) {
        let place = source.place(at);
        findings.push(match fault {
            Fault::Size => {
                let message = format!("plugin.py has more than {} tokens", nesting::TOKEN_LIMIT);
                Place::of(path).error("python.size", message)
            }
            Fault::Depth => place.error("python.depth", "the code is nested too deep here to be read"),
            Fault::Brackets => place.error("python.syntax", "this closing bracket matches no opening one"),
        });
        return (declarations::unreadable(Place::of(path)), findings);
    }
    match parse_module(&source.text) {
        Ok(parsed) => {
            let draft = declarations::read(&source, parsed.suite(), &mut findings);
            (draft, findings)
        }
        Err(error) => {
            let message = format!("this is not Python: {}", quoted(&error.error.to_string(), 200));
            findings.push(source.place(error.location.start()).error("python.syntax", message));
            (declarations::unreadable(Place::of(path)), findings)
        }
    }
}

#[cfg(test)]
mod tests;
