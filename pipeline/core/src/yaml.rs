//! Text in YAML 1.2 to the positioned tree of [`crate::tree`], by saphyr's parser.
//!
//! What a configuration file does not need is refused, since it only serves attacks and mistakes:
//! anchors and aliases (a few lines can expand to gigabytes), tags, several documents in one file,
//! keys that are not plain strings, and the same key twice.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::diagnostics::{Position, Problems};
use crate::tree::{Entry, Kind, Value, join};

/// The longest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting that is read.
const MAX_DEPTH: usize = 32;

/// Reads one document. `None` when the text is no YAML that we accept; the report then says why.
/// An empty text is an empty map.
pub fn parse(text: &str, problems: &Problems) -> Option<Value> {
    let before = problems.count();
    let value = parse_despite_duplicates(text, problems);
    (problems.count() == before).then_some(value).flatten()
}

/// Like [`parse`], but goes on after a key that is there twice, so that the report also holds what else
/// is wrong: the first of them stands. There may be problems in the report although a value comes back.
pub fn parse_despite_duplicates(text: &str, problems: &Problems) -> Option<Value> {
    if text.len() > MAX_BYTES {
        problems.report(
            Position::START,
            "",
            format!("the file has {} bytes", text.len()),
            format!("at most {MAX_BYTES} bytes are allowed"),
        );
        return None;
    }
    Builder { text, problems, parser: Parser::new_from_str(text) }.document()
}

struct Builder<'a> {
    text: &'a str,
    problems: &'a Problems,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Option<(Event<'a>, Position)> {
        match self.parser.next_event()? {
            Ok((event, span)) => Some((event, position(span))),
            Err(error) => {
                let marker = error.marker();
                let place = Position { line: marker.line(), column: marker.col() + 1 };
                let line = self.text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
                let indentation = line.split(|c: char| !c.is_whitespace()).next().unwrap_or_default();
                let tab = indentation.contains('\t') || error.info().contains("tab");
                let allowed =
                    if tab { "indent with spaces: YAML allows no tabs there" } else { "YAML 1.2 is expected" };
                self.problems.report(place, "", format!("not valid YAML: {}", error.info()), allowed);
                None
            }
        }
    }

    fn refuse(&self, at: Position, what: &str, allowed: &str) {
        self.problems.report(at, "", what, allowed);
    }

    fn document(&mut self) -> Option<Value> {
        let mut root = None;
        while let Some((event, at)) = self.next() {
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_) if root.is_none() => {
                    let (event, at) = self.next()?;
                    root = Some(self.value(event, at, "", 0)?);
                }
                Event::DocumentStart(_) => {
                    self.refuse(at, "a second document begins", "one document a file is allowed");
                    return None;
                }
                Event::StreamEnd => {
                    return Some(root.unwrap_or(Value { at: Position::START, kind: Kind::Map(Vec::new()) }));
                }
                _ => {
                    self.refuse(at, "unexpected YAML", "one map of keys is expected");
                    return None;
                }
            }
        }
        None
    }

    fn value(&mut self, event: Event<'a>, at: Position, path: &str, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            self.refuse(at, "nested too deeply", &format!("at most {MAX_DEPTH} levels are allowed"));
            return None;
        }
        let kind = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.plain_only(anchor, tag.is_some(), at)?;
                let quoted = style != ScalarStyle::Plain;
                let text = text.into_owned();
                if !quoted && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
                    Kind::Null
                } else {
                    Kind::Scalar { text, quoted }
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.plain_only(anchor, tag.is_some(), at)?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Kind::List(items),
                        (event, at) => {
                            let path = format!("{path}[{}]", items.len());
                            items.push(self.value(event, at, &path, depth + 1)?);
                        }
                    }
                }
            }
            Event::MappingStart(anchor, tag) => {
                self.plain_only(anchor, tag.is_some(), at)?;
                Kind::Map(self.entries(path, depth)?)
            }
            Event::Alias(_) => {
                self.refuse(at, "an alias is used", "anchors and aliases are not allowed: write the value out");
                return None;
            }
            _ => {
                self.refuse(at, "unexpected YAML", "a value is expected");
                return None;
            }
        };
        Some(Value { at, kind })
    }

    fn entries(&mut self, path: &str, depth: usize) -> Option<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut places: HashMap<String, Position> = HashMap::new();
        loop {
            let (event, key_at) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Some(entries),
                Event::Scalar(text, _, anchor, tag) => {
                    self.plain_only(anchor, tag.is_some(), key_at)?;
                    text.into_owned()
                }
                _ => {
                    self.refuse(key_at, "a key is not a string", "keys are plain strings");
                    return None;
                }
            };
            let path = join(path, &key);
            let first = places.get(&key).copied();
            if let Some(Position { line, column }) = first {
                self.problems.report(
                    key_at,
                    path.clone(),
                    "the key is here a second time",
                    format!("each key once; the first is at {line}:{column}"),
                );
            }
            let (event, at) = self.next()?;
            let value = self.value(event, at, &path, depth + 1)?;
            if first.is_none() {
                places.insert(key.clone(), key_at);
                entries.push(Entry { key, key_at, value });
            }
        }
    }

    fn plain_only(&self, anchor: usize, tagged: bool, at: Position) -> Option<()> {
        if anchor != 0 {
            self.refuse(at, "an anchor is set", "anchors and aliases are not allowed: write the value out");
            return None;
        }
        if tagged {
            self.refuse(at, "a tag is set", "tags are not allowed");
            return None;
        }
        Some(())
    }
}

