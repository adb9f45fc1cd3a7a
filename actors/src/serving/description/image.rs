//! How a picture becomes the model's input.
//!
//! What training did to a picture, serving has to do as well: size, order of colours and dimensions,
//! scale, mean and deviation. A model without this takes numbers only.

use serde::{Deserialize, Serialize};

/// How a picture becomes the model's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Order of the colours.
    #[serde(default)]
    pub channels: Channels,
    /// Order of the dimensions.
    #[serde(default)]
    pub layout: Layout,
    /// Each 8-bit sample is multiplied with this first.
    #[serde(default = "one_255th")]
    pub scale: f32,
    /// Then this is subtracted, one number per colour.
    #[serde(default = "zeros")]
    pub mean: [f32; 3],
    /// Then it is divided by this, one number per colour.
    #[serde(default = "ones")]
    pub std: [f32; 3],
}

/// Order of the colours in a tensor made from a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Order of the dimensions in a tensor made from a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Colour, row, column.
    #[default]
    Chw,
    /// Row, column, colour.
    Hwc,
}

fn one_255th() -> f32 {
    1.0 / 255.0
}

fn zeros() -> [f32; 3] {
    [0.0; 3]
}

fn ones() -> [f32; 3] {
    [1.0; 3]
}
