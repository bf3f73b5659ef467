use std::borrow::Cow;

use super::*;
use crate::usage::Unit;

/// A msat a token.
fn meter(endpoint: Endpoint, strip_usage: bool) -> StreamMeter {
    let cost = |usage: &Usage| Msat::new(usage.all_input() + usage.all_output()).ok();
    StreamMeter::new(endpoint, strip_usage, Box::new(cost))
}

/// What passes on of a stream, and what was seen, if it comes in pieces of `size` bytes.
fn run(endpoint: Endpoint, strip: bool, stream: &str, size: usize) -> (String, Observed) {
    let mut meter = meter(endpoint, strip);
    let mut out = Vec::new();
    for piece in stream.as_bytes().chunks(size) {
        out.extend_from_slice(&meter.pass(piece));
    }
    meter.finish(&mut out);
    (String::from_utf8(out).unwrap(), *meter.observed())
}

/// The same, however it is cut into pieces.
#[track_caller]
fn passed(endpoint: Endpoint, strip: bool, stream: &str) -> (String, Observed) {
    let whole = run(endpoint, strip, stream, stream.len().max(1));
    for size in 1..stream.len().min(40) {
        let cut = run(endpoint, strip, stream, size);
        assert_eq!(cut, whole, "in pieces of {size} bytes");
    }
    whole
}

const TEXT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\n";
const STOP: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[test]
fn usage_that_the_client_did_not_ask_for_is_taken_out() {
    let stream = [TEXT, STOP, USAGE, DONE].concat();
    let (out, observed) = passed(Endpoint::ChatCompletions, true, &stream);
    assert_eq!(out, [TEXT, STOP, DONE].concat());
    let usage = observed.usage().unwrap();
    assert_eq!((usage.get(Unit::Input), usage.get(Unit::Output)), (9, 3));
    assert_eq!(
        (observed.output_bytes, observed.end),
        (5, StreamEnd::Complete)
    );
}

#[test]
fn usage_that_the_client_asked_for_gets_its_cost() {
    let stream = [TEXT, USAGE, DONE].concat();
    let (out, _) = passed(Endpoint::ChatCompletions, false, &stream);
    let priced = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\
                  \"cost\":0.012,\"cost_unit\":\"sat\",\"cost_msat\":12}}\n\n";
    assert_eq!(out, [TEXT, priced, DONE].concat());
}

#[test]
fn usage_in_a_chunk_with_an_empty_delta_is_usage_alone() {
    let odd = "data: {\"choices\":[{\"index\":0,\"delta\":{}}],\"usage\":{\"prompt_tokens\":9,\
               \"completion_tokens\":3}}\n\n";
    let (out, observed) = passed(
        Endpoint::ChatCompletions,
        true,
        &[TEXT, STOP, odd, DONE].concat(),
    );
    assert_eq!(out, [TEXT, STOP, DONE].concat());
    assert!(observed.usage().is_some());
}

#[test]
fn usage_on_the_last_piece_of_an_answer_stays_with_it() {
    let last = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\
                \"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n";
    let (out, observed) = passed(Endpoint::ChatCompletions, true, &[TEXT, last].concat());
    assert!(
        out.contains("finish_reason") && out.contains("\"cost_msat\":2"),
        "{out}"
    );
    assert_eq!(observed.end, StreamEnd::Finished);
}

#[test]
fn what_passes_as_it_came_is_not_copied() {
    let mut meter = meter(Endpoint::ChatCompletions, true);
    let whole = [TEXT, ": ping\r\n\r\n", TEXT].concat();
    let piece = [&whole, &TEXT[..20]].concat();
    let passed = meter.pass(piece.as_bytes());
    assert!(matches!(passed, Cow::Borrowed(_)));
    assert_eq!(*passed, *whole.as_bytes());
    let passed = meter.pass(&TEXT.as_bytes()[20..]);
    assert_eq!(*passed, *TEXT.as_bytes());
    let stop = [STOP, USAGE].concat();
    let passed = meter.pass(stop.as_bytes());
    assert!(matches!(passed, Cow::Borrowed(_)));
    assert_eq!(*passed, *STOP.as_bytes());
}

