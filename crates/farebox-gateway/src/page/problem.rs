//! A problem as a page, for whoever would have got the answer as one.

use std::time::Duration;

use farebox_wire::problem::Problem;
use serde_json::Value;

use super::template::{Html, fill};
use farebox_http::limits::RetryAfter;

const PROBLEM: &str = include_str!("problem.html");

/// How long a page that is to be asked for again waits at most, in seconds.
const LONGEST_WAIT: u64 = 300;

/// The page of a problem; it asks for itself again where that is worth it.
pub(crate) fn problem(problem: &Problem, retry_after: Option<Duration>) -> String {
    let text = |name| problem.member(name).and_then(Value::as_str);
    let refresh = retry_after.map_or_else(
        || Html::ours(""),
        |wait| {
            let wait = RetryAfter(wait).as_secs().min(LONGEST_WAIT);
            Html::built(format!("<meta http-equiv=\"refresh\" content=\"{wait}\">"))
        },
    );
    let again = if text("receipt").is_some() {
        "Buy it again"
    } else {
        "Try again"
    };
    fill(
        PROBLEM,
        &[
            ("style", Html::ours(super::STYLE)),
            ("refresh", refresh),
            ("title", Html::escaped(problem.kind().title)),
            ("detail", Html::escaped(problem.sentence())),
            ("receipt", receipt(problem)),
            (
                "request_id",
                Html::escaped(text("request_id").unwrap_or_default()),
            ),
            ("again", Html::ours(again)),
        ],
    )
}

fn receipt(problem: &Problem) -> Html<'static> {
    let receipt = problem.member("receipt").and_then(Value::as_str);
    let charged = problem.member("charged_msat").and_then(Value::as_u64);
    let (Some(receipt), Some(charged)) = (receipt, charged) else {
        return Html::ours("");
    };
    let line = format!("Receipt {receipt}: {charged} msat were charged.");
    let Html(line) = Html::escaped(&line);
    Html::built(format!("<p>{line}</p>"))
}
