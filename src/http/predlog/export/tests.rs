use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;

use futures_util::StreamExt;
use serde_json::{Map, Value, json};

use super::record::Record;
use super::*;

/// So many pages of two predictions, and an error after them or the end.
struct Book {
    pages: usize,
    breaks: bool,
    read: Rc<Cell<usize>>,
    limits: Rc<Cell<u32>>,
    file: Rc<Cell<u64>>,
}

impl Pages for Book {
    fn file(&self) -> u64 {
        self.file.get()
    }

    async fn page(&self, query: &Query) -> Result<Page, ReadError> {
        let number = self.read.get();
        self.read.set(number + 1);
        self.limits.set(query.limit.unwrap_or_default());
        assert_eq!(query.cursor, (number > 0).then(|| number.to_string()));
        if number == self.pages {
            return Err(ReadError::Unavailable {
                reason: "gone".into(),
            });
        }
        let most = query.limit.unwrap_or_default().min(2);
        let predictions = (0..most).map(|index| prediction(&format!("{number}.{index}")));
        let is_last = !self.breaks && number + 1 == self.pages;
        Ok(Page {
            predictions: predictions.collect(),
            next_cursor: (!is_last).then(|| (number + 1).to_string()),
        })
    }
}

fn prediction(image: &str) -> Map<String, Value> {
    let prediction = json!({
        "image_id": image, "timestamp": "2025-01-01T12:00:00Z", "model_version": "1",
        "model_name": "=surface, \"fine\"", "inference_time_ms": 0.1, "defect_detected": true,
        "detections": [
            {"class": "dent", "confidence": 0.5, "bbox": null, "uncertain": false},
            {"class": "scratch", "confidence": 0.75, "bbox": null, "uncertain": false},
        ],
        "confidence_scores": null, "processing_notes": "two\nlines",
        "edge_device_id": "edge", "logged_at": "2025-01-01T12:00:01.5Z", "site": "hall 3",
    });
    serde_json::from_value(prediction).unwrap()
}

fn export(pages: usize, breaks: bool, format: Format) -> (Export<Book>, Rc<Cell<usize>>) {
    let read = Rc::new(Cell::new(0));
    let export = Export {
        pages: Book {
            pages,
            breaks,
            read: Rc::clone(&read),
            limits: Rc::default(),
            file: Rc::default(),
        },
        file: 0,
        query: Query::default(),
        left: None,
        encoder: format.encoder().unwrap(),
        read: None,
        running: None,
    };
    (export, read)
}

async fn whole(export: Export<Book>) -> Result<Vec<u8>, ExportError> {
    let mut stream = pin!(export.stream());
    let mut file = Vec::new();
    while let Some(part) = stream.next().await {
        file.extend_from_slice(&part?);
    }
    Ok(file)
}

#[actix_web::test]
async fn a_page_is_read_when_the_one_before_has_been_taken() {
    let (export, read) = export(100, false, Format::JsonLines);
    let mut stream = Box::pin(export.stream());
    assert_eq!(read.get(), 0);
    for taken in 1..=3 {
        let part = stream.next().await.unwrap().unwrap();
        assert_eq!(part.split(|byte| *byte == b'\n').count(), 3);
        assert_eq!(read.get(), taken);
    }
    drop(stream);
    assert_eq!(read.get(), 3, "nobody reads for a client that has gone");
}

#[actix_web::test]
async fn a_failure_in_the_middle_is_no_end() {
    for format in [Format::Csv, Format::JsonLines] {
        let (export, _) = export(3, true, format);
        let mut stream = pin!(export.stream());
        for _ in 0..3 {
            stream.next().await.unwrap().unwrap();
        }
        let failure = stream.next().await.unwrap().unwrap_err();
        assert!(failure.to_string().contains("gone"), "{failure}");
        assert!(stream.next().await.is_none());
    }
}

/// Its cursor leads nowhere in another file, which would look like the end.
#[actix_web::test]
async fn another_file_in_the_place_of_the_first_is_no_end() {
    let (export, _) = export(3, false, Format::JsonLines);
    let file = Rc::clone(&export.pages.file);
    let mut stream = pin!(export.stream());
    stream.next().await.unwrap().unwrap();
    file.set(1);
    let failure = stream.next().await.unwrap().unwrap_err();
    assert!(matches!(failure, ExportError::Replaced), "{failure}");
}

