//! The configuration reference as Markdown is made here from the schema, so that it cannot go stale.

use serde_json::{Map, Value};

use super::{definition, forms, kind_of, properties, referred, whole};

const HEAD: &str = "\
# Configuration

`farebox serve -c farebox.toml`. The file is TOML; relative paths are relative to the working
directory. Unknown keys are errors. `farebox config check` reports every mistake at once, and
`farebox config show --resolved` prints what will run. This page is made from the code: change the
comments in `crates/farebox-config/src/file.rs` and run `cargo xtask bless`.

A **duration** is text with a unit: `\"500ms\"`, `\"30s\"`, `\"10m\"`, `\"24h\"`, `\"90d\"`. A **size** is
text such as `\"64KiB\"` or `\"8MiB\"`, or a number of bytes. A **rate** is a number in a period, such as
`\"30/1m\"`. An **amount** is `{ msat = 2000 }` or `{ sat = 2 }`. A **percent** is
a number, or text such as `\"7.5\"`.

SIGHUP reads the file again: routes, prices, `[rates]`, `[lightning]`, `[refunds]`, `[keys]` and, of `[server]`, `bad_credential`,
`invoice_expiry`, `legacy_challenge`, `overtime`, `path_parameters`, `public_url`, `trusted_proxies` and
`underscores_in_headers` change at once; everything else needs a restart, and a warning names it. A file with mistakes changes nothing.
Samples are in `samples/`.
";

/// The order of the sections; those that are not named here come last.
const ORDER: [&str; 11] = [
    "server",
    "console",
    "store",
    "lightning",
    "refunds",
    "keys",
    "held",
    "rates",
    "model",
    "log",
    "route",
];

/// The whole page.
fn markdown() -> String {
    let mut page = Page {
        text: HEAD.to_owned(),
        written: Vec::new(),
    };
    let sections = properties(whole()).into_iter().flatten();
    let mut sections: Vec<_> = sections.collect();
    let place = |name: &str| ORDER.iter().position(|other| *other == name);
    sections.sort_by_key(|(name, _)| place(name).unwrap_or(ORDER.len()));
    for (name, form) in sections {
        page.tables_of(name, &format!("[{name}]"), form);
    }
    page.text
}

struct Page {
    text: String,
    /// The tables that are on the page already.
    written: Vec<&'static Value>,
}

impl Page {
    /// Writes every table that may stand at `path`.
    fn tables_of(&mut self, path: &str, heading: &str, form: &'static Value) {
        for form in forms(form) {
            if let Some(items) = form.get("items") {
                self.tables_of(path, &format!("[[{path}]]"), items);
            }
            if let Some(named) = form.get("additionalProperties").filter(|it| it.is_object()) {
                let path = format!("{path}.<name>");
                self.tables_of(&path, &path, named);
            }
            if is_table(form) {
                self.table(path, heading, form);
            }
        }
    }

