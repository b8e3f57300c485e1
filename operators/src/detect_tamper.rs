#![doc = include_str!("detect_tamper.md")]

use std::time::Duration;

use kerbside_core::finding::{Finding, FindingKind, Findings};
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::{Incident, IncidentKind, IncidentUnit, Phase};
use kerbside_core::observation::{Observation, SceneStatistics};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Role, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::options;
use crate::stillness::Stillness;
use crate::view::View;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "detect_tamper",
    summary: "Notices a camera that is covered, out of focus, turned away, frozen, too dark or too bright.",
    manual: include_str!("detect_tamper.md"),
    options: &[
        OptionDoc {
            name: "kinds",
            takes: "a list of covered, defocus, moved, frozen, dark, bright; default: all",
            meaning: "Which kinds are reported and end the trust in the picture.",
        },
        OptionDoc {
            name: "after",
            takes: "1s to 60s; default 4s",
            meaning: "How long it must last before it is reported.",
        },
        OptionDoc {
            name: "lost_share",
            takes: "0.5 to 1 of the picture's structured regions; default 0.75",
            meaning: "How much of the view must be gone for covered and moved.",
        },
        OptionDoc {
            name: "sharpness_left",
            takes: "0.1 to 0.9 of what is usual; default 0.5",
            meaning: "Below this share the picture is out of focus.",
        },
        OptionDoc {
            name: "accept_new_view_after",
            takes: "1m to 24h; default 1h",
            meaning: "After how long a view that stays takes the place of the old one.",
        },
    ],
    example: "\
geometry: {}
operators:
  detect_tamper: [{after: 5s, lost_share: 0.8}]
",
    configure,
};

const DEFAULT_AFTER: Duration = Duration::from_secs(4);
const DEFAULT_LOST_SHARE: f64 = 0.75;
const DEFAULT_SHARPNESS_LEFT: f64 = 0.5;
const DEFAULT_ACCEPT_AFTER: Duration = Duration::from_secs(3600);

/// The least time between two looks at the view.
const LOOK_EVERY: Duration = Duration::from_millis(190);
/// A frame stands for no more than this.
const LONGEST_STEP: Duration = Duration::from_secs(2);
/// How long the view is learned before anything is held against it.
const LEARNING: Duration = Duration::from_secs(30);
/// Time constant of the usual view.
const FORGETS_IN: Duration = Duration::from_secs(300);
/// What is wrong must have been the same for this long.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// The same for a dark picture: until then the view before may still fade in the settled picture of a black one.
const FADED_AFTER: Duration = Duration::from_secs(6);
/// How long the picture must be well before an incident ends.
const WELL_FOR: Duration = Duration::from_secs(3);
/// When there has been no frame for this long, nobody knows what is wrong: incidents end.
const SILENT_FOR: Duration = Duration::from_secs(10);
/// The share of dark pixels, and the contrast, at which a picture is too dark; and at which it is no longer.
const DARK: (f32, f32) = (0.97, 6.0);
const DARK_NO_MORE: (f32, f32) = (0.93, 8.0);
/// The share of bright pixels at which a picture is too bright, and at which it is no longer.
const BRIGHT: f32 = 0.8;
const BRIGHT_NO_MORE: f32 = 0.7;
/// A blurred picture is sharp again at this multiple of `sharpness_left`.
const SHARP_AGAIN: f32 = 1.3;
/// Where the finest detail is down to this share of what is usual, a picture with so many times `sharpness_left` is
/// out of focus already; and what it takes until it no longer is. A slight blur spares the broad edges of the
/// settled picture; rain, noise and encoders change the finest detail by less.
const DETAIL_LEFT: (f32, f32) = (0.1, 1.6);
const DETAIL_AGAIN: (f32, f32) = (0.3, 1.9);
/// A picture with less contrast shows nothing at all. It cannot be frozen either: a black one has no noise.
const LEAST_CONTRAST: f32 = 2.0;

/// What is wrong, in the order in which the option names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Covered,
    Defocus,
    Moved,
    Frozen,
    Dark,
    Bright,
}

