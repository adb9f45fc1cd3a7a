//! Batches for `POST /log` that are wrong, large, deep, or made to break something behind it.

use std::io::Write;

use serde_json::{Value, json};

use crate::database::batch;
use crate::harness::watch::LivenessWatch;
use crate::harness::{Answer, Server, Setup};
use crate::postgres::{Postgres, forwarding, wait_until_forwarded};
use crate::survival::all_rows;
use crate::v2::post;

const JSON: (&str, &str) = ("content-type", "application/json");

fn logging(setup: Setup) -> Server {
    let server = setup.set("role", "\"logging\"").start();
    server.wait_for("the database", || server.get("/ready").status == 200);
    server
}

fn log(server: &Server, body: &[u8]) -> Answer {
    post(server, "/log", &[JSON], body)
}

/// Insists that a batch was refused as such, that nothing of it was taken, and that the next one is.
#[track_caller]
fn assert_refused(server: &Server, answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.json()["code"], code, "{}", answer.text());
    assert_eq!(server.get("/stats").json()["total"], 0, "half-written");
}

/// Insists that a good batch is taken, after all the others.
#[track_caller]
fn assert_takes_good_ones(server: &Server) {
    let logged = server.post_json("/log", &batch("line-1", &["one", "two"]));
    assert_eq!(logged.status, 200, "{}", logged.text());
    assert_eq!(server.get("/stats").json()["total"], 2);
}

