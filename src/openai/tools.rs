//! Tools that a model may call, and whether it must.

use impetus_engine::generate::Grammar;
use impetus_text::{ChatTemplate, ForcedCall, ToolChoice, ToolFormat};
use serde_json::Value;

use super::Refusal;
use super::job::Calls;
use crate::oip::Kind;

/// Most tools, as many as OpenAI allows.
const MOST_TOOLS: usize = 128;
/// Most bytes of a tool's name.
const LONGEST_NAME: usize = 64;

/// What a request says of tools.
#[derive(Debug)]
pub(super) struct Tools {
    /// The tools for the template, if the model is to see any.
    pub(super) shown: Option<Value>,
    /// How calls are found in the answer, if there can be any.
    pub(super) calls: Option<Calls>,
    /// What an answer must conform to that has to be a call.
    pub(super) grammar: Option<Grammar>,
}

// === impl Tools ===

impl Tools {
    /// Reads them.
    ///
    /// # Errors
    /// Names what is not as it must be; or the model was not taught to call anything.
    pub(super) fn read(
        tools: Option<Vec<Value>>,
        choice: Option<&Value>,
        parallel: bool,
        template: &ChatTemplate,
    ) -> Result<Self, Refusal> {
        let tools = checked(tools.unwrap_or_default())?.map(Value::Array);
        let choice = ToolChoice::read(choice, tools.as_ref()).map_err(|error| {
            Refusal::new(Kind::Invalid, "invalid_value", error.to_string()).of("tool_choice")
        })?;
        let (Some(tools), false) = (tools, choice == ToolChoice::None) else {
            return Ok(Self::none());
        };
        let taught = template.tool_format();
        if taught.is_none() && !template.source().contains("tools") {
            let message = "cannot be used: the model's chat template has no place for tools";
            return Err(Refusal::unsupported("tools", message));
        }
        let taught = taught.unwrap_or(ToolFormat::Hermes);
        let forced = ForcedCall::grammar_for(&tools, &choice, taught);
        let format = match forced {
            Some(_) => ToolFormat::Json,
            None => taught,
        };
        Ok(Self {
            shown: Some(tools),
            calls: Some(Calls { format, parallel }),
            grammar: forced.map(|forced| Grammar::JsonSchema(forced.schema.to_string())),
        })
    }

    fn none() -> Self {
        Self {
            shown: None,
            calls: None,
            grammar: None,
        }
    }
}

/// Returns the tools, if there are any and each is as it must be.
fn checked(tools: Vec<Value>) -> Result<Option<Vec<Value>>, Refusal> {
    if tools.len() > MOST_TOOLS {
        let message = format!("may have {MOST_TOOLS} tools, not {}", tools.len());
        return Err(Refusal::invalid("tools", message));
    }
    for (index, tool) in tools.iter().enumerate() {
        let at = |what: &str| format!("tools[{index}]{what}");
        if tool.get("type").and_then(Value::as_str) != Some("function") {
            return Err(Refusal::unsupported(at(".type"), "must be \"function\""));
        }
        let name = tool.pointer("/function/name").and_then(Value::as_str);
        if !name.is_some_and(is_name) {
            let message = format!("must be 1 to {LONGEST_NAME} letters, digits, _, - or .");
            return Err(Refusal::invalid(at(".function.name"), message));
        }
        let parameters = tool.pointer("/function/parameters");
        if parameters.is_some_and(|parameters| !parameters.is_object() && !parameters.is_null()) {
            let message = "must be a JSON schema";
            return Err(Refusal::invalid(at(".function.parameters"), message));
        }
    }
    Ok(Some(tools).filter(|tools| !tools.is_empty()))
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    const WITH_TOOLS: &str = "{% for tool in tools %}<tool_call>{{ tool | tojson }}{% endfor %}";

    fn of(template: &str, tools: Value, choice: Value) -> Result<Tools, Refusal> {
        let template = ChatTemplate::new(template, None, BTreeMap::new()).unwrap();
        let tools = tools.as_array().cloned();
        Tools::read(tools, Some(&choice), true, &template)
    }

    fn tool(name: &str) -> Value {
        json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}})
    }

    #[test]
    fn the_model_sees_tools_unless_it_is_to_call_none() {
        let free = of(WITH_TOOLS, json!([tool("f")]), Value::Null).unwrap();
        assert_eq!(free.shown, Some(json!([tool("f")])));
        assert_eq!(free.calls.unwrap().format, ToolFormat::Hermes);
        assert!(free.grammar.is_none());
        for none in [
            of(WITH_TOOLS, json!([tool("f")]), json!("none")),
            of("no place", json!([tool("f")]), json!("none")),
            of("no place", Value::Null, Value::Null),
            of("no place", json!([]), json!("auto")),
        ] {
            let none = none.unwrap();
            assert!(none.shown.is_none() && none.calls.is_none() && none.grammar.is_none());
        }
    }

    #[test]
    fn a_call_that_is_demanded_is_held_to_a_schema() {
        let tools = || json!([tool("f"), tool("g")]);
        let named = json!({"type": "function", "function": {"name": "g"}});
        for (choice, names) in [(json!("required"), vec!["f", "g"]), (named, vec!["g"])] {
            let demanded = of(WITH_TOOLS, tools(), choice).unwrap();
            assert_eq!(demanded.calls.unwrap().format, ToolFormat::Json);
            let Some(Grammar::JsonSchema(schema)) = demanded.grammar else {
                panic!("no schema");
            };
            for name in ["f", "g"] {
                assert_eq!(
                    schema.contains(&format!("{name:?}")),
                    names.contains(&name),
                    "{schema}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused_by_its_name() {
        let schema = json!({"type": "function", "function": {"name": "f", "parameters": 7}});
        let other = json!({"type": "function", "function": {"name": "h"}});
        for (template, tools, choice, param) in [
            (
                WITH_TOOLS,
                json!([{"type": "web_search"}]),
                Value::Null,
                "tools[0].type",
            ),
            (
                WITH_TOOLS,
                json!([tool("f"), tool("a b")]),
                Value::Null,
                "tools[1].function.name",
            ),
            (
                WITH_TOOLS,
                json!([schema]),
                Value::Null,
                "tools[0].function.parameters",
            ),
            (
                WITH_TOOLS,
                json!([tool("f")]),
                json!("always"),
                "tool_choice",
            ),
            (WITH_TOOLS, json!([tool("f")]), other, "tool_choice"),
            (WITH_TOOLS, json!([]), json!("required"), "tool_choice"),
            ("no place", json!([tool("f")]), Value::Null, "tools"),
        ] {
            let refusal = of(template, tools, choice).unwrap_err();
            assert_eq!(refusal.param(), Some(param), "{refusal}");
        }
    }
}
