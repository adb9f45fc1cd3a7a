use super::*;

/// Numbers that look like chance and are the same each time (a linear congruential generator, with
/// the constants of Knuth's MMIX).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn prediction(&mut self, today: u64) -> Value {
        let time = match self.below(8) {
            0 => "0001-02-03T04:05:06Z".to_owned(),
            1 => "9999-02-03T04:05:06Z".to_owned(),
            // From some days that may be gone already to some that are not near yet.
            _ => {
                let day = today + self.below(9) - 5;
                let (hour, minute) = (self.below(24), self.below(60));
                format!("2025-01-{day:02}T{hour:02}:{minute:02}:00Z")
            }
        };
        let mut made = prediction(
            &format!("image {}", self.below(30)),
            &time,
            self.below(3) == 0,
        );
        made["model_name"] = json!(format!("model {}", self.below(3)));
        made["inference_time_ms"] = json!(1 + self.below(4) * 40);
        if self.below(2) == 0 {
            made["id"] = json!(format!("p-{}", self.below(40)));
        }
        made
    }
}

/// Deliveries with replays, and removals by age and by size, in any order.
#[tokio::test]
async fn counts_are_those_of_the_rows_after_anything() {
    let mut fixture = Fixture::new();
    let mut chance = Chance(20_250_115);
    let mut delivered: Vec<Landed> = Vec::new();
    let mut removed = 0;
    for step in 0..40_u64 {
        let today = 8 + step / 4;
        let now = NOW + (i64::try_from(today).expect("small") - 15) * 86_400_000;
        fixture.config.retention = match chance.below(3) {
            0 => Retention::default(),
            1 => Retention {
                keep_for: Some(Duration::from_secs(3 * 86_400)),
                keep_bytes: None,
            },
            _ => Retention {
                keep_for: None,
                keep_bytes: Some(400_000),
            },
        };
        let mut sink = fixture.sink_at(now);
        if chance.below(4) == 0 {
            removed += sink.prune(now).await.expect("removes");
        } else {
            let device = format!("device {}", chance.below(3));
            let batch: Vec<_> = (0..chance.below(60))
                .map(|_| chance.prediction(today))
                .collect();
            let mut batch = landed_at(now, &device, &batch);
            let replayed = chance.below(20) as usize;
            batch.extend(delivered.iter().rev().take(replayed).cloned());
            deliver(&mut sink, &batch).await;
            delivered.extend(batch);
        }
        fixture.assert_counted();
        let twice = "SELECT key FROM predictions GROUP BY key HAVING count(*) > 1";
        assert_eq!(fixture.server.psql(twice), "", "step {step}");
        let nameless = "SELECT key FROM predictions WHERE named EXCEPT \
                        SELECT key FROM prediction_names";
        assert_eq!(fixture.server.psql(nameless), "", "step {step}");
    }
    assert!(removed > 0, "something was removed");
    assert!(fixture.count("predictions") > 0, "something is left");
}

#[tokio::test]
async fn drift_is_counted_when_it_is_watched_and_forgotten_by_its_age() {
    let mut fixture = Fixture::new();
    let mut found = prediction("a", "2025-01-15T10:00:00Z", true);
    found["detections"] = json!([{"class": "dent", "confidence": 0.5}]);
    let batch = landed(
        "edge",
        &[found, prediction("b", "2025-01-15T10:00:00Z", false)],
    );
    deliver(&mut fixture.sink(), &batch[..1]).await;
    assert_eq!(fixture.count("drift_classes"), 0);
    fixture.config.drift = Some(DriftSettings {
        window: Duration::from_secs(3_600),
        reference: Duration::from_secs(7_200),
        min_predictions: 1,
        every: Duration::from_secs(60),
    });
    let mut sink = fixture.sink();
    deliver(&mut sink, &batch).await;
    let slot = NOW / 600_000;
    let classes = "SELECT model_name, slot, class, total FROM drift_classes";
    assert_eq!(fixture.server.psql(classes), format!("surface|{slot}||1"));
    let parts = "SELECT confidence, total FROM drift_confidences";
    assert_eq!(fixture.server.psql(parts), "-1|1");
    sink.prune(NOW + 4 * 3_600_000).await.expect("forgets");
    assert_eq!(fixture.count("drift_classes"), 0);
    assert_eq!(fixture.count("drift_confidences"), 0);
    assert_eq!(fixture.count("predictions"), 2);
}
