//! What an answer must conform to.
//!
//! Clients have many names for the same four things: a JSON schema, a regular expression, a grammar, and a choice of
//! texts. All of them become one grammar, and two at a time are refused, since it would not be clear what is meant.

use impetus_engine::generate::Grammar;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Refusal;
use super::common::Common;

/// Most bytes of a schema, an expression or a grammar.
const LARGEST: usize = 256 * 1024;
/// Any JSON object.
const ANY_OBJECT: &str = r#"{"type":"object"}"#;

/// What an answer must conform to, as OpenAI's clients say it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiResponseFormat, example = json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}))]
pub struct ResponseFormat {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The schema, with the last of these.
    pub json_schema: Option<JsonSchema>,
}

/// A schema with a name. It always holds, whatever `strict` says.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiJsonSchema)]
pub struct JsonSchema {
    /// What it is called; not used.
    pub name: Option<String>,
    /// The schema itself.
    pub schema: Option<Value>,
}

/// What an answer must conform to, as vLLM's clients say it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiStructuredOutputs)]
pub struct Structured {
    /// A JSON schema, as an object or as text.
    pub json: Option<Value>,
    /// Whether any JSON object will do.
    pub json_object: Option<bool>,
    /// A regular expression for the whole answer.
    pub regex: Option<String>,
    /// Texts of which the answer must be one.
    pub choice: Option<Vec<String>>,
    /// A grammar in Lark's notation.
    pub grammar: Option<String>,
}

/// What was found, and under which name.
type Found = Vec<(&'static str, Grammar)>;

/// Returns what an answer must conform to, with the field that says it.
pub(super) fn grammar(fields: &Common) -> Result<Option<(&'static str, Grammar)>, Refusal> {
    let mut found = Found::new();
    if let Some(format) = &fields.response_format {
        found.extend(of_format(format)?);
    }
    add_regex(&mut found, "regex", fields.regex.as_ref());
    add_regex(&mut found, "guided_regex", fields.guided_regex.as_ref());
    add_lark(&mut found, "grammar", fields.grammar.as_ref());
    add_lark(&mut found, "guided_grammar", fields.guided_grammar.as_ref());
    add_schema(&mut found, "guided_json", fields.guided_json.as_ref())?;
    add_choice(&mut found, "guided_choice", fields.guided_choice.as_deref())?;
    if let Some(structured) = &fields.structured_outputs {
        let any_object = structured.json_object == Some(true);
        add_schema(
            &mut found,
            "structured_outputs.json",
            structured.json.as_ref(),
        )?;
        let any_object = any_object.then(|| Grammar::JsonSchema(ANY_OBJECT.to_owned()));
        found.extend(any_object.map(|grammar| ("structured_outputs.json_object", grammar)));
        add_regex(
            &mut found,
            "structured_outputs.regex",
            structured.regex.as_ref(),
        );
        add_choice(
            &mut found,
            "structured_outputs.choice",
            structured.choice.as_deref(),
        )?;
        add_lark(
            &mut found,
            "structured_outputs.grammar",
            structured.grammar.as_ref(),
        );
    }
    if let [(first, _), (second, _), ..] = found[..] {
        let message = format!("cannot be together with `{first}`: an answer conforms to one thing");
        return Err(Refusal::invalid(second, message));
    }
    let Some((name, grammar)) = found.pop() else {
        return Ok(None);
    };
    let (Grammar::JsonSchema(text) | Grammar::Regex(text) | Grammar::Lark(text)) = &grammar;
    if text.len() > LARGEST {
        let message = format!("may have {LARGEST} bytes, not {}", text.len());
        return Err(Refusal::invalid(name, message));
    }
    Ok(Some((name, grammar)))
}

fn of_format(format: &ResponseFormat) -> Result<Option<(&'static str, Grammar)>, Refusal> {
    const NAME: &str = "response_format";
    let schema = match format.kind.as_str() {
        "text" => return Ok(None),
        "json_object" => ANY_OBJECT.to_owned(),
        "json_schema" => {
            let schema = format.json_schema.as_ref();
            let schema = schema.and_then(|schema| schema.schema.as_ref());
            let Some(schema) = schema else {
                let param = "response_format.json_schema.schema";
                return Err(Refusal::invalid(param, "is missing"));
            };
            schema_text("response_format.json_schema.schema", schema)?
        }
        other => {
            let message =
                format!("must be \"text\", \"json_object\" or \"json_schema\", not {other:?}");
            return Err(Refusal::invalid("response_format.type", message));
        }
    };
    Ok(Some((NAME, Grammar::JsonSchema(schema))))
}

fn add_schema(
    found: &mut Found,
    name: &'static str,
    schema: Option<&Value>,
) -> Result<(), Refusal> {
    if let Some(schema) = schema {
        found.push((name, Grammar::JsonSchema(schema_text(name, schema)?)));
    }
    Ok(())
}

fn add_regex(found: &mut Found, name: &'static str, regex: Option<&String>) {
    found.extend(regex.map(|regex| (name, Grammar::Regex(regex.clone()))));
}

fn add_lark(found: &mut Found, name: &'static str, grammar: Option<&String>) {
    found.extend(grammar.map(|grammar| (name, Grammar::Lark(grammar.clone()))));
}

fn add_choice(
    found: &mut Found,
    name: &'static str,
    texts: Option<&[String]>,
) -> Result<(), Refusal> {
    let Some(texts) = texts else {
        return Ok(());
    };
    if texts.is_empty() {
        return Err(Refusal::invalid(name, "must have at least one text"));
    }
    // A JSON schema could say it, but the answer would be in quotes.
    let texts: Vec<String> = texts.iter().map(|text| literal(text)).collect();
    found.push((name, Grammar::Regex(texts.join("|"))));
    Ok(())
}

/// Returns a schema as text; some clients send it so.
fn schema_text(name: &str, schema: &Value) -> Result<String, Refusal> {
    match schema {
        Value::Object(_) | Value::Bool(_) => Ok(schema.to_string()),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Object(_)) => Ok(text.clone()),
            _ => Err(Refusal::invalid(name, "is a text that is no JSON schema")),
        },
        _ => Err(Refusal::invalid(name, "must be a JSON schema")),
    }
}

