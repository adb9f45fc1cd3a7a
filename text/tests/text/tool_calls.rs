//! Tool calls, however the text is cut.

use impetus_text::{ForcedCall, Parsed, ToolCall, ToolCallParser, ToolChoice, ToolFormat};
use proptest::prelude::*;
use serde_json::json;

fn call(name: &str, arguments: &str) -> ToolCall {
    ToolCall {
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    }
}

/// Parses pieces and adds up what comes of them.
fn parse<'a>(format: ToolFormat, pieces: impl IntoIterator<Item = &'a str>) -> Parsed {
    let mut parser = ToolCallParser::new(format);
    let mut sum = Parsed::default();
    let mut add = |parsed: Parsed| {
        sum.content.push_str(&parsed.content);
        sum.calls.extend(parsed.calls);
        sum.unfinished = parsed.unfinished;
    };
    for piece in pieces {
        add(parser.push(piece));
    }
    add(parser.finish());
    sum
}

fn parsed(content: &str, calls: &[ToolCall]) -> Parsed {
    Parsed {
        content: content.to_owned(),
        calls: calls.to_vec(),
        unfinished: None,
    }
}

/// Answers in each format, and what they are.
fn answers() -> Vec<(ToolFormat, &'static str, Parsed)> {
    use ToolFormat::{Hermes, Json, Llama3, Mistral};
    let weather = call(
        "get_weather",
        r#"{"city": "Köln", "note": "</tool_call> {\"[}"}"#,
    );
    let time = call("time", "{}");
    vec![
        (
            Hermes,
            "Just text < than <tool, no call.\n",
            parsed("Just text < than <tool, no call.\n", &[]),
        ),
        (
            Hermes,
            "Let me see.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Köln\", \"note\": \"</tool_call> {\\\"[}\"}}\n</tool_call>\n<tool_call>{\"name\": \"time\"}</tool_call>\n",
            parsed("Let me see.", &[weather.clone(), time.clone()]),
        ),
        (
            Hermes,
            "<tool_call>{\"name\": \"time\", \"arguments\": {}}</tool_call> Done.",
            parsed("Done.", std::slice::from_ref(&time)),
        ),
        (
            Hermes,
            "See <tool_call> of <b>.",
            parsed("See <tool_call> of <b>.", &[]),
        ),
        (
            Hermes,
            "A <tool_call>{\"no\": \"call\"}</tool_call> B",
            parsed("A <tool_call>{\"no\": \"call\"}</tool_call> B", &[]),
        ),
        (Llama3, "Just {\"text\"}.", parsed("Just {\"text\"}.", &[])),
        (
            Llama3,
            "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Köln\", \"note\": \"</tool_call> {\\\"[}\"}}",
            parsed("", std::slice::from_ref(&weather)),
        ),
        (
            Llama3,
            "<|python_tag|>{\"type\": \"function\", \"name\": \"time\", \"parameters\": {}}; {\"name\": \"time\", \"parameters\": null}",
            parsed("", &[time.clone(), time.clone()]),
        ),
        (
            Llama3,
            "{\"answer\": 42, \"name\": \"x\"}",
            parsed("{\"answer\": 42, \"name\": \"x\"}", &[]),
        ),
        (
            Llama3,
            "{\"name\": \"Ada\", \"arguments\": 3}",
            parsed("{\"name\": \"Ada\", \"arguments\": 3}", &[]),
        ),
        (
            Llama3,
            "<|python_tag|>print('x')",
            parsed("<|python_tag|>print('x')", &[]),
        ),
        (
            Mistral,
            "[TOOL_CALLS] [{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Köln\", \"note\": \"</tool_call> {\\\"[}\"}}, {\"name\": \"time\", \"arguments\": {}, \"id\": \"abcdefgh1\"}]",
            parsed("", &[weather.clone(), time.clone()]),
        ),
        (
            Mistral,
            "Now [T: [TOOL_CALLS]time[ARGS]{}[TOOL_CALLS]get_weather[CALL_ID]abcdefgh1[ARGS]{\"city\": \"Köln\", \"note\": \"</tool_call> {\\\"[}\"}",
            parsed("Now [T:", &[time.clone(), weather.clone()]),
        ),
        (
            Mistral,
            "[TOOL_CALLS] are calls of tools {x}",
            parsed("[TOOL_CALLS] are calls of tools {x}", &[]),
        ),
        (
            Json,
            "{\"name\": \"time\", \"arguments\": {}}",
            parsed("", std::slice::from_ref(&time)),
        ),
        (
            Json,
            "{\"type\": \"function\", \"function\": {\"name\": \"time\", \"arguments\": \"{}\"}}",
            parsed("", &[time]),
        ),
    ]
}

#[test]
fn calls_are_found_and_the_rest_is_text() {
    for (format, text, expected) in answers() {
        assert_eq!(parse(format, [text]), expected, "{format:?}: {text}");
    }
}

