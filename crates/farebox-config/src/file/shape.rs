//! What is made of a route's requests and answers, as it is written.

use std::collections::BTreeMap;

use crate::choice::{FieldSetting, Texts};
use crate::section::{choices, section};

section! {
    /// How requests are written before they are forwarded.
    pub struct RequestSection {
        /// A JSON object that is forwarded in the place of the client's body: as it is when the client
        /// sends none, else with the fields of `pass_fields` in it. At most 64 KiB. Not for secrets; those
        /// belong into `headers`.
        pub body: String = "{}".to_owned(),
        /// The fields of the client's body that go on, each with its type: `"string"`, `"int"`, `"float"`,
        /// `"bool"` or `"json"`. Numbers are passed as they are written. A field lands under its own name,
        /// or with `{ type = "string", to = "/messages/0/content" }` where that JSON pointer leads. A value
        /// of another type is refused before anything is paid.
        pub pass_fields: BTreeMap<String, FieldSetting>,
        /// What becomes of other fields; they never reach the upstream.
        pub other_fields: OtherFieldsSetting,
        /// The method that the upstream is asked with, whatever the client's was.
        pub method: String = "POST".to_owned(),
    }
}

choices! {
    /// What becomes of fields that are not passed.
    #[derive(Default)]
    pub enum OtherFieldsSetting => farebox_gateway::shape::OtherFields {
        /// They are left out.
        #[default]
        Drop,
        /// The request is refused with 400, before anything is paid.
        Refuse,
    }
}

section! {
    /// What of the upstream's answers the client gets.
    #[schemars(extend("required" = ["fields"]))]
    pub struct ResponseSection {
        /// What is taken out of the JSON of a successful answer: a path such as `"choices.0.text"` (digits
        /// are places in lists), a JSON pointer, or a list of such. The answer is read to its end, at most
        /// 8 MiB; without the field it counts as failed and is not charged.
        pub fields: Texts = Texts::Listed(Vec::new()),
        /// How it is given.
        pub format: FormatSetting,
    }
}

choices! {
    /// How what was taken out of an answer is given.
    #[derive(Default)]
    pub enum FormatSetting => farebox_gateway::shape::Form {
        /// One string as text, anything else as JSON; several fields as an object by their paths.
        #[default]
        Value,
        /// `{"data": […]}` with the paragraphs of each string, and the money left on the token in
        /// `x-msats-quota`, as clients of lsat-proxy expect it.
        LsatProxy,
    }
}
