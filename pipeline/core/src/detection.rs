//! What a detector says about one frame.

use crate::geometry::BoxInImage;

/// The classes that Kerbside counts. A detector's other labels are dropped when its output is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A person on foot.
    Person,
    /// A bicycle.
    Bicycle,
    /// A motorcycle or moped.
    Motorcycle,
    /// A passenger car.
    Car,
    /// A bus.
    Bus,
    /// A lorry or van.
    Truck,
    /// Anything else that a model was trained for and the city wants counted, such as a tram.
    Other,
}

impl Class {
    /// Every class, in the order of the released dictionary.
    pub const ALL: [Self; 7] =
        [Self::Person, Self::Bicycle, Self::Motorcycle, Self::Car, Self::Bus, Self::Truck, Self::Other];

    /// The class's name in configuration, tables and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Bicycle => "bicycle",
            Self::Motorcycle => "motorcycle",
            Self::Car => "car",
            Self::Bus => "bus",
            Self::Truck => "truck",
            Self::Other => "other",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// The class's place in [`Class::ALL`], for tables indexed by class.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether counts of this class are counts of people on the street (privacy rules differ).
    pub const fn is_personal(self) -> bool {
        matches!(self, Self::Person | Self::Bicycle)
    }
}

/// One object found in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// What it is.
    pub class: Class,
    /// How sure the detector is, 0..1.
    pub score: f32,
    /// Where it is.
    pub box_in_image: BoxInImage,
}