#[actix_web::test]
async fn an_export_ends_at_its_limit() {
    for (limit, expected) in [(1, 1usize), (2, 2), (5, 5), (6, 6), (7, 6)] {
        let (mut export, read) = export(3, false, Format::JsonLines);
        export.left = Some(limit);
        let limits = Rc::clone(&export.pages.limits);
        let file = whole(export).await.unwrap();
        let lines = file.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!((lines, read.get()), (expected, expected.div_ceil(2)));
        assert!(
            limits.get() <= limit as u32,
            "no more is read than is asked for"
        );
    }
}

#[actix_web::test]
async fn csv_says_what_was_sent() {
    let (export, _) = export(1, false, Format::Csv);
    let file = String::from_utf8(whole(export).await.unwrap()).unwrap();
    let (names, rows) = file.split_once('\n').unwrap();
    assert_eq!(names, Record::COLUMNS.join(","));
    let expected = concat!(
        ",0.0,2025-01-01T12:00:00Z,edge,\"=surface, \"\"fine\"\"\",1,0.1,true,scratch,0.75,",
        r#""[{""class"":""dent"",""confidence"":0.5,""bbox"":null,""uncertain"":false},"#,
        r#"{""class"":""scratch"",""confidence"":0.75,""bbox"":null,""uncertain"":false}]","#,
        ",\"two\nlines\",2025-01-01T12:00:01.5Z\n",
    );
    assert!(rows.starts_with(expected), "{rows}");
}

#[actix_web::test]
async fn a_file_without_predictions_is_whole() {
    for (format, expected) in [
        (Format::Csv, Record::COLUMNS.join(",") + "\n"),
        (Format::JsonLines, String::new()),
    ] {
        let (mut export, _) = export(1, false, format);
        export.read = Some(Page {
            predictions: Vec::new(),
            next_cursor: None,
        });
        assert_eq!(whole(export).await.unwrap(), expected.as_bytes());
    }
}

#[cfg(feature = "parquet")]
mod of_parquet {
    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    use ::parquet::record::Field;

    use super::*;

    fn read(file: Vec<u8>) -> SerializedFileReader<Bytes> {
        SerializedFileReader::new(Bytes::from(file)).expect("a Parquet file")
    }

    #[actix_web::test]
    async fn parquet_says_what_was_sent_in_types() {
        let (export, _) = export(2, false, Format::Parquet);
        let reader = read(whole(export).await.unwrap());
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().collect();
        assert_eq!(rows.len(), 4);
        let row = rows[3].as_ref().unwrap();
        let found: Vec<_> = row.get_column_iter().collect();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, Record::COLUMNS);
        let text = |text: &str| Field::Str(text.to_owned());
        let detections = prediction("")["detections"].to_string();
        let noon = 1_735_732_800_000_000;
        let expected = [
            Field::Null,
            text("1.1"),
            Field::TimestampMicros(noon),
            text("edge"),
            text("=surface, \"fine\""),
            text("1"),
            Field::Double(0.1),
            Field::Bool(true),
            text("scratch"),
            Field::Double(0.75),
            text(&detections),
            Field::Null,
            text("two\nlines"),
            Field::TimestampMicros(noon + 1_500_000),
        ];
        for ((name, found), expected) in found.into_iter().zip(expected) {
            assert_eq!(*found, expected, "{name}");
        }
    }

    /// What is in memory does not grow with the file: groups are written while it is made.
    #[actix_web::test]
    async fn groups_of_rows_are_bounded() {
        let mut encoder = Format::Parquet.encoder().unwrap();
        let page: Vec<_> = (0..1_000)
            .map(|index| prediction(&index.to_string()))
            .collect();
        let mut file = Vec::new();
        for _ in 0..40 {
            encoder.add(&page).unwrap();
            file.extend(encoder.take().unwrap());
        }
        assert!(file.len() > 1_000, "parts come before the end");
        encoder.end().unwrap();
        file.extend(encoder.take().unwrap());
        let reader = read(file);
        let groups: Vec<_> = reader.metadata().row_groups().iter().collect();
        let rows: i64 = groups.iter().map(|group| group.num_rows()).sum();
        assert_eq!(rows, 40_000);
        assert!(groups.iter().all(|group| group.num_rows() <= 16_384));
    }
}