#[test]
fn each_bad_prediction_of_a_batch_is_named_at_once_and_none_of_the_good_ones_is_taken() {
    let server = logging(Setup::without_models());
    let names: Vec<String> = (0..12).map(|number| format!("image-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut wrong = batch("line-1", &names);
    let bad = [
        (1, "timestamp", json!("yesterday")),
        (3, "inference_time_ms", json!("fast")),
        (4, "image_id", json!("")),
        (5, "model_name", json!("with\u{0}nul")),
        (6, "defect_detected", json!("perhaps")),
        (8, "detections", json!("none")),
        (9, "model_version", json!("v".repeat(513))),
        (10, "image_id", Value::Null),
    ];
    for (index, field, value) in &bad {
        wrong["predictions"][index][*field] = value.clone();
    }
    let missing = wrong["predictions"][11].as_object_mut().unwrap();
    missing.remove("model_name");
    let answer = server.post_json("/log", &wrong);
    assert_refused(&server, &answer, 422, "invalid_batch");
    let named = answer.json()["details"].as_array().unwrap().clone();
    let named: Vec<&str> = named
        .iter()
        .map(|detail| detail["field"].as_str().unwrap())
        .collect();
    let expected: Vec<String> = bad
        .iter()
        .map(|(index, field, _)| format!("predictions[{index}].{field}"))
        .chain(["predictions[11].model_name".to_owned()])
        .collect();
    assert_eq!(named, expected);
    assert_takes_good_ones(&server);
}

#[test]
fn a_name_with_a_nul_is_refused_wherever_it_is() {
    let server = logging(Setup::without_models());
    let nul = json!("a\u{0}b");
    for path in [
        "/edge_device_id",
        "/predictions/0/id",
        "/predictions/0/image_id",
        "/predictions/0/model_name",
        "/predictions/0/model_version",
        "/predictions/0/detections/0/class",
    ] {
        let mut wrong = batch("line-1", &["one"]);
        wrong["predictions"][0]["id"] = json!("an id");
        *wrong.pointer_mut(path).unwrap() = nul.clone();
        let answer = server.post_json("/log", &wrong);
        assert_refused(&server, &answer, 422, "invalid_batch");
        assert!(answer.text().contains("NUL"), "{path}: {}", answer.text());
    }
    assert_takes_good_ones(&server);
}

#[test]
fn a_batch_of_too_many_or_too_large_predictions_is_refused_with_the_limit() {
    let server = logging(
        Setup::without_models()
            .set("predlog.max_batch_rows", "50")
            .set("http.max_body", "\"64KiB\""),
    );
    let watch = LivenessWatch::start(&server);
    let names: Vec<String> = (0..51).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let answer = server.post_json("/log", &batch("line-1", &names));
    assert_refused(&server, &answer, 413, "too_many_predictions");
    assert!(
        answer.text().contains("50 are allowed"),
        "{}",
        answer.text()
    );
    let mut large = batch("line-1", &["one"]);
    large["predictions"][0]["processing_notes"] = json!("x".repeat(65 << 10));
    let answer = server.post_json("/log", &large);
    assert_refused(&server, &answer, 413, "too_large");
    assert_takes_good_ones(&server);
    watch.assert_always_alive();
}

#[test]
fn json_that_is_nested_ten_thousand_deep_is_refused_wherever_it_is() {
    let server = logging(Setup::without_models());
    let watch = LivenessWatch::start(&server);
    let lists = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    for deep in [lists, objects] {
        for place in ["note", "confidence_scores", "detections", "image_id"] {
            let text = batch("line-1", &["one"]).to_string();
            let inside = text.replacen(
                "\"image_id\":\"one\"",
                &format!("\"image_id\":\"one\",\"{place}\":{deep}"),
                1,
            );
            let answer = log(&server, inside.as_bytes());
            let refused = [400, 422].contains(&answer.status);
            assert!(refused, "{place}: {} {}", answer.status, answer.text());
            // Beside the predictions, where nothing is stored.
            let beside = text.replacen('{', &format!("{{\"{place}\":{deep},"), 1);
            let answer = log(&server, beside.as_bytes());
            assert!(answer.status < 500, "{place}: {}", answer.text());
        }
        let answer = log(&server, deep.as_bytes());
        assert!(
            [400, 422].contains(&answer.status),
            "{} {}",
            answer.status,
            answer.text()
        );
    }
    watch.assert_always_alive();
}

#[test]
fn what_is_no_json_in_utf_8_is_refused() {
    let server = logging(Setup::without_models());
    let text = batch("lïne-1", &["one"]).to_string();
    let utf_16 = utf_16_of(&text);
    let with_mark = [0xff, 0xfe].into_iter().chain(utf_16_of(&text)).collect();
    let latin_1: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
    let mut cut = text.clone().into_bytes();
    cut.truncate(text.find('ï').unwrap() + 1);
    let mut overlong = text.clone().into_bytes();
    let place = text.find('ï').unwrap();
    overlong[place] = 0xc0;
    overlong[place + 1] = 0xaf;
    let bodies: [(&str, Vec<u8>); 9] = [
        ("UTF-16", utf_16),
        ("UTF-16 with a mark", with_mark),
        ("Latin-1", latin_1),
        ("a mark before UTF-8", marked),
        ("cut off within a character", cut),
        ("an overlong form", overlong),
        ("nothing", Vec::new()),
        ("NaN", text.replacen("4.25", "NaN", 1).into_bytes()),
        (
            "Infinity",
            text.replacen("4.25", "-Infinity", 1).into_bytes(),
        ),
    ];
    for (what, body) in bodies {
        let answer = log(&server, &body);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert_refused(&server, &answer, 400, "not_json");
    }
    assert_takes_good_ones(&server);
}

fn utf_16_of(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn numbers_that_are_none_and_keys_that_are_there_twice_are_refused() {
    let server = logging(Setup::without_models());
    let text = batch("line-1", &["one"]).to_string();
    for (from, to) in [
        ("4.25", "1e999"),
        ("4.25", "-1e999"),
        ("0.9,", "1e999,"),
        ("\"image_id\"", "\"image_id\":\"another\",\"image_id\""),
        (
            "\"edge_device_id\"",
            "\"edge_device_id\":\"x\",\"edge_device_id\"",
        ),
        ("\"batch_size\":1", "\"batch_size\":1e999"),
        ("\"batch_size\":1", "\"batch_size\":-1"),
    ] {
        assert!(text.contains(from), "{from} is not in {text}");
        let answer = log(&server, text.replacen(from, to, 1).as_bytes());
        let refused = [400, 422].contains(&answer.status);
        assert!(refused, "{to}: {} {}", answer.status, answer.text());
        assert_eq!(server.get("/stats").json()["total"], 0, "{to}");
    }
    assert_takes_good_ones(&server);
}

#[test]
fn a_body_that_claims_to_be_compressed_is_not_taken_for_something_else() {
    let server = logging(Setup::without_models());
    let text = batch("line-1", &["one"]).to_string();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    for coding in ["gzip", "deflate", "br", "nonsense"] {
        for body in [&packed[..], b"\x1f\x8b\x08\x00broken"] {
            let answer = post(&server, "/log", &[JSON, ("content-encoding", coding)], body);
            let refused = (400..500).contains(&answer.status);
            assert!(refused, "{coding}: {} {}", answer.status, answer.text());
        }
    }
    assert_eq!(server.get("/stats").json()["total"], 0);
    assert_takes_good_ones(&server);
}

/// What has made databases do what their owners did not want.
const SQL: [&str; 10] = [
    "'; DROP TABLE predictions; --",
    "\"; DELETE FROM predictions; --",
    "x' OR '1'='1",
    "$1 $$ $body$ :name ?1 @p %s %(x)s",
    "\\'; COPY predictions TO PROGRAM 'true'; --",
    "\\x00 \\u0041 E'\\\\'",
    "*/ UNION SELECT version() /*",
    "{1,2}\",\"NULL",
    "NULL",
    "𝔘nïcode \u{202e} \u{feff} \u{ffff} '' \"\" ``",
];

#[test]
fn sql_in_every_text_comes_back_as_it_was_sent() {
    let server = logging(Setup::without_models());
    assert_sql_comes_back(&server);
}

#[test]
fn sql_in_every_text_comes_back_from_postgresql_as_it_was_sent() {
    let postgres = Postgres::start();
    let server = forwarding(Setup::without_models(), &postgres).start();
    server.wait_for("the sink", || server.get("/ready").status == 200);
    assert_sql_comes_back(&server);
    let tables = "SELECT count(*) FROM pg_class WHERE relname IN ('predictions', 'rollup_models')";
    assert_eq!(postgres.psql(tables), "2");
}

fn assert_sql_comes_back(server: &Server) {
    let mut sent = Vec::new();
    for text in SQL {
        let mut hostile = batch(text, &[text]);
        let prediction = &mut hostile["predictions"][0];
        for field in [
            "model_name",
            "model_version",
            "processing_notes",
            "note",
            "id",
        ] {
            prediction[field] = json!(text);
        }
        prediction["detections"][0]["class"] = json!(text);
        prediction["confidence_scores"] = json!({text: 0.5});
        prediction[text] = json!({text: [text]});
        let logged = server.post_json("/log", &hostile);
        assert_eq!(logged.status, 200, "{text}: {}", logged.text());
        let mut expected = hostile["predictions"][0].clone();
        expected["edge_device_id"] = json!(text);
        sent.push(expected);
    }
    wait_until_kept(server);
    let mut rows = all_rows(server);
    for row in &mut rows {
        row.as_object_mut().unwrap().remove("logged_at");
    }
    let by_image = |row: &Value| row["image_id"].as_str().unwrap().to_owned();
    sent.sort_by_key(by_image);
    rows.sort_by_key(by_image);
    assert_eq!(rows, sent);
    let stats = server.get("/stats").json();
    assert_eq!(stats["total"], json!(SQL.len()), "{stats:#}");
    for text in SQL {
        assert_eq!(stats["by_device"][text]["total"], 1, "{text}: {stats:#}");
        assert_eq!(stats["by_model"][text]["total"], 1, "{text}: {stats:#}");
        let filter: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for name in ["edge_device_id", "model"] {
            let page = server.get(&format!("/predictions?{name}={filter}"));
            assert_eq!(page.status, 200, "{}", page.text());
            let page = page.json();
            assert_eq!(page["predictions"].as_array().unwrap().len(), 1, "{page:#}");
            assert_eq!(page["predictions"][0]["image_id"], text);
        }
    }
}

/// Waits until what was logged can be read, also where it is read elsewhere.
fn wait_until_kept(server: &Server) {
    let sink = crate::postgres::database(server)["sink"].clone();
    if !sink.is_null() {
        wait_until_forwarded(server);
    }
}

/// A reader gets all of a prediction, also what the contract does not know. One that cannot be read
/// would keep every page from being shown that it is on.
#[test]
fn what_could_not_be_read_back_is_refused() {
    let server = logging(Setup::without_models());
    let text = batch("line-1", &["one", "two"]).to_string();
    for note in [
        r#""\ud800""#,
        r#"["\udc00x"]"#,
        r#"{"a":1e999}"#,
        r#"{"\ud800":1}"#,
    ] {
        let noted = format!(r#""image_id":"two","note":{note}"#);
        let body = text.replacen("\"image_id\":\"two\"", &noted, 1);
        let answer = log(&server, body.as_bytes());
        assert_refused(&server, &answer, 422, "invalid_batch");
        assert!(
            answer.text().contains("predictions[1].note"),
            "{}",
            answer.text()
        );
    }
    assert_takes_good_ones(&server);
}

/// PostgreSQL knows no text with a NUL in it, which keeps nothing from where it belongs.
#[test]
fn text_that_postgresql_cannot_have_as_text_is_kept_as_it_was_sent() {
    let postgres = Postgres::start();
    let server = forwarding(Setup::without_models(), &postgres).start();
    server.wait_for("the sink", || server.get("/ready").status == 200);
    let text = batch("line-1", &["one", "two"]).to_string();
    let text = text.replacen(
        "\"processing_notes\":\"\"",
        r#""processing_notes":"a\u0000b","note":{"\u0000":"\u0000"}"#,
        1,
    );
    let logged = log(&server, text.as_bytes());
    assert_eq!(logged.status, 200, "{}", logged.text());
    wait_until_forwarded(&server);
    assert_eq!(postgres.psql("SELECT count(*) FROM predictions"), "2");
    let rows = all_rows(&server);
    let of = |image: &str| rows.iter().find(|row| row["image_id"] == image).unwrap();
    assert_eq!(of("one")["processing_notes"], "a\u{0}b");
    assert_eq!(of("one")["note"], json!({"\u{0}": "\u{0}"}));
}
