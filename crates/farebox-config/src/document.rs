//! The text of a configuration file with the place of every value in it.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use crate::choice::KINDS;
use crate::key::{KeyPath, Segment};

/// Whether a key says what the others in its table are. Such keys come first, in whatever order they
/// are written.
fn is_deciding(key: &str) -> bool {
    key == "backend" || KINDS.contains(&key)
}

/// A parsed file that still knows where each value stands.
#[derive(Clone)]
pub(super) struct Document<'a> {
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    /// Parses `text`.
    ///
    /// # Errors
    /// All places where it is not TOML.
    pub(super) fn parse(text: &'a str) -> Result<Self, Vec<Error>> {
        let (mut root, errors) = DeTable::parse_recoverable(text);
        put_deciding_keys_first(root.get_mut());
        if errors.is_empty() {
            Ok(Self { text, root })
        } else {
            Err(errors)
        }
    }

    /// A deserializer over the document as it is now.
    pub(super) fn deserializer(&self) -> Deserializer<'a> {
        Deserializer::from(self.root.clone())
    }

    /// The line of a byte, counted from one.
    pub(super) fn line_at(text: &str, offset: usize) -> usize {
        let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// The line where `key` stands, or where its nearest surrounding table begins.
    pub(super) fn line_of(&self, key: &KeyPath) -> Option<usize> {
        let mut found = None;
        let mut here = Node::Table(self.root.get_ref());
        for segment in key.segments() {
            let Some((span, next)) = here.step(segment) else {
                break;
            };
            (found, here) = (Some(span), Node::Value(next.get_ref()));
        }
        found.map(|span| Self::line_at(self.text, span.start))
    }

    /// The value that is written at `key`, where it fits a line and is no URL that may hold a
    /// password.
    pub(super) fn written(
        &self,
        key: &KeyPath,
        is_secret: impl Fn(&KeyPath) -> bool,
    ) -> Option<String> {
        const LONGEST: usize = 80;
        let mut here = Node::Table(self.root.get_ref());
        let mut text = None;
        for segment in key.segments() {
            let (_, value) = here.step(segment)?;
            (text, here) = (self.text.get(value.span()), Node::Value(value.get_ref()));
        }
        let mut inside = here.children().into_iter();
        if is_secret(key) || inside.any(|(step, ..)| is_secret(&key.step(step))) {
            return None;
        }
        // The span of a table that is not written in one line is its header.
        let is_header = |text: &str| match here {
            Node::Table(_) | Node::Value(DeValue::Table(_)) => !text.starts_with('{'),
            Node::Value(DeValue::Array(_)) => text.starts_with("[["),
            Node::Value(_) => text.is_empty(),
        };
        let is_readable = |text: &str| text.len() <= LONGEST && !text.contains('\n');
        let has_password = |text: &str| text.contains("://") && text.contains(['@', '?']);
        let text = text.filter(|text| !is_header(text) && is_readable(text));
        text.filter(|text| !has_password(text)).map(str::to_owned)
    }

    /// The innermost value that `span` lies in.
    pub(super) fn key_at(&self, span: &Range<usize>) -> KeyPath {
        let mut path = Vec::new();
        innermost(
            Node::Table(self.root.get_ref()),
            span,
            &mut Vec::new(),
            &mut path,
        );
        path.into_iter().collect()
    }

    /// Takes the value at `key` out, or the list that it is an item of. With a key that decides
    /// about others they all go.
    pub(super) fn remove(&mut self, key: &KeyPath) -> bool {
        let mut segments = key.segments();
        if let [around @ .., Segment::Key(last)] = segments
            && is_deciding(last)
        {
            segments = around;
        }
        // The last list of tables stays: only its broken key goes.
        while let [rest @ .., Segment::Index(_)] = segments {
            segments = rest;
        }
        let [around @ .., Segment::Key(last)] = segments else {
            return false;
        };
        let Some(table) = table_at(self.root.get_mut(), around) else {
            return false;
        };
        table.remove(last.as_str()).is_some()
    }
}