fn position(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_configuration_does_not_need_is_refused_with_its_place() {
        let cases = [
            (
                "a: 1\nb: 2\na: 3\n",
                "f.yaml:3:1: a: the key is here a second time; each key once; the first is at 1:1",
            ),
            (
                "m:\n  l:\n    - {b: 1, b: 2}\n",
                "f.yaml:3:14: m.l[0].b: the key is here a second time; each key once; the first is at 3:8",
            ),
            (
                "a: &x 1\nb: *x\n",
                "f.yaml:1:4: an anchor is set; anchors and aliases are not allowed: write the value out",
            ),
            ("a: !!int 1\n", "f.yaml:1:4: a tag is set; tags are not allowed"),
            ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document begins; one document a file is allowed"),
            ("? [a]\n: 1\n", "f.yaml:1:3: a key is not a string; keys are plain strings"),
        ];
        for (text, expected) in cases {
            let problems = Problems::in_file("f.yaml");
            assert_eq!(parse(text, &problems), None, "{text:?}");
            let found: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
            assert_eq!(found, [expected], "{text:?}");
        }
        for broken in ["a: [1, 2\n", "a:\n\t- b\n", "a: 'open\n", "a: b: c\n", "%YAML"] {
            let problems = Problems::in_file("f.yaml");
            assert_eq!(parse(broken, &problems), None, "{broken:?}");
            let found = problems.into_sorted();
            assert_eq!(found.len(), 1, "{broken:?}: {found:?}");
            assert!(found[0].what.starts_with("not valid YAML: "), "{found:?}");
        }
        let problems = Problems::in_file("f.yaml");
        assert_eq!(parse(&"[".repeat(5000), &problems), None);
        assert_eq!(problems.count(), 1);
    }

    #[test]
    fn a_tab_as_indentation_is_named_as_such() {
        for text in ["a:\n\t- b\n", "a: 1\n\tb: 2\n", "a:\n  b: 1\n\tc: 2\n"] {
            let problems = Problems::in_file("f.yaml");
            assert_eq!(parse(text, &problems), None);
            let found = problems.into_sorted();
            assert_eq!(found[0].allowed, "indent with spaces: YAML allows no tabs there", "{found:?}");
        }
    }

    #[test]
    fn a_second_key_does_not_hide_what_else_is_wrong() {
        let problems = Problems::in_file("f.yaml");
        let value = parse_despite_duplicates("a: 1\na: 2\nb: 3\n", &problems).unwrap();
        assert_eq!(problems.count(), 1);
        let Kind::Map(entries) = value.kind else { panic!("{value:?}") };
        let found: Vec<_> = entries.iter().map(|entry| (entry.key.as_str(), entry.value.at.line)).collect();
        assert_eq!(found, [("a", 1), ("b", 3)]);
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        let problems = Problems::in_file("f.yaml");
        for text in ["", "\n", "# only a comment\n"] {
            assert_eq!(parse(text, &problems).map(|value| value.kind), Some(Kind::Map(Vec::new())), "{text:?}");
        }
    }
}
