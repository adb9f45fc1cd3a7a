//! What a protocol file fixes, as lines that can be compared.

use std::collections::BTreeSet;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    MethodDescriptorProto,
};

/// Returns a line for each call, message, field and value of a file.
pub fn of(file: &FileDescriptorProto) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for service in &file.service {
        for call in &service.method {
            facts.insert(format!("rpc {}.{}", service.name(), call_of(call)));
        }
    }
    for one in &file.message_type {
        message(one, "", &mut facts);
    }
    for one in &file.enum_type {
        values(one, "", &mut facts);
    }
    facts
}

fn call_of(call: &MethodDescriptorProto) -> String {
    let side = |streams: bool, name: &str| {
        let stream = if streams { "stream " } else { "" };
        format!("{stream}{}", name.replace(".inference.", ""))
    };
    let takes = side(call.client_streaming(), call.input_type());
    let gives = side(call.server_streaming(), call.output_type());
    format!("{} {takes} -> {gives}", call.name())
}

fn message(one: &DescriptorProto, within: &str, facts: &mut BTreeSet<String>) {
    let name = format!("{within}{}", one.name());
    if one.field.is_empty() {
        facts.insert(format!("message {name}"));
    }
    for field in &one.field {
        facts.insert(format!("field {name}.{}", field_of(one, field)));
    }
    for nested in &one.nested_type {
        message(nested, &format!("{name}."), facts);
    }
    for nested in &one.enum_type {
        values(nested, &format!("{name}."), facts);
    }
}

fn field_of(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let mut words = vec![field.name().to_owned(), field.number().to_string()];
    if field.label() == Label::Repeated {
        words.push("repeated".to_owned());
    }
    words.push(match field.r#type() {
        Type::Message | Type::Enum => field.type_name().replace(".inference.", ""),
        plain => plain
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    });
    if let Some(index) = field.oneof_index {
        let choice = &message.oneof_decl[usize::try_from(index).unwrap()];
        words.push(format!("in {}", choice.name()));
    }
    words.join(" ")
}

fn values(one: &EnumDescriptorProto, within: &str, facts: &mut BTreeSet<String>) {
    for value in &one.value {
        let number = value.number();
        facts.insert(format!(
            "value {within}{}.{} {number}",
            one.name(),
            value.name()
        ));
    }
}
