//! What makes two predictions the same one.
//!
//! A sender that got no answer sends again, and the second copy must not become a second row. If
//! the sender names its predictions, the name decides; else what the prediction is about does:
//! device, image, time, model, and the place in its batch, which tells apart two predictions that
//! share everything else. A name counts within its device, because two devices that both count
//! from one are not talking about the same prediction.
//!
//! **Invariant:** the key of a prediction never changes between versions of this program, or a
//! replay across an upgrade would be logged twice. A test holds two of them fast.

use sha2::{Digest, Sha256};

use super::prediction::{Label, Prediction};

/// 128 bits that stand for one prediction: the first half of a SHA-256.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PredictionKey([u8; 16]);

impl PredictionKey {
    /// Returns the key of the prediction at `index` in a batch of `device`.
    pub fn of(device: &Label, prediction: &Prediction, index: usize) -> Self {
        let mut hasher = Fields::new();
        match &prediction.id {
            Some(id) => hasher.text("id").text(device.as_str()).text(id.as_str()),
            None => hasher
                .text("content")
                .text(device.as_str())
                .text(prediction.image_id.as_str())
                .bytes(&prediction.timestamp.unix_nanos().to_le_bytes())
                .text(prediction.model_name.as_str())
                .text(prediction.model_version.as_str())
                .bytes(&(index as u64).to_le_bytes()),
        };
        hasher.finish()
    }

    /// Returns the key's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A hash over fields, each with its length before it, so that no two lists of fields read alike.
struct Fields(Sha256);

impl Fields {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    fn finish(self) -> PredictionKey {
        let digest = self.0.finalize();
        let (half, _) = digest.split_first_chunk().expect("a SHA-256 has 32 bytes");
        PredictionKey(*half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn label(text: &str) -> Label {
        Label::try_new(text).expect("a name")
    }

    fn prediction(change: impl FnOnce(&mut serde_json::Value)) -> Prediction {
        let mut value = json!({
            "image_id": "image", "timestamp": "2025-01-01T12:00:00Z", "model_version": "1",
            "model_name": "surface", "inference_time_ms": 1.5, "detections": [],
            "defect_detected": false,
        });
        change(&mut value);
        serde_json::from_value(value).expect("a prediction")
    }

    fn hex(key: PredictionKey) -> String {
        key.as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    #[test]
    fn keys_are_the_same_in_every_version() {
        let named = prediction(|value| value["id"] = json!("p-1"));
        let unnamed = prediction(|_| {});
        let device = label("edge");
        assert_eq!(
            hex(PredictionKey::of(&device, &named, 0)),
            "48aab1d82afa6e39378e839bb48a65f1"
        );
        assert_eq!(
            hex(PredictionKey::of(&device, &unnamed, 0)),
            "6aeaff3348b8498b7ff2f8424f46c5f3"
        );
    }

    #[test]
    fn everything_a_prediction_is_about_tells_it_apart() {
        let device = label("edge");
        let base = PredictionKey::of(&device, &prediction(|_| {}), 0);
        assert_ne!(
            PredictionKey::of(&label("other"), &prediction(|_| {}), 0),
            base
        );
        assert_ne!(PredictionKey::of(&device, &prediction(|_| {}), 1), base);
        for (field, other) in [
            ("image_id", json!("other")),
            ("timestamp", json!("2025-01-01T12:00:00.000000001Z")),
            ("model_name", json!("other")),
            ("model_version", json!("2")),
            ("id", json!("p-1")),
        ] {
            let changed = prediction(|value| value[field] = other);
            assert_ne!(PredictionKey::of(&device, &changed, 0), base, "{field}");
        }
        let remarked = prediction(|value| value["processing_notes"] = json!("seen twice"));
        assert_eq!(
            PredictionKey::of(&device, &remarked, 0),
            base,
            "a remark is no identity"
        );
    }

    #[test]
    fn a_name_decides_alone_within_its_device() {
        let named = |image: &str| {
            prediction(|value| {
                value["id"] = json!("p-1");
                value["image_id"] = json!(image);
            })
        };
        let key = PredictionKey::of(&label("edge"), &named("a"), 0);
        assert_eq!(PredictionKey::of(&label("edge"), &named("b"), 7), key);
        assert_ne!(PredictionKey::of(&label("other"), &named("a"), 0), key);
    }
}
