//! Times and sizes with units, as people write them.

use std::fmt::Display;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

fn parse<'de, D, T, E: Display>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
    example: &str,
) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    parse(&text).map(Some).map_err(|error| {
        D::Error::custom(format!(
            "{text:?} is not understood ({error}); write it like {example:?}"
        ))
    })
}

pub(super) mod period {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    pub(in crate::serving::description) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let positive = |text: &str| match humantime::parse_duration(text) {
            Ok(Duration::ZERO) => Err("it must be longer than nothing".to_owned()),
            Ok(period) => Ok(period),
            Err(error) => Err(error.to_string()),
        };
        super::parse(deserializer, positive, "1s 500ms")
    }

    pub(in crate::serving::description) fn serialize<S: Serializer>(
        period: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match period {
            Some(period) => serializer.collect_str(&humantime::format_duration(*period)),
            None => serializer.serialize_none(),
        }
    }
}

/// A period that may be nothing.
pub(super) mod wait {
    use std::time::Duration;

    use serde::Deserializer;

    pub(in crate::serving::description) use super::period::serialize;

    pub(in crate::serving::description) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::parse(deserializer, humantime::parse_duration, "2ms")
    }
}

pub(super) mod size {
    use bytesize::ByteSize;
    use serde::{Deserializer, Serializer};

    pub(in crate::serving::description) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        let bytes = |text: &str| text.parse::<ByteSize>().map(|size| size.as_u64());
        super::parse(deserializer, bytes, "512MiB")
    }

    pub(in crate::serving::description) fn serialize<S: Serializer>(
        size: &Option<u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match size {
            Some(size) => serializer.collect_str(&ByteSize(*size)),
            None => serializer.serialize_none(),
        }
    }
}
