//! From the bytes of a PNG or JPEG to the model's numbers.

use std::io::Cursor;

use actix_web::http::StatusCode;
use image::imageops::FilterType;
use image::{ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use impetus_actors::serving::description::{Channels, ImageInput, Layout};

use super::ApiError;

/// Bytes a decoder needs per pixel at most: four channels of sixteen bits.
const BYTES_PER_PIXEL: u64 = 8;

/// Decodes a picture, brings it to the model's size, and lays its samples out as the model takes
/// them. A picture with more pixels than `max_pixels` is refused before it is decoded.
pub(super) fn decode(
    body: &[u8],
    spec: &ImageInput,
    max_pixels: u64,
) -> Result<Vec<f32>, ApiError> {
    let mut reader = ImageReader::new(Cursor::new(body))
        .with_guessed_format()
        .map_err(|error| broken(&error.into()))?;
    match reader.format() {
        Some(ImageFormat::Png | ImageFormat::Jpeg) => {}
        _ => {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_an_image",
                "the body is neither a PNG nor a JPEG",
            ));
        }
    }
    check_size(body, max_pixels)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(max_pixels.saturating_mul(BYTES_PER_PIXEL));
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| broken(&error))?.into_rgb8();
    let picture = if picture.dimensions() == (spec.width, spec.height) {
        picture
    } else {
        image::imageops::resize(&picture, spec.width, spec.height, FilterType::Triangle)
    };
    Ok(lay_out(&picture, spec))
}

fn check_size(body: &[u8], max_pixels: u64) -> Result<(), ApiError> {
    let reader = ImageReader::new(Cursor::new(body))
        .with_guessed_format()
        .map_err(|error| broken(&error.into()))?;
    let (width, height) = reader.into_dimensions().map_err(|error| broken(&error))?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > max_pixels {
        let message = format!("the picture has {width}×{height} pixels, {max_pixels} are allowed");
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_many_pixels",
            message,
        ));
    }
    Ok(())
}

fn lay_out(picture: &RgbImage, spec: &ImageInput) -> Vec<f32> {
    let sample = |pixel: &image::Rgb<u8>, color: usize| {
        let source = match spec.channels {
            Channels::Rgb => color,
            Channels::Bgr => 2 - color,
        };
        (f32::from(pixel.0[source]) * spec.scale - spec.mean[color]) / spec.std[color]
    };
    match spec.layout {
        Layout::Chw => (0..3)
            .flat_map(|color| picture.pixels().map(move |pixel| sample(pixel, color)))
            .collect(),
        Layout::Hwc => picture
            .pixels()
            .flat_map(|pixel| (0..3).map(move |color| sample(pixel, color)))
            .collect(),
    }
}

fn broken(error: &ImageError) -> ApiError {
    ApiError::bad_request(
        "broken_image",
        format!("the picture could not be decoded: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use image::{DynamicImage, Rgb};

    use super::*;

    fn spec(layout: Layout, channels: Channels) -> ImageInput {
        ImageInput {
            width: 2,
            height: 1,
            channels,
            layout,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        }
    }

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut picture = RgbImage::new(width, height);
        for (x, _, pixel) in picture.enumerate_pixels_mut() {
            *pixel = if x == 0 {
                Rgb([1, 2, 3])
            } else {
                Rgb([4, 5, 6])
            };
        }
        let mut bytes = Vec::new();
        DynamicImage::from(picture)
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .unwrap();
        bytes
    }

    #[test]
    fn samples_are_laid_out_as_the_model_takes_them() {
        let picture = png(2, 1);
        let laid_out = |layout, channels| decode(&picture, &spec(layout, channels), 100).unwrap();
        assert_eq!(
            laid_out(Layout::Chw, Channels::Rgb),
            [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
        );
        assert_eq!(
            laid_out(Layout::Hwc, Channels::Rgb),
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        );
        assert_eq!(
            laid_out(Layout::Hwc, Channels::Bgr),
            [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]
        );
    }

    #[test]
    fn samples_are_scaled_and_normalised() {
        let spec = ImageInput {
            scale: 0.5,
            mean: [0.5, 1.0, 1.5],
            std: [2.0, 2.0, 2.0],
            ..spec(Layout::Hwc, Channels::Rgb)
        };
        let data = decode(&png(2, 1), &spec, 100).unwrap();
        assert_eq!(data[..3], [0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_picture_of_another_size_is_resized() {
        let data = decode(&png(8, 4), &spec(Layout::Chw, Channels::Rgb), 100).unwrap();
        assert_eq!(data.len(), 6);
    }

    #[test]
    fn a_picture_with_too_many_pixels_is_refused_before_it_is_decoded() {
        let error = decode(&png(11, 10), &spec(Layout::Chw, Channels::Rgb), 100).unwrap_err();
        assert_eq!(error.status_code(), 413);
    }

    #[test]
    fn what_is_no_picture_is_said_to_be_none() {
        let any = spec(Layout::Chw, Channels::Rgb);
        assert_eq!(decode(b"GIF89a", &any, 100).unwrap_err().status_code(), 415);
        assert_eq!(decode(b"", &any, 100).unwrap_err().status_code(), 415);
        let mut cut = png(2, 1);
        cut.truncate(40);
        assert_eq!(decode(&cut, &any, 100).unwrap_err().status_code(), 400);
    }
}
