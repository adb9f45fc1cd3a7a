//! `GET /export`: everything that was logged, as a file that is whole or visibly is not.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::database::batch;
use crate::durability::wait_connected;
use crate::harness::scrape::Scrape;
use crate::harness::{Answer, Server, Setup};

const COLUMNS: &str = "id,image_id,timestamp,edge_device_id,model_name,model_version,\
                       inference_time_ms,defect_detected,class,confidence,detections,\
                       confidence_scores,processing_notes,logged_at";

fn logging() -> Server {
    wait_connected(Setup::without_models().set("role", "\"logging\"").start())
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).map(String::as_str)
}

/// Logs so many predictions of a device, every third a defect, and returns their images.
fn log(server: &Server, device: &str, count: usize) -> BTreeSet<String> {
    let image = |n: usize| {
        format!(
            "{}-{device}-{n}",
            if n.is_multiple_of(3) { "bad" } else { "good" }
        )
    };
    let images: Vec<String> = (0..count).map(image).collect();
    for chunk in images.chunks(1000) {
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        let logged = server.post_json("/log", &batch(device, &chunk));
        assert_eq!(logged.status, 200, "{}", logged.text());
    }
    images.into_iter().collect()
}

fn export(server: &Server, query: &str) -> Answer {
    let answer = server.get(&format!("/export?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// Returns the images of a file of CSV, in their order.
fn csv_images(answer: &Answer) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(answer.body.as_slice());
    assert_eq!(
        reader
            .headers()
            .unwrap()
            .iter()
            .collect::<Vec<_>>()
            .join(","),
        COLUMNS
    );
    let image = |row: Result<csv::StringRecord, csv::Error>| row.unwrap()[1].to_owned();
    reader.records().map(image).collect()
}

fn lines(answer: &Answer) -> Vec<Value> {
    let lines = answer.body.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| {
            assert_eq!(line.last(), Some(&b'\n'), "a line without its end");
            serde_json::from_slice(line).unwrap()
        })
        .collect()
}

#[test]
fn each_format_has_what_pages_have() {
    let server = logging();
    let mut sent = batch("line-1", &["bad-1", "good-2"]);
    sent["predictions"][0]["processing_notes"] = json!("=1+1, \"quoted\"\nand a second line");
    sent["predictions"][0]["site"] = json!("hall 3");
    assert_eq!(server.post_json("/log", &sent).status, 200);
    let page = server.get("/predictions").json();
    let page = page["predictions"].as_array().unwrap();

    let jsonl = export(&server, "format=jsonl");
    assert_eq!(header(&jsonl, "content-type"), Some("application/x-ndjson"));
    assert_eq!(lines(&jsonl), *page);

    let csv = export(&server, "format=csv");
    assert_eq!(
        header(&csv, "content-disposition"),
        Some("attachment; filename=\"predictions.csv\"")
    );
    let mut reader = csv::Reader::from_reader(csv.body.as_slice());
    let names = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), page.len());
    for (row, prediction) in rows.iter().zip(page) {
        for (name, cell) in names.iter().zip(row) {
            let expected = match (name, &prediction[name]) {
                ("class" | "confidence", _) => continue,
                (_, Value::Null) => String::new(),
                (_, Value::String(text)) => text.clone(),
                (_, other) => other.to_string(),
            };
            assert_eq!(cell, expected, "{name}");
        }
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_is_read_back_by_its_own_reader() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Row, RowAccessor};

    let server = logging();
    let images = log(&server, "line-1", 2_500);
    let answer = export(&server, "format=parquet");
    assert_eq!(
        header(&answer, "content-type"),
        Some("application/vnd.apache.parquet")
    );
    let reader = SerializedFileReader::new(bytes::Bytes::from(answer.body.clone())).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 2_500);
    let rows = reader.get_row_iter(None).unwrap();
    let rows: Vec<_> = rows.map(Result::unwrap).collect();
    let image = |row: &Row| row.get_string(1).unwrap().clone();
    assert_eq!(rows.iter().map(image).collect::<BTreeSet<_>>(), images);
    let noon = 1_735_732_800_000_000;
    assert!(
        rows.iter()
            .all(|row| row.get_timestamp_micros(2).unwrap() == noon)
    );
}