impl Wrong {
    const ALL: [Self; 6] = [Self::Covered, Self::Defocus, Self::Moved, Self::Frozen, Self::Dark, Self::Bright];
    const NAMES: [(&'static str, Self); 6] = [
        ("covered", Self::Covered),
        ("defocus", Self::Defocus),
        ("moved", Self::Moved),
        ("frozen", Self::Frozen),
        ("dark", Self::Dark),
        ("bright", Self::Bright),
    ];

    fn kind(self) -> IncidentKind {
        match self {
            Self::Covered => IncidentKind::TamperCovered,
            Self::Defocus => IncidentKind::TamperDefocus,
            Self::Moved => IncidentKind::TamperMoved,
            Self::Frozen => IncidentKind::TamperFrozen,
            Self::Dark => IncidentKind::TamperDark,
            Self::Bright => IncidentKind::TamperBright,
        }
    }

    /// How bad it is: whether nothing is seen, the wrong place, or badly.
    fn severity(self) -> u8 {
        match self {
            Self::Covered | Self::Frozen => 90,
            Self::Moved => 80,
            Self::Defocus | Self::Dark | Self::Bright => 60,
        }
    }
}

struct Settings {
    reported: [bool; Wrong::ALL.len()],
    after: Duration,
    lost_share: f32,
    sharpness_left: f32,
    accept_after: Duration,
}

struct DetectTamper {
    settings: Settings,
    usual: View,
    /// The usual [`detail`]; 0 as long as nothing is known.
    usual_detail: f32,
    /// How long the usual view has been learned.
    learned: Duration,
    /// The view of the last look.
    now: View,
    /// The view since the camera was moved, and for how long it has been the same.
    new: View,
    new_for: Duration,
    looked: Option<MediaTime>,
    /// Since when something has been wrong, and since when it has been the same.
    bad_since: Option<MediaTime>,
    wrong: Option<(Wrong, MediaTime)>,
    well_since: Option<MediaTime>,
    stillness: Stillness,
    /// Number and beginning of each kind's incident while it lasts.
    open: [Option<(u32, MediaTime)>; Wrong::ALL.len()],
    next_number: u32,
    last: MediaTime,
}

fn configure(reader: &Reader<'_>, _surroundings: Surroundings<'_>) -> Option<Configured> {
    let reported = match reader.optional("kinds") {
        None => Some([true; Wrong::ALL.len()]),
        Some(field) => field.list().and_then(|items| {
            let mut reported = [false; Wrong::ALL.len()];
            for item in &items {
                reported[item.one_of(&Wrong::NAMES)? as usize] = true;
            }
            if items.is_empty() {
                field.problem("no kind is listed", "one or more of covered, defocus, moved, frozen, dark, bright");
            }
            (!items.is_empty()).then_some(reported)
        }),
    };
    let span = |key, least, most, default| {
        options::duration_or(reader, key, Duration::from_secs(least)..=Duration::from_secs(most), default)
    };
    let share = |key, range, unit, default| options::number_or(reader, key, range, unit, default);
    let after = span("after", 1, 60, DEFAULT_AFTER);
    let lost_share = share("lost_share", 0.5..=1.0, "the picture's structured regions", DEFAULT_LOST_SHARE);
    let sharpness_left = share("sharpness_left", 0.1..=0.9, "what is usual", DEFAULT_SHARPNESS_LEFT);
    let accept_after = span("accept_new_view_after", 60, 86_400, DEFAULT_ACCEPT_AFTER);
    reader.finish();
    let settings = Settings {
        reported: reported?,
        after: after?,
        lost_share: lost_share? as f32,
        sharpness_left: sharpness_left? as f32,
        accept_after: accept_after?,
    };
    let kinds = Wrong::ALL.into_iter().filter(|wrong| settings.reported[*wrong as usize]);
    let incidents: Vec<_> = kinds.map(|wrong| (wrong.kind(), SiteId::PICTURE)).collect();
    let operator = DetectTamper {
        settings,
        usual: View::default(),
        usual_detail: 0.0,
        learned: Duration::ZERO,
        now: View::default(),
        new: View::default(),
        new_for: Duration::ZERO,
        looked: None,
        bad_since: None,
        wrong: None,
        well_since: None,
        stillness: Stillness::default(),
        open: [None; Wrong::ALL.len()],
        next_number: 0,
        last: MediaTime::ZERO,
    };
    Some(Configured::counting(operator, Vec::new()).reporting(incidents).in_role(Role::Guard))
}

impl Operator for DetectTamper {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        let (at, scene) = (observation.at, observation.scene);
        self.advance(at, findings);
        self.last = at;
        if observation.step.is_zero() {
            (self.bad_since, self.wrong, self.well_since) = (None, None, None);
            self.stillness.interrupt();
        }
        let flat = scene.luma_deviation < LEAST_CONTRAST;
        let frozen = self.stillness.watch(at, observation.step, scene.repeated && !flat);
        match (frozen, self.open[Wrong::Frozen as usize]) {
            (true, None) => self.begin(Wrong::Frozen, at, findings),
            (false, Some(_)) => self.end(Wrong::Frozen, at, findings),
            _ => {}
        }
        let passed = self.looked.map_or(LOOK_EVERY, |looked| at.since(looked));
        if passed >= LOOK_EVERY {
            self.looked = Some(at);
            let aspect = observation.picture.width as f32 / observation.picture.height.max(1) as f32;
            self.look(scene, aspect, at, passed.min(LONGEST_STEP), findings);
        }
    }

