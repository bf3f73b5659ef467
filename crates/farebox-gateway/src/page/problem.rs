//! A problem document as a page, for whoever would have got the answer as one.

use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

use super::template::{Html, fill};
use crate::answer::AnswerBody;
use crate::serve::REPLAYED;

const PROBLEM: &str = include_str!("problem.html");

/// How long a page that is to be asked for again waits at most, in seconds.
const LONGEST_WAIT: u64 = 300;

/// Turns a problem document of our own into a page; everything else stays as it is.
pub(crate) fn dress(response: &mut Response<AnswerBody>) {
    let headers = response.headers();
    let is_problem = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == farebox_wire::problem::CONTENT_TYPE)
        // What was kept of an upstream's answer is its own.
        && !headers.contains_key(REPLAYED);
    let Some(bytes) = response.body().own_bytes().filter(|_| is_problem) else {
        return;
    };
    let Ok(problem) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let page = render(&problem, response.headers());
    response.body_mut().become_own(page);
    super::headers(response.headers_mut());
}

fn render(problem: &Value, headers: &HeaderMap) -> String {
    let text = |name: &str| problem[name].as_str().unwrap_or_default();
    let title = text("title");
    let again = match headers.get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()) {
        Some(wait) => wait.parse().ok(),
        None => None,
    };
    let refresh = again.map_or_else(
        || Html::ours(""),
        |wait: u64| {
            let wait = wait.clamp(1, LONGEST_WAIT);
            Html::built(format!("<meta http-equiv=\"refresh\" content=\"{wait}\">"))
        },
    );
    fill(
        PROBLEM,
        &[
            ("style", Html::ours(super::STYLE)),
            ("refresh", refresh),
            ("title", Html::escaped(title)),
            ("detail", Html::escaped(text("detail"))),
            ("receipt", receipt(problem)),
            ("request_id", Html::escaped(text("request_id"))),
            ("again", Html::ours(again_text(problem))),
        ],
    )
}

fn receipt(problem: &Value) -> Html<'static> {
    let Some(receipt) = problem["receipt"].as_str() else {
        return Html::ours("");
    };
    let charged = problem["charged_msat"].as_u64().unwrap_or_default();
    let line = format!("Receipt {receipt}: {charged} msat were charged.");
    let Html(line) = Html::escaped(&line);
    Html::built(format!("<p>{line}</p>"))
}

fn again_text(problem: &Value) -> &'static str {
    if problem["receipt"].is_string() {
        "Buy it again"
    } else {
        "Try again"
    }
}