#[test]
fn the_text_that_no_report_covers_is_kept_up_to_its_limit() {
    let mut meter = meter(Endpoint::ChatCompletions, true).keeping_text();
    let text = |meter: &StreamMeter| meter.text().unwrap().clone().into_text().0;
    meter.pass(TEXT.as_bytes());
    meter.pass(TEXT.as_bytes());
    assert_eq!(text(&meter), "hellohello");
    meter.pass(USAGE.as_bytes());
    meter.pass(TEXT.as_bytes());
    assert_eq!(text(&meter), "hello");
    assert_eq!(meter.observed().unreported_bytes(), 5);
    let usage = meter.observed().usage_by(|bytes| 100 * bytes).unwrap();
    assert_eq!(usage.get(Unit::Output), 3 + 500);
    let long = "x".repeat(MAX_KEPT_TEXT - 4);
    let long = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{long}\"}}}}]}}\n\n");
    meter.pass(long.as_bytes());
    meter.pass(TEXT.as_bytes());
    assert_eq!(text(&meter), "hello");
    assert!(meter.observed().unreported_bytes() > 100_000);
    let digits = TEXT.replace("hello", "12345");
    meter.pass(digits.as_bytes());
    assert_eq!(meter.text().unwrap().clone().into_text().1, 15);
}

#[test]
fn every_way_to_end_a_line_is_kept() {
    for end in ["\r\n", "\n", "\r"] {
        let stream = [TEXT, USAGE, DONE].concat().replace('\n', end);
        let (out, observed) = passed(Endpoint::ChatCompletions, true, &stream);
        assert_eq!(out, [TEXT, DONE].concat().replace('\n', end), "{end:?}");
        assert_eq!(observed.end, StreamEnd::Complete, "{end:?}");
    }
}

#[test]
fn comments_and_other_fields_pass_untouched_and_are_no_output() {
    let stream = ": keep-alive\n\nevent: odd\nid: 7\nretry: 10\n\ndata\n\n\n\n";
    let (out, observed) = passed(Endpoint::ChatCompletions, true, stream);
    assert_eq!(out, stream);
    assert_eq!(observed.output_bytes, 0);
    let mut meter = meter(Endpoint::ChatCompletions, true);
    meter.pass(USAGE.as_bytes());
    assert!(!meter.has_passed());
    meter.pass(stream.as_bytes());
    assert!(meter.has_passed());
}

#[test]
fn only_what_belongs_to_an_event_counts_as_passed() {
    let has_passed = |stream: &str| {
        let mut meter = meter(Endpoint::ChatCompletions, true);
        let passed = meter.pass(stream.as_bytes()).len();
        meter.finish(&mut Vec::new());
        (passed > 0, meter.has_passed())
    };
    for nothing in [": ping\n\n", "\n\n", "event: ping\n\n", "id: 1\n\n"] {
        assert_eq!(has_passed(nothing), (true, false), "{nothing:?}");
    }
    for event in [TEXT, DONE, "data\n\n", "no field\n\n"] {
        assert_eq!(has_passed(event), (true, true), "{event:?}");
        let after_ping = format!(": ping\n\n{event}");
        assert_eq!(has_passed(&after_ping), (true, true), "{event:?}");
    }
}

#[test]
fn a_document_that_is_broken_counts_by_its_bytes_once() {
    let broken = r#"{"choices":[{"message":{"content":"12345678"}}]"#;
    let bytes = u64::try_from(broken.len()).unwrap();
    let (out, observed) = passed(Endpoint::ChatCompletions, true, broken);
    assert_eq!((out.as_str(), observed.output_bytes), (broken, bytes));
    let whole = Whole::read(Endpoint::ChatCompletions, broken.as_bytes());
    assert_eq!(whole.content_bytes(), bytes);
}

#[test]
fn what_cannot_be_read_passes_untouched_and_is_counted_by_its_bytes() {
    for (stream, bytes) in [
        ("data: not json\n\n", 8),
        ("data: 17\n\ndata: \"text\"\n\n", 8),
        ("plain text\n\nand more", 18),
        ("data: [DONE]\n\n", 0),
    ] {
        let (out, observed) = passed(Endpoint::ChatCompletions, true, stream);
        assert_eq!(out, stream);
        assert_eq!(observed.output_bytes, bytes, "{stream}");
    }
}

