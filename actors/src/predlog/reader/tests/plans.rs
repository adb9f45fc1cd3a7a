//! How SQLite goes about a page.

use super::*;

/// Ten million rows are not read to show a hundred: every set of filters has its index, which leads to
/// the first row of the page and is left after the last, and no page is sorted.
#[tokio::test]
async fn every_page_of_every_set_of_filters_lies_together_in_an_index() {
    let fixture = Fixture::new().await;
    let mut reading = fixture.reader.connection().await.expect("a connection");
    for choice in 0..64 {
        let has = |bit: u32| choice >> bit & 1 == 1;
        let query = Query {
            edge_device_id: has(0).then(|| "edge".into()),
            model: has(1).then(|| "surface".into()),
            defect_only: has(2),
            from: has(3).then(|| time(1)),
            to: has(4).then(|| time(9)),
            ..Query::default()
        };
        let cursor = has(5).then(|| Cursor {
            taken_at: time(5).unix_millis(),
            seq: 1,
        });
        let sql = select_page(&query, cursor, 100).into_string();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let plan = sqlx::query(explain)
            .fetch_all(&mut *reading.connection)
            .await
            .expect("a plan");
        let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        let index = match (has(2), has(0), has(1)) {
            (false, false, false) => "predictions_by_time",
            (false, true, false) => "predictions_by_device",
            (false, false, true) => "predictions_by_model",
            (false, true, true) => "predictions_by_device_and_model",
            (true, false, false) => "predictions_with_defect",
            (true, true, false) => "predictions_with_defect_by_device",
            (true, false, true) => "predictions_with_defect_by_model",
            (true, true, true) => "predictions_with_defect_by_device_and_model",
        };
        let bounds = [
            (has(0), "edge_device_id=?"),
            (has(1), "model_name=?"),
            (has(3), "taken_at>?"),
            (has(4) || has(5), "taken_at<?"),
        ];
        let bounds = bounds.iter().filter(|(is_there, _)| *is_there);
        let bounds: Vec<&str> = bounds.map(|(_, bound)| *bound).collect();
        let expected = match bounds.as_slice() {
            [] => format!("SCAN predictions USING INDEX {index}"),
            bounds => format!(
                "SEARCH predictions USING INDEX {index} ({})",
                bounds.join(" AND ")
            ),
        };
        assert_eq!(plan, [expected], "{query:?}");
    }
}

/// Each page begins where the one before ended, and no page at the end of the range: of two bounds
/// above, only the lower one is asked for.
#[tokio::test]
async fn a_page_in_a_range_begins_at_its_cursor() {
    let query = Query {
        to: Some(time(9)),
        ..Query::default()
    };
    let at = |second| Cursor {
        taken_at: time(second).unix_millis(),
        seq: 1,
    };
    for (cursor, bound) in [
        (None, "AND taken_at < ?"),
        (Some(at(5)), "AND (taken_at, seq) < (?, ?)"),
        (Some(at(9)), "AND taken_at < ?"),
        (Some(at(12)), "AND taken_at < ?"),
    ] {
        let sql = select_page(&query, cursor, 100).into_string();
        let bounds: Vec<&str> = sql.split(" WHERE true ").collect();
        let expected = format!("{bound} ORDER BY taken_at DESC, seq DESC LIMIT ?");
        assert_eq!(bounds[1], expected, "{cursor:?}");
    }
}
