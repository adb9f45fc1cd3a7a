use proptest::prelude::*;

use super::*;

fn field(name: &str, value: Value) -> Field {
    Field {
        name: name.to_owned(),
        place: Place::default(),
        value,
    }
}

fn word(word: &str) -> Value {
    Value::Word(word.to_owned())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn message(fields: Vec<Field>) -> Value {
    Value::Message(Message { fields })
}

#[track_caller]
fn parses(written: &str, fields: Vec<Field>) {
    assert_eq!(parse(written).unwrap().fields, fields, "{written}");
}

#[track_caller]
fn refuses(written: &str, problem: &str) {
    assert_eq!(
        parse(written).unwrap_err().to_string(),
        problem,
        "{written}"
    );
}

#[test]
fn every_kind_of_value_is_read() {
    parses(
        "a: 1 b: -2, c: 0x1F; d: 017\ne: 1.5 f: -.5e-3 g: 2f h: true i: KIND_CPU # word\nj: -inf",
        vec![
            field("a", Value::Integer(1)),
            field("b", Value::Integer(-2)),
            field("c", Value::Integer(31)),
            field("d", Value::Integer(15)),
            field("e", Value::Float(1.5)),
            field("f", Value::Float(-0.0005)),
            field("g", Value::Float(2.0)),
            field("h", word("true")),
            field("i", word("KIND_CPU")),
            field("j", Value::Float(f64::NEG_INFINITY)),
        ],
    );
}

#[test]
fn texts_have_escapes_and_pieces() {
    parses(
        r#"a: "x\ty\"\n" b: 'it"s' c: "one " 'and '  # a piece more
           "two" d: "\110\x69\u00e9\U0001F600" e: "größe" f: "" "#,
        vec![
            field("a", text("x\ty\"\n")),
            field("b", text("it\"s")),
            field("c", text("one and two")),
            field("d", text("Hié😀")),
            field("e", text("größe")),
            field("f", text("")),
        ],
    );
}

#[test]
fn messages_stand_in_braces_or_angles_with_or_without_a_colon() {
    let inner = || message(vec![field("b", Value::Integer(1))]);
    parses(
        "a { b: 1 } a: { b: 1 }, a < b: 1, >; a: < b: 1 > a {}",
        vec![
            field("a", inner()),
            field("a", inner()),
            field("a", inner()),
            field("a", inner()),
            field("a", message(Vec::new())),
        ],
    );
}

#[test]
fn a_list_is_its_values_one_by_one() {
    parses(
        "dims: [ -1, 3 ] dims: 4 empty: [] group [ { n: 1 }, < n: 2 > ]",
        vec![
            field("dims", Value::Integer(-1)),
            field("dims", Value::Integer(3)),
            field("dims", Value::Integer(4)),
            field("group", message(vec![field("n", Value::Integer(1))])),
            field("group", message(vec![field("n", Value::Integer(2))])),
        ],
    );
}

#[test]
fn every_mistake_is_told_with_its_line_and_column() {
    refuses(
        "a: 1\n  b 2",
        "line 2, column 5: a number where : or a message should be",
    );
    refuses(
        "a {\n b: 1\n",
        "line 3, column 1: the end where } or a field's name should be",
    );
    refuses(
        "a: 1 }",
        "line 1, column 6: } where the end or a field's name should be",
    );
    refuses(
        "a: [ 1 2 ]",
        "line 1, column 8: a number in a list, where , or ] should be",
    );
    refuses("a: [ 1, ]", "line 1, column 9: ] where a value should be");
    refuses(
        "a: < b: 1 }",
        "line 1, column 11: } where > or a field's name should be",
    );
    refuses(
        "a: \"x\ny\"",
        "line 1, column 4: a text that does not end on its line",
    );
    refuses(
        "a: \"\\q\"",
        "line 1, column 6: an escape that is none: \\q",
    );
    refuses(
        "a: \"\\777\"",
        "line 1, column 6: an escape that is none: \\777",
    );
    refuses("a: \"\\xff\"", "line 1, column 4: a text that is no UTF-8");
    refuses("a: 08", "line 1, column 4: 08 is no number");
    refuses("a: 12ab", "line 1, column 4: 12ab is no number");
    refuses(
        "a: 99999999999999999999",
        "line 1, column 4: 99999999999999999999 is no number",
    );
    refuses("a: -b", "line 1, column 5: -b is no number");
    refuses(
        "a: -\"b\"",
        "line 1, column 5: a text where a value should be",
    );
    refuses("a: @", "line 1, column 4: '@' has no meaning here");
    refuses(
        "[x.y] { }",
        "line 1, column 1: extensions and Any are not understood here",
    );
    refuses("é: 1", "line 1, column 1: 'é' has no meaning here");
}

#[test]
fn messages_are_nested_so_deep_and_no_deeper() {
    let nested = |depth| format!("{}{}", "a {".repeat(depth), "}".repeat(depth));
    parse(&nested(MAX_DEPTH)).unwrap();
    let error = parse(&nested(MAX_DEPTH + 1)).unwrap_err();
    assert!(error.what.contains("more than 32 deep"), "{error}");
    let lists = "a: [".repeat(1_000_000);
    assert!(parse(&lists).is_err());
    assert!(parse(&"a <".repeat(1_000_000)).is_err());
}

#[test]
fn a_text_that_is_too_long_is_not_read() {
    let error = parse(&"#".repeat(MAX_BYTES + 1)).unwrap_err();
    assert!(error.what.contains("at most"), "{error}");
}

/// Writes a message in one of the many ways there are; `styles` decides at every choice.
fn write(message: &Message, styles: &mut impl FnMut(usize) -> usize, out: &mut String) {
    let mut fields = message.fields.iter().peekable();
    while let Some(field) = fields.next() {
        out.push_str(&field.name);
        let mut list = vec![&field.value];
        if styles(2) == 0 {
            while let Some(next) = fields.next_if(|next| next.name == field.name) {
                list.push(&next.value);
            }
        }
        let messages = list.iter().all(|value| matches!(value, Value::Message(_)));
        if !messages || styles(2) == 0 {
            out.push_str([":", " : ", ": # why\n "][styles(3)]);
        }
        if list.len() > 1 {
            out.push('[');
        }
        for (index, value) in list.iter().enumerate() {
            out.push_str(if index > 0 { ", " } else { " " });
            write_value(value, styles, out);
        }
        if list.len() > 1 {
            out.push(']');
        }
        out.push_str([" ", "\n", ", ", "; "][styles(4)]);
    }
}

fn write_value(value: &Value, styles: &mut impl FnMut(usize) -> usize, out: &mut String) {
    match value {
        Value::Integer(number) if *number >= 0 => match styles(3) {
            0 => out.push_str(&format!("0x{number:x}")),
            1 => out.push_str(&format!("0{number:o}")),
            _ => out.push_str(&number.to_string()),
        },
        Value::Integer(number) => out.push_str(&number.to_string()),
        Value::Float(number) => out.push_str(&format!("{number:?}")),
        Value::Word(word) => out.push_str(word),
        Value::Text(text) => write_text(text, styles, out),
        Value::Message(message) => {
            let angles = styles(2) == 0;
            out.push(if angles { '<' } else { '{' });
            write(message, styles, out);
            out.push(if angles { '>' } else { '}' });
        }
    }
}

fn write_text(text: &str, styles: &mut impl FnMut(usize) -> usize, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match (c, styles(4)) {
            ('"' | '\\' | '\n', _) | (_, 0) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    out.push_str(&format!("\\{byte:03o}"));
                }
            }
            (c, 1) => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            (c, 2) => {
                out.push(c);
                out.push_str("\" '");
                out.push_str("'\t\"");
            }
            (c, _) => out.push(c),
        }
    }
    out.push('"');
}

