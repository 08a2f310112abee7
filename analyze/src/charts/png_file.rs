//! Pixels as a PNG file: with a palette where the colours fit in one, which charts mostly do.

use std::collections::HashMap;

/// Colours of a palette at most.
const COLORS_MAX: usize = 256;

pub(super) fn encoded(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_depth(png::BitDepth::Eight);
    // Plain areas with few edges: what is like a neighbour becomes zeros, which the fast way is good at. Which neighbour,
    // is another one for a row of a grid than for a row across it.
    encoder.set_compression(png::Compression::Fast);
    encoder.set_adaptive_filter(png::AdaptiveFilterType::Adaptive);
    let indexed = indexed(pixels);
    let image = if let Some((palette, indices)) = &indexed {
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(palette);
        indices
    } else {
        encoder.set_color(png::ColorType::Rgb);
        pixels
    };
    let mut writer = encoder.write_header()?;
    writer.write_image_data(image)?;
    writer.finish()?;
    Ok(bytes)
}

/// The colours and the place of each pixel's among them; `None` if there are too many.
fn indexed(pixels: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut places: HashMap<[u8; 3], u8> = HashMap::new();
    let mut palette = Vec::new();
    let mut indices = Vec::with_capacity(pixels.len() / 3);
    // Neighbours are mostly alike.
    let mut last: Option<([u8; 3], u8)> = None;
    for pixel in pixels.as_chunks::<3>().0 {
        let place = match last {
            Some((color, place)) if color == *pixel => place,
            _ => {
                let next = places.len();
                match places.get(pixel) {
                    Some(place) => *place,
                    None if next == COLORS_MAX => return None,
                    None => {
                        places.insert(*pixel, next as u8);
                        palette.extend_from_slice(pixel);
                        next as u8
                    }
                }
            }
        };
        last = Some((*pixel, place));
        indices.push(place);
    }
    Some((palette, indices))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader of the file sees, as RGB.
    fn decoded(bytes: &[u8]) -> Vec<u8> {
        let mut decoder = png::Decoder::new(bytes);
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size()];
        reader.next_frame(&mut pixels).unwrap();
        pixels
    }

    #[test]
    fn a_file_has_the_pixels_it_was_made_of_with_few_colours_and_with_many() {
        for colors in [1, 255, 256, 257, 1_000] {
            let pixel = |i: u32| [(i % colors) as u8, (i % colors / 256) as u8, 7];
            let pixels: Vec<u8> = (0..64 * 64).flat_map(pixel).collect();
            let file = encoded(&pixels, 64, 64).unwrap();
            assert_eq!(indexed(&pixels).is_some(), colors <= 256, "{colors}");
            assert_eq!(decoded(&file), pixels, "{colors}");
        }
    }
}
