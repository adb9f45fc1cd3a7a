//! Chat templates, byte for byte as transformers renders them.

use std::collections::BTreeMap;

use impetus_text::{Chat, ChatTemplate, TemplateError};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{beside, goldens};

fn now() -> OffsetDateTime {
    OffsetDateTime::parse("2026-03-09T08:05:07Z", &Rfc3339).unwrap()
}

fn specials(goldens: &Value) -> BTreeMap<String, String> {
    let map = goldens["specials"].as_object().unwrap();
    map.iter()
        .map(|(name, token)| (name.clone(), token.as_str().unwrap().to_owned()))
        .collect()
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, None, specials(&goldens("templates.json"))).unwrap()
}

fn render(template: &ChatTemplate, case: &Value) -> Result<String, TemplateError> {
    let extra = case["extra"].as_object().cloned().unwrap_or_default();
    template.render(&Chat {
        messages: &case["messages"],
        tools: case.get("tools"),
        add_generation_prompt: case["add_generation_prompt"] == true,
        continue_final_message: case["continue_final_message"] == true,
        extra: &extra,
        now: now(),
    })
}

/// Says what is wrong with a result, if anything is.
fn difference(result: &Result<String, TemplateError>, golden: &Value) -> Option<String> {
    match (
        result,
        golden["rendered"].as_str(),
        golden["refused"].as_str(),
        golden["broken"].as_str(),
    ) {
        (Ok(text), Some(expected), ..) if text == expected => None,
        (Err(TemplateError::Refused(words)), _, Some(expected), _) if words == expected => None,
        (Err(TemplateError::Broken(_) | TemplateError::Conversation(_)), .., Some(_)) => None,
        (Ok(text), Some(expected), ..) => {
            let line = text
                .lines()
                .zip(expected.lines())
                .find(|(one, other)| one != other);
            Some(format!(
                "lengths {} and {}: {line:#?}",
                text.len(),
                expected.len()
            ))
        }
        (other, ..) => Some(format!("{other:?} instead of {golden}")),
    }
}

#[test]
fn every_template_renders_every_conversation_as_transformers_does() {
    let goldens = goldens("templates.json");
    assert_eq!(goldens["now"], "2026-03-09T08:05:07Z");
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (name, results) in goldens["results"].as_object().unwrap() {
        let source =
            std::fs::read_to_string(beside("templates").join(format!("{name}.jinja"))).unwrap();
        let template = template(&source);
        for case in goldens["cases"].as_array().unwrap() {
            let title = case["name"].as_str().unwrap();
            compared += 1;
            if let Some(difference) = difference(&render(&template, case), &results[title]) {
                wrong.push(format!("{name}, {title}: {difference}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {compared} differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(compared > 200, "only {compared} were compared");
}

#[test]
fn no_committed_template_is_without_its_goldens() {
    let goldens = goldens("templates.json");
    let files = std::fs::read_dir(beside("templates")).unwrap();
    let names: Vec<String> = files
        .map(|it| {
            it.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(names.len(), goldens["results"].as_object().unwrap().len());
    for name in names {
        assert!(
            goldens["results"].get(&name).is_some(),
            "{name} has no goldens; run tests/make_goldens.py"
        );
    }
}

#[test]
fn a_refusal_is_the_clients_and_a_failure_the_servers() {
    let hello = json!({"messages": [{"role": "user", "content": "Hello"}]});
    let refused = render(
        &template("{{ raise_exception('only ' ~ messages | length) }}"),
        &hello,
    );
    assert_eq!(refused, Err(TemplateError::Refused("only 1".to_owned())));
    assert!(refused.unwrap_err().is_clients_fault());
    let in_a_macro = render(
        &template("{% macro no() %}{{ raise_exception('no') }}{% endmacro %}{{ no() }}"),
        &hello,
    );
    assert_eq!(in_a_macro, Err(TemplateError::Refused("no".to_owned())));
    let broken = render(&template("{{ messages.nothing.at_all }}"), &hello).unwrap_err();
    assert!(!broken.is_clients_fault(), "{broken:?}");
    let shapeless = render(&template("x"), &json!({"messages": ["Hello"]})).unwrap_err();
    assert_eq!(shapeless.to_string(), "message 0 must be an object");
}

#[test]
fn a_template_that_is_no_jinja_is_refused_when_it_is_loaded() {
    let error = ChatTemplate::new("{% if %}", None, BTreeMap::new()).unwrap_err();
    assert!(matches!(error, TemplateError::Broken(_)), "{error:?}");
}

#[test]
fn a_conversation_with_tools_has_a_template_of_its_own_where_there_is_one() {
    let template =
        ChatTemplate::new("plain", Some("with tools <tool_call>"), BTreeMap::new()).unwrap();
    let mut case = json!({"messages": [{"role": "user", "content": "Hello"}]});
    assert_eq!(render(&template, &case).unwrap(), "plain");
    case["tools"] = json!([]);
    assert_eq!(render(&template, &case).unwrap(), "with tools <tool_call>");
    assert_eq!(
        template.tool_format(),
        Some(impetus_text::ToolFormat::Hermes)
    );
}

#[test]
fn what_clients_send_becomes_what_templates_expect() {
    let sent = json!([
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"b\": 1, \"a\": 2}"}},
            {"id": "2", "type": "function", "function": {"name": "g", "arguments": ""}},
        ]},
    ]);
    let strings = template("{% for m in messages %}{{ m.content }}{% endfor %}")
        .adapt(&sent)
        .unwrap();
    assert_eq!(strings[0]["content"], "One\ntwo");
    assert_eq!(
        strings[1]["tool_calls"][0]["function"]["arguments"].to_string(),
        r#"{"b":1,"a":2}"#
    );
    assert_eq!(
        strings[1]["tool_calls"][1]["function"]["arguments"],
        json!({})
    );
    let reads_parts = "{% for m in messages %}{%- for part in m['content'] -%}{{ part.text }}{% endfor %}{% endfor %}";
    assert_eq!(template(reads_parts).adapt(&sent).unwrap()[0], sent[0]);
}

#[test]
fn what_cannot_become_text_is_refused_by_name() {
    let plain = template("{{ messages[0].content }}");
    let image =
        json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
    let error = plain.adapt(&image).unwrap_err();
    assert!(error.to_string().contains("image_url"), "{error}");
    let call = json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{oops"}}]}]);
    let error = plain.adapt(&call).unwrap_err();
    assert!(
        error.to_string().contains("not JSON") && error.is_clients_fault(),
        "{error}"
    );
}

#[test]
fn a_continued_message_that_the_template_drops_is_refused() {
    let extra = Map::new();
    let messages =
        json!([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "I am"}]);
    let chat = |add_generation_prompt| Chat {
        messages: &messages,
        tools: None,
        add_generation_prompt,
        continue_final_message: true,
        extra: &extra,
        now: now(),
    };
    let dropping = template("{{ messages[0].content }}");
    assert!(matches!(
        dropping.render(&chat(false)),
        Err(TemplateError::Conversation(_))
    ));
    let keeping = template("{{ messages[1].content }}");
    assert_eq!(keeping.render(&chat(false)).unwrap(), "I am");
    assert!(matches!(
        keeping.render(&chat(true)),
        Err(TemplateError::Conversation(_))
    ));
}
