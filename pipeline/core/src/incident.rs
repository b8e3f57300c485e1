//! Situations that an operator reports while they last: each has a beginning, perhaps updates, and an end.

use crate::detection::Class;
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

impl IncidentKind {
    /// Whether a situation of this kind with this class is one of people, whose times and numbers are told more
    /// coarsely than those of vehicles and of the camera itself.
    pub const fn is_personal(self, class: Option<Class>) -> bool {
        match (self, class) {
            // A vehicle and a person or bicycle: it is told under the vehicle's class.
            (Self::NearMiss, _) => true,
            (_, Some(class)) => class.is_personal(),
            (
                Self::RestrictedZone
                | Self::CrowdDensity
                | Self::CrowdMovement
                | Self::ObjectLeft
                | Self::PersonDown
                | Self::SceneAnomaly,
                None,
            ) => true,
            (
                Self::WrongWay
                | Self::StoppedVehicle
                | Self::QueueSpillback
                | Self::SmokeFire
                | Self::TamperCovered
                | Self::TamperMoved
                | Self::TamperDefocus
                | Self::TamperFrozen
                | Self::SignalLoss
                | Self::TamperDark
                | Self::TamperBright,
                None,
            ) => false,
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

    /// Released numbers are multiples of this, rounded up: finer ones would tell one object from another, and a count
    /// of people every few seconds would be a count without noise.
    pub const fn step(self, is_personal: bool) -> i32 {
        match self {
            Self::None | Self::Metres | Self::Deciseconds => 1,
            Self::Count => {
                if is_personal {
                    5
                } else {
                    1
                }
            }
            Self::KmPerHour => 5,
            Self::Seconds => 10,
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

impl Incident {
    /// Severities are released in steps of this.
    const SEVERITY_STEP: u8 = 10;
    /// Confidences are released in steps of this.
    const CONFIDENCE_STEP: u8 = 5;

    /// The same as it may leave the node, about objects of this class: two words that are equal here are one.
    #[must_use]
    pub const fn coarse(self, class: Option<Class>) -> Self {
        let step = self.unit.step(self.kind.is_personal(class));
        Self {
            severity: stepped(self.severity, Self::SEVERITY_STEP),
            confidence: stepped(self.confidence, Self::CONFIDENCE_STEP),
            // Rounds up for both signs of what is at most a few thousand.
            value: -((-self.value).div_euclid(step)) * step,
            ..self
        }
    }
}

/// To the nearest step of 0 to 100.
const fn stepped(share: u8, step: u8) -> u8 {
    let share = if share > 100 { 100 } else { share };
    (share + step / 2) / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_leave_is_coarse_and_coarser_where_it_is_about_people() {
        let incident = Incident {
            kind: IncidentKind::CrowdDensity,
            phase: Phase::Update,
            number: 3,
            since: MediaTime::ZERO,
            severity: 74,
            confidence: 93,
            value: 12,
            unit: IncidentUnit::Count,
            reason: None,
        };
        let told = |kind, class, unit, value| Incident { kind, unit, value, ..incident }.coarse(class).value;
        let (person, car) = (Some(Class::Person), Some(Class::Car));
        assert_eq!((incident.coarse(person).severity, incident.coarse(person).confidence), (70, 95));
        assert_eq!(told(IncidentKind::CrowdDensity, person, IncidentUnit::Count, 12), 15);
        assert_eq!(told(IncidentKind::RestrictedZone, person, IncidentUnit::Count, 1), 5);
        assert_eq!(told(IncidentKind::RestrictedZone, car, IncidentUnit::Count, 1), 1);
        assert_eq!(told(IncidentKind::WrongWay, car, IncidentUnit::KmPerHour, 36), 40);
        assert_eq!(told(IncidentKind::WrongWay, car, IncidentUnit::KmPerHour, 0), 0);
        assert_eq!(told(IncidentKind::WrongWay, car, IncidentUnit::KmPerHour, -13), -10);
        assert_eq!(told(IncidentKind::ObjectLeft, None, IncidentUnit::Seconds, 61), 70);
        assert_eq!([0, 4, 5, 95, 100, 255].map(|share| stepped(share, 10)), [0, 0, 10, 100, 100, 100]);
        assert!(IncidentKind::NearMiss.is_personal(car) && !IncidentKind::TamperCovered.is_personal(None));
    }

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