#[test]
fn one_character_at_a_time_gives_the_same() {
    for (format, text, expected) in answers() {
        let pieces: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(
            parse(format, pieces.iter().map(String::as_str)),
            expected,
            "{format:?}: {text}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same(which in any::<prop::sample::Index>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let (format, text, expected) = which.get(&answers()).clone();
        let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut at: Vec<usize> = cuts.iter().map(|cut| *cut.get(&boundaries)).chain([0, text.len()]).collect();
        at.sort_unstable();
        prop_assert_eq!(parse(format, at.windows(2).map(|pair| &text[pair[0]..pair[1]])), expected);
    }

    #[test]
    fn text_without_a_call_comes_out_as_it_went_in(pieces in prop::collection::vec("[<>/\\[\\]{}\":a-z_ \n]{0,9}|<tool_call>|\\[TOOL_CALLS\\]", 0..9)) {
        let text = pieces.concat();
        for format in [ToolFormat::Hermes, ToolFormat::Llama3, ToolFormat::Mistral, ToolFormat::Json] {
            let result = parse(format, pieces.iter().map(String::as_str));
            if result.calls.is_empty() {
                let unfinished = result.unfinished.unwrap_or_default();
                let whole = text.strip_suffix(unfinished.as_str()).map(str::trim_end);
                prop_assert_eq!(Some(result.content.trim_end()), whole, "{:?}", format);
            }
        }
    }
}

#[test]
fn text_before_a_call_streams_and_nothing_of_the_call_does() {
    let mut parser = ToolCallParser::new(ToolFormat::Hermes);
    assert_eq!(parser.push("I look").content, "I look");
    assert_eq!(parser.push(" it up.\n").content, " it up.");
    assert_eq!(parser.push("<tool"), Parsed::default());
    assert_eq!(
        parser.push("_call>{\"name\": \"time\", \"argu"),
        Parsed::default()
    );
    assert_eq!(
        parser.push("ments\": {}}"),
        parsed("", &[call("time", "{}")])
    );
    assert_eq!(parser.push("\n</tool_call>"), Parsed::default());
    assert_eq!(parser.finish(), Parsed::default());
}

#[test]
fn a_call_that_was_cut_off_is_neither_text_nor_a_call() {
    let result = parse(
        ToolFormat::Hermes,
        ["Yes. <tool_call>{\"name\": \"time\", \"argum"],
    );
    assert_eq!(result.content, "Yes.");
    assert!(result.calls.is_empty());
    assert_eq!(
        result.unfinished.as_deref(),
        Some("<tool_call>{\"name\": \"time\", \"argum")
    );
}

#[test]
fn an_answer_in_json_streams_once_its_first_key_is_known() {
    let mut parser = ToolCallParser::new(ToolFormat::Llama3);
    assert_eq!(parser.push("{\"ans").content, "");
    assert_eq!(parser.push("wer\": 4").content, "{\"answer\": 4");
    assert_eq!(parser.push("2}").content, "2}");
}

#[test]
fn formats_are_recognised_by_their_templates() {
    let format = |name: &str| {
        ToolFormat::of_template(
            &std::fs::read_to_string(crate::beside("templates").join(name)).unwrap(),
        )
    };
    assert_eq!(format("qwen2_5_tools.jinja"), Some(ToolFormat::Hermes));
    assert_eq!(format("hermes_macros.jinja"), Some(ToolFormat::Hermes));
    assert_eq!(format("llama3_tools.jinja"), Some(ToolFormat::Llama3));
    assert_eq!(format("mistral_tools.jinja"), Some(ToolFormat::Mistral));
    assert_eq!(format("gemma.jinja"), None);
}

#[test]
fn a_demanded_call_has_a_schema() {
    let parameters =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let tools = json!([
        {"type": "function", "function": {"name": "get_weather", "parameters": parameters}},
        {"type": "function", "function": {"name": "time"}},
    ]);
    let choice = |choice| ToolChoice::read(Some(&choice), Some(&tools));
    let schema = |choice, format| {
        ForcedCall::grammar_for(&tools, &choice, format).map(|forced| forced.schema)
    };
    let named = choice(json!({"type": "function", "function": {"name": "get_weather"}})).unwrap();
    let expected = json!({
        "type": "object",
        "properties": {"name": {"const": "get_weather"}, "parameters": parameters},
        "required": ["name", "parameters"],
        "additionalProperties": false,
    });
    assert_eq!(schema(named, ToolFormat::Llama3), Some(expected));
    let required = schema(choice(json!("required")).unwrap(), ToolFormat::Hermes).unwrap();
    assert_eq!(required["anyOf"].as_array().unwrap().len(), 2);
    assert_eq!(
        required["anyOf"][1]["properties"]["arguments"],
        json!({"type": "object"})
    );
    assert_eq!(
        schema(choice(json!("auto")).unwrap(), ToolFormat::Hermes),
        None
    );
    assert_eq!(
        schema(choice(json!("none")).unwrap(), ToolFormat::Hermes),
        None
    );
}

#[test]
fn a_choice_that_cannot_be_had_is_refused() {
    let tools = json!([{"type": "function", "function": {"name": "time"}}]);
    let error = |choice, tools| {
        ToolChoice::read(Some(&choice), tools)
            .unwrap_err()
            .to_string()
    };
    let unknown = error(
        json!({"type": "function", "function": {"name": "date"}}),
        Some(&tools),
    );
    assert!(unknown.contains("\"date\""), "{unknown}");
    assert!(error(json!("always"), Some(&tools)).contains("must be"));
    assert!(error(json!("required"), None).contains("no tools"));
    assert_eq!(ToolChoice::read(None, None), Ok(ToolChoice::Auto));
}
