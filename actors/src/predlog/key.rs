//! What makes two predictions the same one.
//!
//! A sender that got no answer sends again, and the second copy must not become a second row. If
//! the sender names its predictions, the name decides; else what the prediction is about does:
//! device, image, time, model, and the place in its batch, which tells apart two predictions that
//! share everything else. A name counts within its device, because two devices that both count
//! from one are not talking about the same prediction.
//!
//! A key that stands for what a prediction is about begins with the second it was made in. Hashes
//! alone would scatter over the whole index, and a transaction would write about as many pages as
//! it has rows; so it writes the few that hold the present.
//!
//! **Invariant:** the key of a prediction never changes between versions of this program, or a
//! replay across an upgrade would be logged twice. A test holds two of them fast.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use sha2::{Digest, Sha256};

use super::prediction::{Label, Prediction};
use super::prediction_time::PredictionTime;

/// 128 bits that stand for one prediction: the first half of a SHA-256 over its name, or 40 bits of
/// its second and the first 88 of a SHA-256 over what it is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PredictionKey([u8; PredictionKey::BYTES]);

impl PredictionKey {
    const BYTES: usize = 16;

    /// Returns the key of the prediction at `index` in a batch of `device`.
    pub fn of(device: &Label, prediction: &Prediction, index: usize) -> Self {
        if let Some(id) = &prediction.id {
            return Self(
                Fields::new("id")
                    .text(device.as_str())
                    .text(id.as_str())
                    .digest(),
            );
        }
        let digest: [u8; Self::BYTES - SECOND_BYTES] = Fields::new("content")
            .text(device.as_str())
            .text(prediction.image_id.as_str())
            .bytes(&prediction.timestamp.unix_nanos().to_le_bytes())
            .text(prediction.model_name.as_str())
            .text(prediction.model_version.as_str())
            .bytes(&(index as u64).to_le_bytes())
            .digest();
        let mut key = [0; Self::BYTES];
        let (second, rest) = key.split_at_mut(SECOND_BYTES);
        second.copy_from_slice(&sortable_second(prediction.timestamp));
        rest.copy_from_slice(&digest);
        Self(key)
    }

    /// Returns the key of these bytes, as they were stored or sent.
    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Returns the key's bytes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Display for PredictionKey {
    /// Writes 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl<'de> Deserialize<'de> for PredictionKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;

        impl de::Visitor<'_> for Digits {
            type Value = PredictionKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("32 hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PredictionKey, E> {
                let is_hex = text.len() == 2 * PredictionKey::BYTES
                    && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                is_hex
                    .then(|| u128::from_str_radix(text, 16).ok())
                    .flatten()
                    .map(|bits| PredictionKey(bits.to_be_bytes()))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_str(Digits)
    }
}

/// A hash over fields, each with its length before it, so that no two lists of fields read alike.
struct Fields(Sha256);

impl Fields {
    fn new(kind: &str) -> Self {
        Self(Sha256::new()).text(kind)
    }

    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Returns the first bytes of the hash.
    fn digest<const N: usize>(self) -> [u8; N] {
        let digest = self.0.finalize();
        *digest
            .first_chunk()
            .expect("a key has fewer bytes than a SHA-256")
    }
}

/// Bytes of a key that tell the second.
const SECOND_BYTES: usize = 5;

/// Returns the second in bytes that sort like time: counted from before the calendar begins, the
/// most significant byte first.
fn sortable_second(time: PredictionTime) -> [u8; SECOND_BYTES] {
    const BEFORE_THE_CALENDAR: i64 = 1 << 37;
    let second = time.unix_millis().div_euclid(1_000) + BEFORE_THE_CALENDAR;
    let [_, _, _, bytes @ ..] = second.to_be_bytes();
    bytes
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

    #[test]
    fn keys_are_the_same_in_every_version() {
        let named = prediction(|value| value["id"] = json!("p-1"));
        let unnamed = prediction(|_| {});
        let device = label("edge");
        assert_eq!(
            PredictionKey::of(&device, &named, 0).to_string(),
            "48aab1d82afa6e39378e839bb48a65f1"
        );
        assert_eq!(
            PredictionKey::of(&device, &unnamed, 0).to_string(),
            "2067752e406aeaff3348b8498b7ff2f8"
        );
    }

    /// The calendar's ends included, later seconds have later keys.
    #[test]
    fn keys_of_unnamed_predictions_sort_like_time() {
        let key = |time: &str| {
            let prediction = prediction(|value| value["timestamp"] = json!(time));
            *PredictionKey::of(&label("edge"), &prediction, 0).as_bytes()
        };
        let times = [
            "0000-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00Z",
            "2025-01-01T12:00:00Z",
            "2025-01-01T12:00:01Z",
            "9999-12-31T23:59:59Z",
        ];
        assert!(times.map(key).is_sorted());
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