/// Returns a regular expression that matches a text and nothing else.
fn literal(text: &str) -> String {
    let mut expression = String::with_capacity(text.len());
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$#&-~/".contains(letter) {
            expression.push('\\');
        }
        expression.push(letter);
    }
    expression
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::openai::read::read;

    fn of(fields: Value) -> Result<Option<Grammar>, Refusal> {
        let found = grammar(&read::<Common>(fields.to_string().as_bytes()).unwrap())?;
        Ok(found.map(|(_, grammar)| grammar))
    }

    #[test]
    fn every_way_to_ask_for_structure_becomes_one_grammar() {
        let schema = json!({"type": "object", "properties": {"b": {}, "a": {}}});
        let text = schema.to_string();
        for fields in [
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": true}}}),
            json!({"guided_json": schema}),
            json!({"guided_json": text}),
            json!({"structured_outputs": {"json": schema}}),
        ] {
            assert_eq!(of(fields), Ok(Some(Grammar::JsonSchema(text.clone()))));
        }
        let object = Some(Grammar::JsonSchema(ANY_OBJECT.to_owned()));
        assert_eq!(
            of(json!({"response_format": {"type": "json_object"}})),
            Ok(object)
        );
        let regex = Some(Grammar::Regex("a+".to_owned()));
        assert_eq!(of(json!({"regex": "a+"})), Ok(regex));
        let choice = Some(Grammar::Regex(r"yes|no\?|<a_b>".to_owned()));
        assert_eq!(
            of(json!({"guided_choice": ["yes", "no?", "<a_b>"]})),
            Ok(choice)
        );
        let lark = Some(Grammar::Lark("start: \"a\"".to_owned()));
        assert_eq!(of(json!({"grammar": "start: \"a\""})), Ok(lark));
        assert_eq!(of(json!({"response_format": {"type": "text"}})), Ok(None));
        assert_eq!(of(json!({})), Ok(None));
    }

    #[test]
    fn what_cannot_be_conformed_to_is_refused_by_its_name() {
        for (fields, param) in [
            (
                json!({"response_format": {"type": "yaml"}}),
                "response_format.type",
            ),
            (
                json!({"response_format": {"type": "json_schema"}}),
                "response_format.json_schema.schema",
            ),
            (json!({"guided_json": 7}), "guided_json"),
            (json!({"guided_json": "no json"}), "guided_json"),
            (json!({"guided_choice": []}), "guided_choice"),
            (json!({"regex": "a", "grammar": "b"}), "grammar"),
            (json!({"regex": "a".repeat(LARGEST + 1)}), "regex"),
        ] {
            assert_eq!(of(fields).unwrap_err().param(), Some(param));
        }
    }
}