#[test]
fn text_in_members_that_nobody_knows_is_output() {
    for (bytes, endpoint, data) in [
        (
            4,
            Endpoint::ChatCompletions,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","type":"custom","custom":{"input":"abcd"}}]}}]}"#,
        ),
        (
            2,
            Endpoint::ChatCompletions,
            r#"{"choices":[{"delta":{"audio":{"id":"a","transcript":"ab","expires_at":17}}}]}"#,
        ),
        (
            3,
            Endpoint::ChatCompletions,
            r#"{"choices":[{"delta":{"novel":{"deep":["abc"]}}}]}"#,
        ),
        (
            3,
            Endpoint::ChatCompletions,
            r#"{"id":"x","model":"m","message":{"role":"assistant","content":"abc"},"done":false}"#,
        ),
        (
            3,
            Endpoint::Messages,
            r#"{"type":"content_block_delta","delta":{"type":"novel_delta","novel":"abc"}}"#,
        ),
        (
            3,
            Endpoint::Responses,
            r#"{"type":"response.custom_tool_call_input.delta","item_id":"i","delta":"abc"}"#,
        ),
        (
            4,
            Endpoint::Responses,
            r#"{"type":"response.output_text.done","item_id":"i","text":"abcd"}"#,
        ),
        (
            0,
            Endpoint::Responses,
            r#"{"type":"error","code":"x","message":"overloaded"}"#,
        ),
        (
            0,
            Endpoint::ChatCompletions,
            r#"{"object":"error","message":"overloaded"}"#,
        ),
    ] {
        let stream = format!("data: {data}\n\n");
        let (_, observed) = passed(endpoint, true, &stream);
        assert_eq!(observed.output_bytes, bytes, "{data}");
    }
}

#[test]
fn what_responses_repeat_is_counted_once() {
    let delta = r#"{"type":"response.output_text.delta","item_id":"i","delta":"abcd"}"#;
    let done = r#"{"type":"response.output_text.done","item_id":"i","text":"abcdabcd"}"#;
    let item = r#"{"type":"response.output_item.done","item":{"type":"message","content":[{"type":"output_text","text":"abcdabcd"}]}}"#;
    let events = [delta, delta, done, item].map(|data| format!("data: {data}\n\n"));
    let (_, observed) = passed(Endpoint::Responses, true, &events.concat());
    assert_eq!(observed.output_bytes, 8);
}

#[test]
fn events_that_no_empty_line_separates_pass_and_count_one_by_one() {
    for end in ["\n", "\r\n", "\r"] {
        let stream = [TEXT, TEXT, STOP, USAGE, DONE].concat();
        let stream = stream.replace("\n\n", "\n").replace('\n', end);
        let (out, observed) = passed(Endpoint::ChatCompletions, true, &stream);
        let kept = [TEXT, TEXT, STOP, DONE].concat();
        assert_eq!(out, kept.replace("\n\n", "\n").replace('\n', end));
        assert_eq!(observed.end, StreamEnd::Complete, "{end:?}");
        assert_eq!(observed.output_bytes, 10);
        assert_eq!(observed.usage().unwrap().all_output(), 3);
    }
    let mut meter = meter(Endpoint::ChatCompletions, true);
    let line = TEXT.trim_end().to_owned() + "\n";
    assert_eq!(*meter.pass(line.as_bytes()), *line.as_bytes());
}

#[test]
fn the_usage_that_is_joined_to_the_end_by_one_newline_is_read_and_taken_out() {
    let stream = [TEXT, STOP, USAGE.trim_end(), "\n", DONE].concat();
    let (out, observed) = passed(Endpoint::ChatCompletions, true, &stream);
    assert_eq!(out, [TEXT, STOP, DONE].concat());
    assert_eq!(observed.usage().unwrap().all_output(), 3);
}