#[test]
fn filters_are_those_of_pages() {
    let server = logging();
    let odd = log(&server, "odd", 31);
    let even = log(&server, "even", 20);
    let of_odd = csv_images(&export(&server, "edge_device_id=odd"));
    assert_eq!(of_odd.iter().cloned().collect::<BTreeSet<_>>(), odd);
    let defects = csv_images(&export(&server, "defect_only=true&edge_device_id=even"));
    assert_eq!(
        defects.len(),
        even.iter().filter(|image| image.starts_with("bad")).count()
    );
    assert_eq!(csv_images(&export(&server, "limit=7")).len(), 7);
    assert_eq!(csv_images(&export(&server, "model=nobody")), [""; 0]);
    assert_eq!(
        csv_images(&export(&server, "to=1999-01-01T00:00:00Z")),
        [""; 0]
    );
    let none = lines(&export(&server, "format=jsonl&from=2999-01-01T00:00:00Z"));
    assert!(none.is_empty(), "{none:?}");
}

#[test]
fn what_cannot_be_exported_is_refused_with_its_reason() {
    let server = logging();
    for (query, expected) in [
        ("format=xlsx", "`format` is csv, jsonl or parquet"),
        ("limit=0", "`limit`"),
        ("limit=x", "`limit`"),
        ("defect_only=maybe", "`defect_only`"),
        ("from=yesterday", "`from`"),
        ("to=tomorrow", "`to`"),
    ] {
        let refused = server.get(&format!("/export?{query}"));
        assert_eq!(refused.status, 400, "{query}: {}", refused.text());
        assert_eq!(refused.json()["code"], "bad_query", "{query}");
        let error = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(expected), "{query}: {error}");
    }
}

/// Rows that come meanwhile may be in it or not; those of before are, once, the newest first.
#[test]
fn an_export_has_each_row_of_before_once_while_others_come() {
    let server = logging();
    let before = log(&server, "before", 6_000);
    let stop = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut round = 0;
            while !stop.load(Ordering::SeqCst) {
                log(&server, &format!("later-{round}"), 10);
                round += 1;
            }
            round
        });
        for _ in 0..3 {
            for format in ["csv", "jsonl"] {
                let answer = export(&server, &format!("format={format}"));
                let images = match format {
                    "csv" => csv_images(&answer),
                    _ => lines(&answer)
                        .iter()
                        .map(|line| line["image_id"].as_str().unwrap().to_owned())
                        .collect(),
                };
                let distinct: BTreeSet<String> = images.iter().cloned().collect();
                assert_eq!(distinct.len(), images.len(), "some are there twice");
                let missing: Vec<_> = before.difference(&distinct).collect();
                assert!(missing.is_empty(), "{} are missing", missing.len());
            }
        }
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap()
    });
    assert!(rounds > 0, "nothing came meanwhile");
}

/// Opens a connection and reads no further than the beginning of an export of many megabytes.
fn begin_to_read(server: &Server) -> TcpStream {
    let address = server.url("").replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    let request = format!("GET /export?format=jsonl HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut beginning = [0; 1024];
    stream.read_exact(&mut beginning).unwrap();
    assert!(beginning.starts_with(b"HTTP/1.1 200"));
    stream
}

/// Logs more than the buffers of a connection hold.
fn log_much(server: &Server) {
    let notes = "x".repeat(8_000);
    for round in 0..10 {
        let images: Vec<String> = (0..250).map(|n| format!("good-{round}-{n}")).collect();
        let mut much = batch(
            "large",
            &images.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        for prediction in much["predictions"].as_array_mut().unwrap() {
            prediction["processing_notes"] = json!(notes);
        }
        assert_eq!(server.post_json("/log", &much).status, 200);
    }
}

/// Each export takes one of few places; one that went on without its reader would keep it.
#[test]
fn a_reader_that_goes_away_ends_its_export() {
    let server = logging();
    log_much(&server);
    let readers: Vec<TcpStream> = (0..4).map(|_| begin_to_read(&server)).collect();
    let refused = server.get("/export");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.json()["code"], "too_many_exports");
    assert_eq!(header(&refused, "retry-after"), Some("10"));
    drop(readers);
    server.wait_for("a place to be free again", || {
        server.get("/export?limit=1").status == 200
    });
}

/// What was sent by then is no whole file, and no client takes it for one.
#[test]
fn a_database_that_fails_in_the_middle_cuts_the_connection() {
    let server = logging();
    log_much(&server);
    let mut reader = begin_to_read(&server);
    let file = server.dir.path().join("data/predictions.db");
    std::fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(0)
        .unwrap();
    let mut rest = Vec::new();
    // The end of the connection may come as a reset.
    let _ = reader.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"\r\n0\r\n\r\n"), "it looks complete");
    server.wait_for_log("export broken off");
}

#[test]
fn exports_are_counted_as_such() {
    let server = logging();
    export(&server, "format=csv");
    let series =
        "impetus_request_duration_seconds_count{endpoint=\"export\",model=\"none\",status=\"2xx\"}";
    server.wait_for("the export to be counted", || {
        Scrape::of(&server).get(series) == Some(1.0)
    });
}
