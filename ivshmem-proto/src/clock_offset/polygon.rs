//! A convex polygon that half-planes are cut off from.

/// Corners kept at the most. A few are usual, and more than some tens need someone who wants them: then cuts at
/// single corners are no longer made, so that the polygon stays a superset and the work bounded.
const CORNERS_MAX: usize = 256;

/// The corners in order around the polygon; none when nothing is left.
#[derive(Debug, Clone)]
pub(super) struct Polygon {
    corners: Vec<[f64; 2]>,
    spare: Vec<[f64; 2]>,
}

impl Polygon {
    /// The rectangle around the origin with the given half sides.
    pub(super) fn rectangle(half_1: f64, half_2: f64) -> Self {
        Self {
            corners: vec![[-half_1, -half_2], [half_1, -half_2], [half_1, half_2], [-half_1, half_2]],
            spare: Vec::new(),
        }
    }

    /// Keeps the points with `normal · point <= limit` (Sutherland and Hodgman 1974, for one edge).
    pub(super) fn cut(&mut self, normal: [f64; 2], limit: f64) {
        let beyond = |point: &[f64; 2]| normal[0] * point[0] + normal[1] * point[1] - limit;
        let cut_off = self.corners.iter().filter(|corner| beyond(corner) > 0.0).count();
        if cut_off == 0 || cut_off == 1 && self.corners.len() >= CORNERS_MAX {
            return;
        }
        self.spare.clear();
        for (i, &corner) in self.corners.iter().enumerate() {
            let next = self.corners[(i + 1) % self.corners.len()];
            let (here, there) = (beyond(&corner), beyond(&next));
            if here <= 0.0 {
                self.spare.push(corner);
            }
            // The edge to the next corner crosses the border.
            if here < 0.0 && there > 0.0 || here > 0.0 && there < 0.0 {
                let part = here / (here - there);
                self.spare.push(std::array::from_fn(|k| corner[k] + part * (next[k] - corner[k])));
            }
        }
        std::mem::swap(&mut self.corners, &mut self.spare);
    }

    /// The corners left.
    pub(super) fn corners(&self) -> &[[f64; 2]] {
        &self.corners
    }

    /// Least and greatest of each coordinate.
    pub(super) fn bounding_box(&self) -> [(f64, f64); 2] {
        [0, 1].map(|k| {
            self.corners
                .iter()
                .map(|corner| corner[k])
                .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_cut_along_its_diagonal_is_a_triangle() {
        let mut polygon = Polygon::rectangle(1.0, 1.0);
        polygon.cut([1.0, 1.0], 0.0);
        assert_eq!(polygon.corners(), [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]]);
        polygon.cut([1.0, 0.0], 0.0);
        assert_eq!(polygon.bounding_box(), [(-1.0, 0.0), (-1.0, 1.0)]);
        polygon.cut([0.0, -1.0], -2.0);
        assert!(polygon.corners().is_empty());
    }

    #[test]
    fn a_thousand_tangents_leave_the_circle_and_no_more_corners_than_allowed() {
        let mut polygon = Polygon::rectangle(2.0, 2.0);
        for i in 0..1000 {
            let angle = f64::from(i) * std::f64::consts::TAU / 1000.0;
            polygon.cut([angle.cos(), angle.sin()], 1.0);
        }
        assert!(polygon.corners().len() <= CORNERS_MAX);
        // A superset of the circle, always.
        let [(left, right), (bottom, top)] = polygon.bounding_box();
        assert!(left <= -1.0 + 1e-12 && bottom <= -1.0 + 1e-12 && right >= 1.0 - 1e-12 && top >= 1.0 - 1e-12);
    }
}