fn any_message() -> impl Strategy<Value = Message> {
    let value = prop_oneof![
        (i128::from(i64::MIN)..=i128::from(u64::MAX)).prop_map(Value::Integer),
        (-1e300f64..1e300).prop_map(Value::Float),
        (-1e3f64..1e3).prop_map(Value::Float),
        "[A-Za-z_][A-Za-z0-9_]{0,8}".prop_map(Value::Word),
        any::<String>().prop_map(Value::Text),
    ];
    let fields = |value| {
        let field = ("[a-c]|[a-z_][a-z0-9_]{0,6}", value);
        let field = field.prop_map(|(name, value)| super::tests::field(&name, value));
        proptest::collection::vec(field, 0..6).prop_map(|fields| Message { fields })
    };
    let tree = value.prop_recursive(4, 32, 6, move |inner| {
        fields(inner).prop_map(Value::Message)
    });
    let field = ("[a-z_][a-z0-9_]{0,6}", tree);
    let field = field.prop_map(|(name, value)| super::tests::field(&name, value));
    proptest::collection::vec(field, 0..6).prop_map(|fields| Message { fields })
}

proptest! {
    #[test]
    fn whatever_was_written_is_read_back(
        tree in any_message(),
        styles in proptest::collection::vec(any::<u8>(), 1..64),
    ) {
        let mut next = styles.iter().cycle();
        let mut style = |choices: usize| usize::from(*next.next().unwrap()) % choices;
        let mut written = String::new();
        write(&tree, &mut style, &mut written);
        prop_assert_eq!(parse(&written).map_err(|e| e.to_string()), Ok(tree), "{}", written);
    }

    #[test]
    fn no_text_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_order_of_pieces_makes_the_parser_panic(
        pieces in proptest::collection::vec(prop_oneof![
            Just("a"), Just(":"), Just("{"), Just("}"), Just("<"), Just(">"), Just("["),
            Just("]"), Just(","), Just(";"), Just("-"), Just("\""), Just("'"), Just("\\"),
            Just("0x"), Just("1e"), Just("."), Just("9"), Just("#"), Just("\n"), Just("\\u12"),
            Just("é"), Just("inf"), Just(" "),
        ], 0..64),
    ) {
        let text = pieces.concat();
        if let Err(problem) = parse(&text) {
            let lines = text.split('\n').count();
            prop_assert!((1..=lines).contains(&problem.line), "{problem} in {text:?}");
        }
    }
}