    fn table(&mut self, path: &str, heading: &str, form: &'static Value) {
        if self.is_written(form) {
            return;
        }
        let kinds = form["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
        if is_definition(form) {
            self.line(&format!("\n## `{heading}`\n"));
            self.keys(form, kinds);
        }
        for (kind, (key, word)) in kinds.iter().filter_map(|it| Some((it, kind_of(it)?))) {
            let its_own = forms(kind).into_iter().skip(1);
            for form in its_own.filter(|form| properties(form).is_some()) {
                if !self.is_written(form) {
                    self.line(&format!("\n### `{key} = \"{word}\"`\n"));
                    self.keys(form, &[]);
                }
            }
        }
        for (key, form) in properties(form).into_iter().flatten() {
            let path = format!("{path}.{key}");
            self.tables_of(&path, &path, form);
        }
    }

    /// Whether a table is on the page already; now it is.
    fn is_written(&mut self, form: &'static Value) -> bool {
        let is_written = self.written.iter().any(|other| std::ptr::eq(*other, form));
        self.written.push(form);
        is_written
    }

    /// The keys of a table, with the one that tells its kinds apart.
    fn keys(&mut self, table: &Value, kinds: &'static [Value]) {
        self.line(&one_line(&table["description"]));
        self.line("\n| key | value | default | |\n|---|---|---|---|");
        let words = kinds.iter().filter_map(kind_of);
        let words: Vec<_> = words
            .map(|(key, word)| (key, format!("`\"{word}\"`")))
            .collect();
        if let Some((key, _)) = words.first() {
            let words: Vec<_> = words.iter().map(|(_, word)| word.as_str()).collect();
            let words = words.join(" or ");
            self.line(&format!(
                "| `{key}` | {words} | required | What it is; each has keys of its own. |"
            ));
        }
        let required = table["required"].as_array().map_or(&[][..], Vec::as_slice);
        for (key, node) in properties(table).into_iter().flatten() {
            let is_required = required.iter().any(|name| name == key);
            let (kind, default) = (cell(&kind(node)), default(node, is_required));
            let text = cell(&one_line(&node["description"]));
            self.line(&format!("| `{key}` | {kind} | {default} | {text} |"));
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// Whether it is a table with keys, and not a value that is written as one.
fn is_table(form: &Value) -> bool {
    properties(form).is_some() && form.get("title").is_none_or(|title| title == "ConfigFile")
}

/// Whether a form is a type with a name.
fn is_definition(form: &Value) -> bool {
    let definitions = whole()["$defs"].as_object();
    let mut definitions = definitions.into_iter().flat_map(Map::values);
    definitions.any(|definition| std::ptr::eq(definition, form))
}

fn default(node: &Value, is_required: bool) -> String {
    match &node["default"] {
        _ if is_required => "required".to_owned(),
        Value::Null => String::new(),
        Value::Object(table) => match (table.get("msat"), table.len()) {
            (Some(msat), 1) => format!("`{{ msat = {msat} }}`"),
            _ => "see below".to_owned(),
        },
        value => format!("`{value}`"),
    }
}

/// What may be written there.
fn kind(node: &Value) -> String {
    if let Some(definition) = referred(node).and_then(definition) {
        let name = definition["title"].as_str();
        return match name {
            Some(name) => name.to_owned(),
            None if is_table(definition) => "table".to_owned(),
            None => kind(definition),
        };
    }
    let choices = node["anyOf"].as_array().or(node["oneOf"].as_array());
    if let Some(forms) = choices {
        let forms = forms.iter().filter(|form| form["type"] != "null");
        let mut kinds: Vec<String> = Vec::new();
        for kind in forms.map(kind) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        return kinds.join(" or ");
    }
    if let Some(word) = node["const"].as_str() {
        return format!("`\"{word}\"`");
    }
    if let Some(words) = node["enum"].as_array() {
        let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        return words.join(" or ");
    }
    plain(node)
}

fn plain(node: &Value) -> String {
    let types = node["type"]
        .as_array()
        .map_or(std::slice::from_ref(&node["type"]), Vec::as_slice);
    let mut names = types.iter().filter_map(Value::as_str);
    match names.find(|name| *name != "null") {
        Some("array") => format!("list of {}", kind(&node["items"])),
        Some("integer") => "number".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("string") => "text".to_owned(),
        Some("object") => match properties(node) {
            Some(keys) => {
                let keys: Vec<_> = keys.keys().map(|key| format!("{key} = …")).collect();
                format!("`{{ {} }}`", keys.join(", "))
            }
            None => "table".to_owned(),
        },
        _ => "any".to_owned(),
    }
}

fn one_line(text: &Value) -> String {
    text.as_str()
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn the_page_in_the_repository_is_what_the_code_says() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/config.md"
    );
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == markdown(),
        "docs/reference/config.md is stale: run `cargo xtask bless`"
    );
}
