//! Situations that an operator reports while they last: each has a beginning, perhaps updates, and an end.

use crate::time::MediaTime;

/// What kind of situation. The names are the closed vocabulary of the `kind` column of `incident.v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IncidentKind {
    /// A vehicle against the allowed direction.
    WrongWay,
    /// A vehicle that stands where none should.
    StoppedVehicle,
    /// A queue that reaches further than it may.
    QueueSpillback,
    /// Someone or something where it may not be.
    RestrictedZone,
    /// More people in a place than it bears.
    CrowdDensity,
    /// A crowd that moves as one, suddenly.
    CrowdMovement,
    /// Something that was left behind.
    ObjectLeft,
    /// A person on the ground.
    PersonDown,
    /// Smoke or fire.
    SmokeFire,
    /// A vehicle and a person or bicycle that missed each other by little.
    NearMiss,
    /// The camera's view is covered.
    TamperCovered,
    /// The camera looks elsewhere.
    TamperMoved,
    /// The camera is out of focus.
    TamperDefocus,
    /// The picture does not change any more.
    TamperFrozen,
    /// The camera sends nothing.
    SignalLoss,
    /// Something that is unusual here.
    SceneAnomaly,
    /// The picture is too dark to see anything.
    TamperDark,
    /// The picture is too bright to see anything.
    TamperBright,
}

impl IncidentKind {
    /// Every kind, in the order of the released dictionary.
    pub const ALL: [Self; 18] = [
        Self::WrongWay,
        Self::StoppedVehicle,
        Self::QueueSpillback,
        Self::RestrictedZone,
        Self::CrowdDensity,
        Self::CrowdMovement,
        Self::ObjectLeft,
        Self::PersonDown,
        Self::SmokeFire,
        Self::NearMiss,
        Self::TamperCovered,
        Self::TamperMoved,
        Self::TamperDefocus,
        Self::TamperFrozen,
        Self::SignalLoss,
        Self::SceneAnomaly,
        Self::TamperDark,
        Self::TamperBright,
    ];

    /// The kind's name in the released table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongWay => "wrong_way",
            Self::StoppedVehicle => "stopped_vehicle",
            Self::QueueSpillback => "queue_spillback",
            Self::RestrictedZone => "restricted_zone",
            Self::CrowdDensity => "crowd_density",
            Self::CrowdMovement => "crowd_movement",
            Self::ObjectLeft => "object_left",
            Self::PersonDown => "person_down",
            Self::SmokeFire => "smoke_fire",
            Self::NearMiss => "near_miss",
            Self::TamperCovered => "tamper_covered",
            Self::TamperMoved => "tamper_moved",
            Self::TamperDefocus => "tamper_defocus",
            Self::TamperFrozen => "tamper_frozen",
            Self::SignalLoss => "signal_loss",
            Self::SceneAnomaly => "scene_anomaly",
            Self::TamperDark => "tamper_dark",
            Self::TamperBright => "tamper_bright",
        }
    }
}

/// Where in its life a situation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It has begun.
    Begin,
    /// It goes on, and is worth another word.
    Update,
    /// It is over.
    End,
}

impl Phase {
    /// Every phase, in the order of the released dictionary.
    pub const ALL: [Self; 3] = [Self::Begin, Self::Update, Self::End];

    /// The phase's name in the released table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Update => "update",
            Self::End => "end",
        }
    }
}

/// What the number of an incident is of. The names are the closed vocabulary of the `unit` column of
/// `incident.v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IncidentUnit {
    /// There is no number.
    None,
    /// Objects.
    Count,
    /// Kilometres per hour.
    KmPerHour,
    /// People on 100 square metres.
    PeoplePer100SquareMetres,
    /// Metres.
    Metres,
    /// Seconds.
    Seconds,
    /// Tenths of a second.
    Deciseconds,
    /// Thousandths.
    Permille,
}

impl IncidentUnit {
    /// Every unit, in the order of the released dictionary.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Count,
        Self::KmPerHour,
        Self::PeoplePer100SquareMetres,
        Self::Metres,
        Self::Seconds,
        Self::Deciseconds,
        Self::Permille,
    ];

    /// The unit's name in the released table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Count => "count",
            Self::KmPerHour => "km/h",
            Self::PeoplePer100SquareMetres => "p/100m2",
            Self::Metres => "m",
            Self::Seconds => "s",
            Self::Deciseconds => "ds",
            Self::Permille => "permille",
        }
    }

    /// Released numbers are multiples of this: finer ones would tell one object from another.
    pub const fn step(self) -> i32 {
        match self {
            Self::None | Self::Count | Self::Metres | Self::Seconds | Self::Deciseconds => 1,
            Self::KmPerHour => 5,
            Self::PeoplePer100SquareMetres | Self::Permille => 50,
        }
    }
}

/// Why something is unusual, for whoever looks at the node itself: it is not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nothing of this class goes this way here.
    Direction,
    /// Nothing of this class is as fast here.
    TooFast,
    /// Nothing of this class is as slow here.
    TooSlow,
    /// Nothing of this class is ever here.
    Place,
    /// More than usual at this time.
    High,
    /// Less than usual at this time.
    Low,
}

impl Reason {
    /// The reason in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direction => "direction",
            Self::TooFast => "too_fast",
            Self::TooSlow => "too_slow",
            Self::Place => "place",
            Self::High => "high",
            Self::Low => "low",
        }
    }
}

/// A word about a situation.
///
/// Each has exactly one [`Phase::Begin`], then any number of [`Phase::Update`], then exactly one
/// [`Phase::End`], also when the stream ends while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// What kind.
    pub kind: IncidentKind,
    /// Beginning, update or end.
    pub phase: Phase,
    /// Tells the situations of one operator apart: 0, 1, 2 and so on. The release stage replaces it by a random number.
    pub number: u32,
    /// When it began. At its beginning, the time of the finding.
    pub since: MediaTime,
    /// How bad it is, 0 to 100.
    pub severity: u8,
    /// How sure the operator is, 0 to 100.
    pub confidence: u8,
    /// A number that goes with the kind, such as a speed; 0 without a unit.
    pub value: i32,
    /// What `value` is of.
    pub unit: IncidentUnit,
    /// Why it is unusual, where the kind does not say it.
    pub reason: Option<Reason>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_at_their_places() {
        for (place, kind) in IncidentKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{}", kind.name());
        }
        for (place, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, place, "{}", phase.name());
        }
        for (place, unit) in IncidentUnit::ALL.into_iter().enumerate() {
            assert_eq!(unit as usize, place, "{}", unit.name());
        }
    }
}
