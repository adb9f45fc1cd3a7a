//! Whether an answer is what a page shows of it.
//!
//! Values differ from run to run; names do not. So objects must have the same fields, no more and no
//! fewer, unless the page shows a field `…`; values must be of one type; and what has no digit in it
//! (`ready`, `serving`, true) must be the same. An ellipsis in a text stands for anything.

use serde_json::Value;

const REST: &str = "…";

/// Says where an answer differs from what is shown.
pub fn json(shown: &Value, answer: &Value, at: &str) -> Result<(), String> {
    match (shown, answer) {
        (Value::Object(shown), Value::Object(answer)) => {
            for (name, value) in shown.iter().filter(|(name, _)| *name != REST) {
                let at = format!("{at}.{name}");
                let found = answer
                    .get(name)
                    .ok_or_else(|| format!("{at} is shown and not answered"))?;
                json(value, found, &at)?;
            }
            let more = answer.keys().find(|name| !shown.contains_key(*name));
            match more {
                Some(name) if !shown.contains_key(REST) => {
                    Err(format!("{at}.{name} is answered and not shown"))
                }
                _ => Ok(()),
            }
        }
        (Value::Array(shown), Value::Array(answer)) => {
            let pairs = shown.iter().zip(0..);
            for (value, index) in pairs {
                let at = format!("{at}[{index}]");
                let found = answer
                    .get(index)
                    .ok_or_else(|| format!("{at} is shown and not answered"))?;
                json(value, found, &at)?;
            }
            Ok(())
        }
        // What has not happened yet has no value.
        (_, Value::Null) | (Value::Null, _) => Ok(()),
        (Value::Number(_), Value::Number(_)) => Ok(()),
        (Value::String(shown), Value::String(answer)) if fits(shown, answer) => Ok(()),
        (Value::Bool(shown), Value::Bool(answer)) if shown == answer => Ok(()),
        _ => Err(format!("{at} is shown as {shown} and answered as {answer}")),
    }
}

/// Says which line is shown and not answered; answered lines that are not shown are left out.
pub fn lines(shown: &[String], answer: &str) -> Result<(), String> {
    let mut answered = answer.lines().map(without_numbers);
    for line in shown.iter().filter(|line| !line.trim().is_empty()) {
        let wanted = without_numbers(line);
        if !answered.any(|line| has_parts(&wanted, &line)) {
            return Err(format!("the line is shown and not answered: {line}"));
        }
    }
    Ok(())
}

fn fits(shown: &str, answer: &str) -> bool {
    let is_volatile = shown.contains(|c: char| c.is_ascii_digit());
    is_volatile || has_parts(shown, answer)
}

/// Tells whether a text is what is shown, anything standing where that has an ellipsis.
fn has_parts(shown: &str, answer: &str) -> bool {
    let mut parts = shown.split(REST);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = answer.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Makes one number of all, and one space of each run of white space.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    let words: Vec<&str> = line.split_whitespace().collect();
    let line = words.join(" ");
    let mut inside = false;
    for letter in line.chars() {
        let is_number = letter.is_ascii_digit() || (inside && letter == '.');
        if !is_number {
            text.push(letter);
        } else if !inside {
            text.push('0');
        }
        inside = is_number;
    }
    text
}

#[test]
fn a_field_too_many_or_too_few_and_another_word_are_noticed() {
    let shown = serde_json::json!({"status": "ready", "at": "2025", "n": 1, "in": {"…": 0}});
    let fits = serde_json::json!({"status": "ready", "at": "2026", "n": 2.5, "in": {"x": 1}});
    assert_eq!(json(&shown, &fits, ""), Ok(()));
    for (pointer, value) in [
        ("status", "not_ready".into()),
        ("n", "1".into()),
        ("more", 1.into()),
    ] {
        let mut answer = fits.clone();
        answer[pointer] = value;
        assert!(json(&shown, &answer, "").is_err(), "{pointer}");
    }
    let mut answer = fits;
    answer.as_object_mut().unwrap().remove("at");
    assert!(json(&shown, &answer, "").is_err());
}

#[test]
fn lines_are_compared_but_for_their_numbers_and_in_their_order() {
    let shown = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    let answer = "up 1\nname{a=\"b\"} 17.25\nfailed: x is gone (os error 2)\n";
    assert_eq!(
        lines(&shown(&["name{a=\"b\"} 0", "failed: x is … (…)"]), answer),
        Ok(())
    );
    for wrong in [
        &["name{a=\"c\"} 0"][..],
        &["failed: x", "up 1"],
        &["down 1"],
    ] {
        assert!(lines(&shown(wrong), answer).is_err(), "{wrong:?}");
    }
}