#[test]
fn a_later_report_is_the_right_one_and_zeros_take_nothing_back() {
    let chat = |prompt: u64, completion: u64| {
        format!(
            "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{prompt},\
             \"completion_tokens\":{completion}}}}}\n\n"
        )
    };
    for (first, later, told) in [
        ((12_000, 1), (1200, 2), (1200, 2)),
        ((12, 300), (12, 20), (12, 20)),
        ((12, 3), (0, 0), (12, 3)),
        ((12, 0), (0, 5), (12, 5)),
    ] {
        let stream = [
            chat(first.0, first.1),
            chat(later.0, later.1),
            DONE.to_owned(),
        ];
        let (_, observed) = passed(Endpoint::ChatCompletions, true, &stream.concat());
        let usage = observed.usage().unwrap();
        assert_eq!((usage.all_input(), usage.all_output()), told);
    }
}

#[test]
fn a_document_instead_of_events_is_read_as_one_and_passes_at_its_end() {
    let answer = "\n {\"choices\":[{\"message\":{\"content\":\"hello\"}}],\n\n\"usage\":{\"prompt_tokens\":9,\
                  \"completion_tokens\":3}}\n";
    let (out, observed) = passed(Endpoint::ChatCompletions, true, answer);
    assert!(out.contains("\"cost_msat\":12"), "{out}");
    assert_eq!(observed.end, StreamEnd::Complete);
    assert_eq!(observed.usage().unwrap().all_output(), 3);
    let error = "{\"error\":{\"message\":\"overloaded\"}}";
    let (out, observed) = passed(Endpoint::ChatCompletions, true, error);
    assert_eq!((out.as_str(), observed.end), (error, StreamEnd::Failed));
    assert_eq!(observed.output_bytes, 0);
    let cut = "{\"choices\":[{\"message\":{\"content\":\"hello";
    let (out, observed) = passed(Endpoint::ChatCompletions, true, cut);
    assert_eq!((out.as_str(), observed.end), (cut, StreamEnd::Open));
    assert_eq!(observed.output_bytes, length(cut));
}

#[test]
fn data_on_several_lines_is_one_data() {
    let stream = "data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":2}}\n\n";
    let (out, observed) = passed(Endpoint::ChatCompletions, true, stream);
    assert_eq!(out, "");
    assert_eq!(observed.usage().unwrap().get(Unit::Input), 2);
}

#[test]
fn a_stream_that_is_cut_is_counted_by_what_came() {
    let stream = [TEXT, TEXT, "data: {\"choices\":[{\"delta\":{\"con"].concat();
    let (out, observed) = passed(Endpoint::ChatCompletions, true, &stream);
    assert_eq!(out, stream);
    assert_eq!(observed.usage(), None);
    assert_eq!(observed.output_bytes, 10);
    assert_eq!(observed.end, StreamEnd::Open);
}

#[test]
fn an_error_after_the_beginning_is_a_failure_and_no_output() {
    let error = "data: {\"error\":{\"message\":\"a long text that nobody pays for\"}}\n\n";
    let (_, observed) = passed(
        Endpoint::ChatCompletions,
        true,
        &[TEXT, error, DONE].concat(),
    );
    assert_eq!(
        (observed.output_bytes, observed.end),
        (5, StreamEnd::Failed)
    );
}

#[test]
fn a_report_of_no_output_where_there_was_some_is_not_believed() {
    let zero = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":0}}\n\n";
    let (_, observed) = passed(
        Endpoint::ChatCompletions,
        true,
        &[TEXT, zero, DONE].concat(),
    );
    assert_eq!(observed.usage(), None);
}

#[test]
fn tools_thoughts_and_refusals_are_output() {
    let stream = "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\
                  \"function\":{\"name\":\"ab\",\"arguments\":\"cde\"}}]}}]}\n\n\
                  data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"four\",\"reasoning\":\"four\"}}]}\n\n\
                  data: {\"choices\":[{\"delta\":{\"refusal\":\"no\"}}]}\n\n\
                  data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"xy\"}]}}]}\n\n";
    let (_, observed) = passed(Endpoint::ChatCompletions, true, stream);
    assert_eq!(observed.output_bytes, 5 + 4 + 2 + 2);
}