    fn advance(&mut self, upto: MediaTime, findings: &mut Findings) {
        if upto.since(self.last) > SILENT_FOR {
            for wrong in Wrong::ALL {
                self.end(wrong, self.last + SILENT_FOR, findings);
            }
        }
    }

    fn finish(&mut self, findings: &mut Findings) {
        for wrong in Wrong::ALL {
            self.end(wrong, self.last, findings);
        }
    }

    fn trusts(&self) -> bool {
        self.open.iter().all(Option::is_none)
    }
}

impl DetectTamper {
    fn look(
        &mut self,
        scene: &SceneStatistics,
        aspect: f32,
        at: MediaTime,
        passed: Duration,
        findings: &mut Findings,
    ) {
        self.now.see(scene);
        if let Some(wrong) = self.judge(scene, aspect) {
            let bad_since = *self.bad_since.get_or_insert(at);
            let same_since = match self.wrong {
                Some((before, since)) if before == wrong => since,
                _ => at,
            };
            self.wrong = Some((wrong, same_since));
            self.well_since = None;
            let settled_after = if wrong == Wrong::Dark { FADED_AFTER } else { SETTLED_AFTER };
            let lasts = at.since(bad_since) >= self.settings.after && at.since(same_since) >= settled_after;
            if lasts && self.open[wrong as usize].is_none() {
                for other in [Wrong::Covered, Wrong::Defocus, Wrong::Dark, Wrong::Bright] {
                    self.end(other, at, findings);
                }
                self.begin(wrong, at, findings);
            }
            if self.open[Wrong::Moved as usize].is_some() || !self.settings.reported[Wrong::Moved as usize] {
                self.consider_new_view(passed);
            }
        } else {
            (self.bad_since, self.wrong) = (None, None);
            let well_since = *self.well_since.get_or_insert(at);
            if at.since(well_since) >= WELL_FOR {
                for wrong in Wrong::ALL.into_iter().filter(|wrong| *wrong != Wrong::Frozen) {
                    self.end(wrong, at, findings);
                }
                self.learn(scene, passed);
            }
        }
    }