fn put_deciding_keys_first(table: &mut DeTable<'_>) {
    let entries = std::mem::take(table).into_iter();
    let (first, rest): (Vec<_>, Vec<_>) = entries.partition(|(key, _)| is_deciding(key.get_ref()));
    table.extend(first.into_iter().chain(rest));
    for (_, value) in table.iter_mut() {
        put_deciding_keys_first_in(value.get_mut());
    }
}

fn put_deciding_keys_first_in(value: &mut DeValue<'_>) {
    match value {
        DeValue::Table(table) => put_deciding_keys_first(table),
        DeValue::Array(list) => {
            let items = list.iter_mut();
            items.for_each(|item| put_deciding_keys_first_in(item.get_mut()));
        }
        _ => {}
    }
}

/// Its place in its parent, where its key stands if it has one, and its value.
type Child<'n, 'a> = (Segment, Option<Range<usize>>, &'n Spanned<DeValue<'a>>);

#[derive(Clone, Copy)]
enum Node<'n, 'a> {
    Table(&'n DeTable<'a>),
    Value(&'n DeValue<'a>),
}

impl<'n, 'a> Node<'n, 'a> {
    /// Where the key or the item stands, and its value.
    fn step(self, segment: &Segment) -> Option<(Range<usize>, &'n Spanned<DeValue<'a>>)> {
        match (self, segment) {
            (Node::Table(table) | Node::Value(DeValue::Table(table)), Segment::Key(name)) => {
                let (key, value) = table.get_key_value(name.as_str())?;
                Some((key.span(), value))
            }
            (Node::Value(DeValue::Array(list)), Segment::Index(index)) => {
                let value = list.get(*index)?;
                Some((value.span(), value))
            }
            _ => None,
        }
    }

    fn children(self) -> Vec<Child<'n, 'a>> {
        match self {
            Node::Table(table) | Node::Value(DeValue::Table(table)) => table
                .iter()
                .map(|(key, value)| {
                    (
                        Segment::Key(key.get_ref().to_string()),
                        Some(key.span()),
                        value,
                    )
                })
                .collect(),
            Node::Value(DeValue::Array(list)) => {
                let item = |(index, value)| (Segment::Index(index), None, value);
                list.iter().enumerate().map(item).collect()
            }
            Node::Value(_) => Vec::new(),
        }
    }
}

/// Notes the path of the deepest node whose key or value holds `span`. A table's own span is only
/// its header, so its children are always looked at.
fn innermost(
    node: Node<'_, '_>,
    span: &Range<usize>,
    here: &mut Vec<Segment>,
    best: &mut Vec<Segment>,
) {
    let holds = |outer: &Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (segment, key_span, value) in node.children() {
        here.push(segment);
        if (holds(&value.span()) || key_span.is_some_and(|key| holds(&key)))
            && here.len() > best.len()
        {
            best.clone_from(here);
        }
        innermost(Node::Value(value.get_ref()), span, here, best);
        here.pop();
    }
}

fn table_at<'n, 'a>(table: &'n mut DeTable<'a>, path: &[Segment]) -> Option<&'n mut DeTable<'a>> {
    match path {
        [] => Some(table),
        [Segment::Key(name), rest @ ..] => table_in(table.get_mut(name.as_str())?.get_mut(), rest),
        [Segment::Index(_), ..] => None,
    }
}

fn table_in<'n, 'a>(value: &'n mut DeValue<'a>, path: &[Segment]) -> Option<&'n mut DeTable<'a>> {
    match (value, path) {
        (DeValue::Array(list), [Segment::Index(index), rest @ ..]) => {
            table_in(list.get_mut(*index)?.get_mut(), rest)
        }
        (DeValue::Table(table), rest) => table_at(table, rest),
        _ => None,
    }
}
