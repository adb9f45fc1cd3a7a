//! The messages of a conversation, checked before a template sees them.
//!
//! A template would turn a message of the wrong shape into a prompt that nobody meant, or fail in words about
//! itself. What the template alone can know, such as which roles may follow each other, is left to it.

use serde_json::Value;

use super::Refusal;

/// Roles that a message may have. `developer` is what OpenAI calls `system` now.
const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];

/// Returns the messages as a template takes them. `knows_developer` says whether it has a role of that name.
///
/// # Errors
/// Names the first message, and what of it, that is not as it must be.
pub(super) fn checked(messages: Vec<Value>, knows_developer: bool) -> Result<Vec<Value>, Refusal> {
    if messages.is_empty() {
        return Err(Refusal::invalid(
            "messages",
            "must have at least one message",
        ));
    }
    let messages = messages.into_iter().enumerate();
    messages
        .map(|(index, mut message)| {
            check(index, &message)?;
            if message["role"] == "developer" && !knows_developer {
                message["role"] = "system".into();
            }
            Ok(message)
        })
        .collect()
}

fn check(index: usize, message: &Value) -> Result<(), Refusal> {
    let at = |what: &str| format!("messages[{index}]{what}");
    if !message.is_object() {
        return Err(Refusal::invalid(at(""), "must be an object"));
    }
    let role = message.get("role").and_then(Value::as_str);
    let Some(role) = role.filter(|role| ROLES.contains(role)) else {
        let message = format!("must be one of {}", ROLES.join(", "));
        return Err(Refusal::invalid(at(".role"), message));
    };
    let calls = present(message, "tool_calls");
    match present(message, "content") {
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) => check_parts(index, parts)?,
        // An answer that is calls alone has no content.
        None if role == "assistant" && calls.is_some() => {}
        None => return Err(Refusal::invalid(at(".content"), "is missing")),
        Some(_) => {
            let message = "must be a string or a list of text parts";
            return Err(Refusal::invalid(at(".content"), message));
        }
    }
    for name in ["name", "tool_call_id"] {
        if present(message, name).is_some_and(|value| !value.is_string()) {
            return Err(Refusal::invalid(
                at(&format!(".{name}")),
                "must be a string",
            ));
        }
    }
    match calls {
        None => Ok(()),
        Some(Value::Array(calls)) if role == "assistant" => check_calls(index, calls),
        Some(_) if role == "assistant" => Err(Refusal::invalid(
            at(".tool_calls"),
            "must be a list of calls",
        )),
        Some(_) => Err(Refusal::invalid(
            at(".tool_calls"),
            "is for messages of the assistant alone",
        )),
    }
}

fn check_parts(index: usize, parts: &[Value]) -> Result<(), Refusal> {
    for (part, content) in parts.iter().enumerate() {
        let at = format!("messages[{index}].content[{part}]");
        match content.get("type").and_then(Value::as_str) {
            Some("text") if content["text"].is_string() => {}
            Some("text") => {
                return Err(Refusal::invalid(format!("{at}.text"), "must be a string"));
            }
            Some(other) => {
                let message =
                    format!("is of type {other:?}; this server takes parts of type \"text\" alone");
                return Err(Refusal::unsupported(at, message));
            }
            None => {
                let message = "must be an object with `type` \"text\" and `text`";
                return Err(Refusal::invalid(at, message));
            }
        }
    }
    Ok(())
}

fn check_calls(index: usize, calls: &[Value]) -> Result<(), Refusal> {
    for (call, value) in calls.iter().enumerate() {
        let at = |what: &str| format!("messages[{index}].tool_calls[{call}]{what}");
        if value
            .pointer("/function/name")
            .is_none_or(|name| !name.is_string())
        {
            return Err(Refusal::invalid(at(".function.name"), "must be a string"));
        }
        let arguments = value.pointer("/function/arguments");
        if arguments.is_none_or(|arguments| !arguments.is_string() && !arguments.is_object()) {
            let message = "must be a string of JSON";
            return Err(Refusal::invalid(at(".function.arguments"), message));
        }
    }
    Ok(())
}

/// Returns a field that is there and not null.
fn present<'a>(message: &'a Value, name: &str) -> Option<&'a Value> {
    message.get(name).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(messages: Value) -> Result<Vec<Value>, Refusal> {
        checked(messages.as_array().unwrap().clone(), false)
    }

    #[test]
    fn a_conversation_as_clients_send_it_is_taken_as_it_is() {
        let call = json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        let messages = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "eve"},
            {"role": "assistant", "content": null, "tool_calls": [call], "refusal": null},
            {"role": "tool", "content": "7", "tool_call_id": "call_1"},
            {"role": "assistant", "content": "seven", "tool_calls": null},
        ]);
        assert_eq!(of(messages.clone()).unwrap(), *messages.as_array().unwrap());
    }

    #[test]
    fn a_developer_is_a_system_to_a_template_that_knows_none() {
        let messages = vec![json!({"role": "developer", "content": "x"})];
        assert_eq!(
            checked(messages.clone(), false).unwrap()[0]["role"],
            "system"
        );
        assert_eq!(checked(messages, true).unwrap()[0]["role"], "developer");
    }

    #[test]
    fn what_is_wrong_with_a_message_has_its_place() {
        let user = json!({"role": "user", "content": "x"});
        let picture = json!([{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "x"}}]);
        for (messages, param) in [
            (json!([]), "messages"),
            (json!(["x"]), "messages[0]"),
            (json!([user, {"content": "x"}]), "messages[1].role"),
            (
                json!([{"role": "wizard", "content": "x"}]),
                "messages[0].role",
            ),
            (json!([{"role": "user"}]), "messages[0].content"),
            (
                json!([{"role": "assistant", "content": null}]),
                "messages[0].content",
            ),
            (
                json!([{"role": "user", "content": 7}]),
                "messages[0].content",
            ),
            (
                json!([{"role": "user", "content": picture}]),
                "messages[0].content[1]",
            ),
            (
                json!([{"role": "user", "content": ["x"]}]),
                "messages[0].content[0]",
            ),
            (
                json!([{"role": "user", "content": [{"type": "text"}]}]),
                "messages[0].content[0].text",
            ),
            (
                json!([{"role": "user", "content": "x", "name": 7}]),
                "messages[0].name",
            ),
            (
                json!([{"role": "user", "content": "x", "tool_calls": []}]),
                "messages[0].tool_calls",
            ),
            (
                json!([{"role": "assistant", "tool_calls": [{}]}]),
                "messages[0].tool_calls[0].function.name",
            ),
            (
                json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}]),
                "messages[0].tool_calls[0].function.arguments",
            ),
        ] {
            let refusal = of(messages).unwrap_err();
            assert_eq!(refusal.param(), Some(param), "{refusal}");
            assert!(refusal.message().contains(param), "{refusal}");
        }
    }
}
