//! Filling in page templates. What is put in is markup of ours or escaped text; there is no third
//! way.

use std::borrow::Cow;

/// A piece of a page that may stand where markup stands, or between double quotes.
#[derive(Clone, Debug)]
pub(super) struct Html<'a>(pub(super) Cow<'a, str>);

impl<'a> Html<'a> {
    /// Text from anywhere.
    pub(super) fn escaped(text: &str) -> Self {
        let mut html = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str("&#39;"),
                // Would let text on the page read the other way round.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
                other => html.push(other),
            }
        }
        Self(html.into())
    }

    /// Markup that was written here.
    pub(super) const fn ours(markup: &'static str) -> Self {
        Self(Cow::Borrowed(markup))
    }

    /// Markup that was put together here, of such pieces only.
    pub(super) const fn built(markup: String) -> Self {
        Self(Cow::Owned(markup))
    }
}

/// Puts each value where its `{{name}}` stands. What a value contains is not looked at again.
pub(super) fn fill(template: &str, values: &[(&str, Html<'_>)]) -> String {
    let mut page = String::with_capacity(template.len() * 4);
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{{") {
        page.push_str(before);
        let Some((name, after)) = behind.split_once("}}") else {
            break;
        };
        if let Some((_, Html(value))) = values.iter().find(|(known, _)| *known == name) {
            page.push_str(value);
        }
        rest = after;
    }
    page.push_str(rest);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let nasty = "<script>\"'&</script>\u{202e}x";
        let page = fill(
            "<p title=\"{{a}}\">{{a}}</p>",
            &[("a", Html::escaped(nasty))],
        );
        let safe = "&lt;script&gt;&quot;&#39;&amp;&lt;/script&gt;x";
        assert_eq!(page, format!("<p title=\"{safe}\">{safe}</p>"));
    }

    #[test]
    fn a_value_cannot_name_another() {
        let values = [
            ("a", Html::escaped("{{b}}")),
            ("b", Html::escaped("secret")),
        ];
        assert_eq!(fill("{{a}}.", &values), "{{b}}.");
    }
}