    /// What is wrong with the picture of this moment, if anything.
    fn judge(&self, scene: &SceneStatistics, aspect: f32) -> Option<Wrong> {
        let likeness = if self.learned >= LEARNING { self.usual.likeness(&self.now) } else { None };
        let is = |wrong: Wrong| self.open[wrong as usize].is_some();
        let (dark, contrast) = if is(Wrong::Dark) { DARK_NO_MORE } else { DARK };
        let flat = scene.luma_deviation < LEAST_CONTRAST;
        if scene.dark >= dark && scene.luma_deviation < contrast {
            let lost = likeness.is_some_and(|it| flat || it.blank >= self.settings.lost_share);
            return Some(if lost { Wrong::Covered } else { Wrong::Dark });
        }
        if scene.bright >= if is(Wrong::Bright) { BRIGHT_NO_MORE } else { BRIGHT } {
            return Some(Wrong::Bright);
        }
        if flat {
            return Some(Wrong::Covered);
        }
        let likeness = likeness?;
        // Half of what was missing must be back before a view is well again.
        let gone = is(Wrong::Covered) || is(Wrong::Moved);
        let half = self.settings.lost_share / 2.0;
        let lost_share = if gone { half } else { self.settings.lost_share };
        if likeness.strange >= lost_share {
            return Some(if likeness.blank >= lost_share { Wrong::Covered } else { Wrong::Moved });
        }
        if likeness.strange >= half && self.usual.is_elsewhere_in(&self.now, aspect) {
            return Some(Wrong::Moved);
        }
        let (scale, detail_left) =
            if is(Wrong::Defocus) { (SHARP_AGAIN, DETAIL_AGAIN) } else { (1.0, DETAIL_LEFT) };
        let smooth = detail(scene) < detail_left.0 * self.usual_detail;
        let scale = if smooth { detail_left.1 } else { scale };
        let blurred = likeness.sharpness.is_some_and(|it| it < scale * self.settings.sharpness_left);
        blurred.then_some(Wrong::Defocus)
    }

    fn learn(&mut self, scene: &SceneStatistics, passed: Duration) {
        self.learned = (self.learned + passed).min(FORGETS_IN);
        let share = passed.as_secs_f32() / self.learned.as_secs_f32();
        self.usual.approach(&self.now, share.min(1.0));
        self.usual_detail += share.min(1.0) * (detail(scene) - self.usual_detail);
    }

    /// Watches what the camera sees since it was moved; what stays the same becomes the usual view.
    fn consider_new_view(&mut self, passed: Duration) {
        let same = self.new.likeness(&self.now).is_some_and(|it| it.strange < self.settings.lost_share);
        if same && !self.new_for.is_zero() {
            self.new_for += passed;
            let share = passed.as_secs_f32() / self.new_for.min(FORGETS_IN).as_secs_f32();
            self.new.approach(&self.now, share);
        } else {
            self.new.clone_from(&self.now);
            self.new_for = passed;
        }
        if self.new_for >= self.settings.accept_after {
            self.usual.clone_from(&self.new);
            (self.learned, self.new_for) = (FORGETS_IN, Duration::ZERO);
            self.usual_detail = 0.0;
        }
    }

    fn begin(&mut self, wrong: Wrong, at: MediaTime, findings: &mut Findings) {
        if self.settings.reported[wrong as usize] {
            let number = self.next_number;
            self.next_number += 1;
            self.new_for = Duration::ZERO;
            self.open[wrong as usize] = Some((number, at));
            findings.push(finding(wrong, Phase::Begin, number, at, at));
        }
    }

    fn end(&mut self, wrong: Wrong, at: MediaTime, findings: &mut Findings) {
        if let Some((number, since)) = self.open[wrong as usize].take() {
            findings.push(finding(wrong, Phase::End, number, since, at));
        }
    }
}

/// The finest detail against the contrast, so that fog and darkness, which take both, hardly matter.
fn detail(scene: &SceneStatistics) -> f32 {
    scene.sharpness / scene.luma_deviation.max(LEAST_CONTRAST).powi(2)
}

fn finding(wrong: Wrong, phase: Phase, number: u32, since: MediaTime, at: MediaTime) -> Finding {
    let incident = Incident {
        kind: wrong.kind(),
        phase,
        number,
        since,
        severity: wrong.severity(),
        confidence: 80,
        value: 0,
        unit: IncidentUnit::None,
        reason: None,
    };
    Finding { at, site: SiteId::PICTURE, class: None, track: None, kind: FindingKind::Incident(incident) }
}
