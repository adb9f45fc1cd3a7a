//! The page that describes what a model's folder may say.

use std::collections::BTreeSet;

use impetus_actors::serving::description::Description;

fn page() -> String {
    std::fs::read_to_string("docs/models.md").unwrap()
}

/// Returns the examples of `model.toml` on the page.
fn examples(page: &str) -> Vec<&str> {
    let blocks = page.split("```toml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

/// Returns every key that the section of a description has: what is no key is refused with their
/// names.
fn keys(before: &str, section: &str) -> Vec<String> {
    let text = format!("{before}\nno_such_key = 1");
    let refused = toml::from_str::<Description>(&text).unwrap_err();
    let message = refused.message().to_owned();
    let listed = message.split("expected").nth(1);
    let listed = listed.unwrap_or_else(|| panic!("no keys are named: {message}"));
    let names = listed.split('`').skip(1).step_by(2);
    names.map(|name| format!("{section}{name}")).collect()
}

/// Returns every key of a description.
fn all_keys() -> BTreeSet<String> {
    const SECTIONS: [&str; 7] = [
        "budgets",
        "restart",
        "memory",
        "image",
        "batching",
        "generation",
        "log",
    ];
    let mut all = BTreeSet::new();
    for key in keys("", "") {
        if SECTIONS.contains(&key.as_str()) {
            all.extend(keys(&format!("[{key}]"), &format!("{key}.")));
        } else {
            all.insert(key);
        }
    }
    all.extend(keys("[[warm_up]]", "warm_up."));
    all
}

/// Returns the keys that a text sets.
fn set_by(text: &str) -> BTreeSet<String> {
    let table: toml::Table = toml::from_str(text).unwrap();
    let mut set = BTreeSet::new();
    for (key, value) in &table {
        let sections = match value {
            toml::Value::Array(sections) => sections.iter().collect(),
            section => vec![section],
        };
        for section in sections.into_iter().filter_map(toml::Value::as_table) {
            set.extend(section.keys().map(|inner| format!("{key}.{inner}")));
        }
        set.insert(key.clone());
    }
    set
}

#[test]
fn every_key_of_a_model_is_described_and_has_an_example() {
    let page = page();
    let all = all_keys();
    assert!(all.len() > 40, "{all:?}");
    let examples: BTreeSet<String> = examples(&page).into_iter().flat_map(set_by).collect();
    for key in &all {
        // Two spellings of one key: the page has the other one.
        if key == "instances" {
            continue;
        }
        assert!(page.contains(&format!("`{key}`")), "{key} is not described");
        assert!(examples.contains(key), "{key} has no example");
    }
}

#[test]
fn every_example_of_a_model_is_understood() {
    let page = page();
    let examples = examples(&page);
    assert!(examples.len() >= 5);
    for example in examples {
        let description: Description =
            toml::from_str(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
        assert_eq!(description.problem(), None, "{example}");
    }
}