#[test]
fn anthropics_usage_comes_in_two_parts() {
    let stream = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":\
                  {\"input_tokens\":25,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n\
                  event: ping\ndata: {\"type\":\"ping\"}\n\n\
                  event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
                  \"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n\
                  event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":\
                  {\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n\
                  event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let (out, observed) = passed(Endpoint::Messages, true, stream);
    let usage = observed.usage().unwrap();
    let counts = [Unit::Input, Unit::CachedInput, Unit::Output];
    assert_eq!(counts.map(|unit| usage.get(unit)), [25, 5, 15]);
    assert_eq!(
        (observed.output_bytes, observed.end),
        (5, StreamEnd::Complete)
    );
    assert!(out.contains("\"cost_msat\":45"), "{out}");
}

#[test]
fn responses_end_in_four_ways() {
    let delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\
                 \"delta\":\"Hi!\"}\n\n";
    for (kind, end) in [
        ("completed", StreamEnd::Complete),
        ("incomplete", StreamEnd::Incomplete),
        ("cancelled", StreamEnd::Incomplete),
        ("failed", StreamEnd::Failed),
    ] {
        let last = format!(
            "data: {{\"type\":\"response.{kind}\",\"response\":{{\"usage\":{{\"input_tokens\":4,\
             \"output_tokens\":2}}}}}}\n\n"
        );
        let (out, observed) = passed(Endpoint::Responses, true, &[delta, &last].concat());
        assert_eq!((observed.output_bytes, observed.end), (3, end));
        assert_eq!(observed.usage().unwrap().all_output(), 2);
        assert!(out.contains("\"cost_msat\":6"), "{out}");
    }
}

#[test]
fn an_event_beyond_the_limit_passes_unread_and_the_next_is_read_again() {
    let long = format!("data: {{\"x\":\"{}\"}}\n\n", "a".repeat(frame::MAX_EVENT));
    let stream = [&long, USAGE, DONE].concat();
    let (out, observed) = run(Endpoint::ChatCompletions, true, &stream, 100_000);
    assert_eq!(out, [&long, DONE].concat());
    assert!(observed.output_bytes >= u64::try_from(frame::MAX_EVENT).unwrap());
    assert_eq!(observed.end, StreamEnd::Complete);
}

#[test]
fn an_event_with_a_text_is_a_token_at_least() {
    let mut meter = StreamMeter::new(Endpoint::ChatCompletions, false, Box::new(|_| None));
    let say = |meter: &mut StreamMeter, text: &str| {
        let delta = format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#);
        drop(meter.pass(format!("data: {delta}\n\n").as_bytes()));
    };
    for text in ["1", "2", "3", "", "four", "five and six"] {
        say(&mut meter, text);
    }
    assert_eq!(meter.observed().output_tokens(), 3 + 1 + 3);
    assert_eq!(meter.observed().output_bytes, 3 + 4 + 12);
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}}"#;
    drop(meter.pass(format!("data: {usage}\n\n").as_bytes()));
    say(&mut meter, "7");
    assert_eq!(meter.observed().usage().unwrap().get(Unit::Output), 9 + 1);
}

#[test]
fn dense_text_is_counted_by_what_it_weighs_however_it_comes() {
    let tokens = |events: &[&str]| {
        let mut meter = meter(Endpoint::ChatCompletions, false);
        for text in events {
            let event =
                format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
            meter.pass(event.as_bytes());
        }
        meter.observed().output_tokens()
    };
    assert_eq!(tokens(&["abcdefgh"]), 2);
    assert_eq!(tokens(&["12345678"]), 8);
    assert_eq!(tokens(&["1234", "5678"]), 8);
    assert_eq!(tokens(&["1", "2", "a"]), 3);
    assert_eq!(tokens(&["中文"]), 6);
    let document = "{\"choices\":[{\"message\":{\"content\":\"12345678\"}}]}";
    let mut one = meter(Endpoint::ChatCompletions, false);
    one.pass(document.as_bytes());
    one.finish(&mut Vec::new());
    assert_eq!(one.observed().output_tokens(), 8);
    let whole = Whole::read(Endpoint::ChatCompletions, document.as_bytes());
    assert_eq!(whole.content_tokens(), 8);
    let mut repeated = meter(Endpoint::Responses, false);
    repeated.pass(b"data: {\"type\":\"response.output_text.done\",\"text\":\"12345678\"}\n\n");
    assert_eq!(repeated.observed().output_tokens(), 8);
}
