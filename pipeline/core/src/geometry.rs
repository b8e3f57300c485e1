//! Points, boxes, lines and zones in the picture.
//!
//! All coordinates are normalised to the picture: x from 0 (left edge) to 1 (right edge), y from 0 (top)
//! to 1 (bottom). They survive a change of resolution. A box may reach beyond 0..1 at the border.

/// A point in the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PointInImage {
    /// From the left edge, 0..1 of the picture's width.
    pub x: f32,
    /// From the top edge, 0..1 of the picture's height.
    pub y: f32,
}

/// An axis-parallel box in the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BoxInImage {
    /// Left edge, 0..1.
    pub left: f32,
    /// Top edge, 0..1.
    pub top: f32,
    /// Right edge, 0..1, not less than `left`.
    pub right: f32,
    /// Bottom edge, 0..1, not less than `top`.
    pub bottom: f32,
}

impl BoxInImage {
    /// Right minus left.
    pub fn width(&self) -> f32 {
        self.right - self.left
    }

    /// Bottom minus top.
    pub fn height(&self) -> f32 {
        self.bottom - self.top
    }

    /// Width times height.
    pub fn area(&self) -> f32 {
        self.width().max(0.0) * self.height().max(0.0)
    }

    /// Where an upright object stands: the middle of the bottom edge.
    pub fn foot(&self) -> PointInImage {
        PointInImage { x: (self.left + self.right) / 2.0, y: self.bottom }
    }

    /// The middle.
    pub fn centre(&self) -> PointInImage {
        PointInImage { x: (self.left + self.right) / 2.0, y: (self.top + self.bottom) / 2.0 }
    }

    /// Intersection over union with `other`, 0..1. The same in pixels as in normalised coordinates.
    pub fn iou(&self, other: &Self) -> f32 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let shared = width * height;
        let union = self.area() + other.area() - shared;
        if union > 0.0 { (shared / union).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// A directed line segment. Its left and right are those of someone who walks from `from` to `to`
/// over the picture as if it were a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Where it begins.
    pub from: PointInImage,
    /// Where it ends.
    pub to: PointInImage,
}

/// A simple polygon: no edge crosses another. The last point joins the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon {
    /// The corners in order, three or more.
    pub corners: Vec<PointInImage>,
}

impl Polygon {
    /// Whether `point` lies inside, by the even-odd rule. A point on an edge counts to one side only,
    /// so that zones which share an edge never both hold it.
    pub fn contains(&self, point: PointInImage) -> bool {
        let mut inside = false;
        for (a, b) in self.edges() {
            let straddles = (a.y > point.y) != (b.y > point.y);
            if straddles && point.x < (b.x - a.x) * (point.y - a.y) / (b.y - a.y) + a.x {
                inside = !inside;
            }
        }
        inside
    }

    /// Every edge, from corner to next corner.
    pub fn edges(&self) -> impl Iterator<Item = (PointInImage, PointInImage)> + '_ {
        let next = self.corners.iter().skip(1).chain(self.corners.first());
        self.corners.iter().copied().zip(next.copied())
    }
}

/// Names one line or zone of a camera: its place in [`Geometry::sites`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub u16);

impl SiteId {
    /// No line or zone but the picture as a whole.
    pub const PICTURE: Self = Self(u16::MAX);
}

/// What a site is.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A line to cross.
    Line(Line),
    /// A zone to be in.
    Zone(Polygon),
}

/// A named line or zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// The name, from the closed set in the camera's file.
    pub name: String,
    /// What it is.
    pub shape: Shape,
}

/// A camera's lines and zones, sorted by name. Line and zone names are unique among both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Geometry {
    /// The sites; a [`SiteId`] is a place in this list.
    pub sites: Vec<Site>,
}

impl Geometry {
    /// The line of that name.
    pub fn line(&self, name: &str) -> Option<(SiteId, Line)> {
        self.named(name).and_then(|(id, site)| match &site.shape {
            Shape::Line(line) => Some((id, *line)),
            Shape::Zone(_) => None,
        })
    }

    /// The zone of that name.
    pub fn zone(&self, name: &str) -> Option<(SiteId, &Polygon)> {
        self.named(name).and_then(|(id, site)| match &site.shape {
            Shape::Zone(polygon) => Some((id, polygon)),
            Shape::Line(_) => None,
        })
    }

    /// The names of all lines, for messages.
    pub fn line_names(&self) -> Vec<&str> {
        self.names(|shape| matches!(shape, Shape::Line(_)))
    }

    /// The names of all zones, for messages.
    pub fn zone_names(&self) -> Vec<&str> {
        self.names(|shape| matches!(shape, Shape::Zone(_)))
    }

    /// The site's name.
    pub fn name(&self, site: SiteId) -> Option<&str> {
        self.sites.get(usize::from(site.0)).map(|site| site.name.as_str())
    }

    fn named(&self, name: &str) -> Option<(SiteId, &Site)> {
        let place = self.sites.iter().position(|site| site.name == name)?;
        Some((SiteId(u16::try_from(place).ok()?), self.sites.get(place)?))
    }

    fn names(&self, wanted: impl Fn(&Shape) -> bool) -> Vec<&str> {
        self.sites.iter().filter(|site| wanted(&site.shape)).map(|site| site.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_box() -> impl Strategy<Value = BoxInImage> {
        (0.0f32..0.9, 0.0f32..0.9, 0.001f32..0.5, 0.001f32..0.5).prop_map(|(left, top, width, height)| {
            BoxInImage { left, top, right: left + width, bottom: top + height }
        })
    }

    proptest! {
        #[test]
        fn iou_is_symmetric_and_within_bounds(a in any_box(), b in any_box()) {
            prop_assert!((0.0..=1.0).contains(&a.iou(&b)));
            prop_assert!((a.iou(&b) - b.iou(&a)).abs() < 1e-6);
            prop_assert!(a.iou(&a) > 0.999);
        }
    }

    #[test]
    fn zones_that_share_an_edge_never_both_hold_a_point() {
        let square = |left: f32| Polygon {
            corners: [(left, 0.2), (left + 0.2, 0.2), (left + 0.2, 0.6), (left, 0.6)]
                .map(|(x, y)| PointInImage { x, y })
                .to_vec(),
        };
        let (west, east) = (square(0.2), square(0.4));
        let on_edge = PointInImage { x: 0.4, y: 0.3 };
        assert!(west.contains(on_edge) != east.contains(on_edge));
        assert!(west.contains(PointInImage { x: 0.3, y: 0.3 }));
        assert!(!west.contains(PointInImage { x: 0.1, y: 0.3 }));
    }
}
