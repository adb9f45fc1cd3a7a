//! How a request came in, and how urgent it is.

use serde::{Deserialize, Serialize};

/// The protocol over which a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `POST /predict`.
    Predict,
    /// The Open Inference Protocol over HTTP.
    V2Rest,
    /// The Open Inference Protocol over gRPC.
    V2Grpc,
    /// KServe's first protocol.
    V1Rest,
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's completions.
    Completions,
    /// OpenAI's embeddings.
    Embeddings,
}

/// How urgent a request is. What is urgent is taken first, and in the order in which it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before all that is not.
    High,
    /// In its turn.
    #[default]
    Normal,
}

// === impl Protocol ===

impl Protocol {
    /// Every protocol, in its order.
    pub const ALL: [Self; 7] = [
        Self::Predict,
        Self::V2Rest,
        Self::V2Grpc,
        Self::V1Rest,
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
    ];

    /// Returns the protocol as metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::V2Rest => "v2_rest",
            Self::V2Grpc => "v2_grpc",
            Self::V1Rest => "v1_rest",
            Self::Chat => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
        }
    }
}
