//! Which classes are common enough at a camera to be named in an incident.
//!
//! z-anonymity (Jha, Favale, Vassio, Trevisan and Mellia, "z-anonymity: Zero-Delay Anonymization for Data Streams", IEEE
//! Big Data 2020): a label is told when at least z − 1 others have shown it within the window, and without delay. Below
//! that the label is `other`.

use std::collections::VecDeque;
use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::time::WallTime;

/// How many objects of a class must have been seen.
const Z: usize = 5;
/// Within how long.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// When the last objects of each class were first seen.
#[derive(Debug, Default)]
pub(crate) struct Rarity {
    of_class: [VecDeque<WallTime>; Class::ALL.len()],
}

impl Rarity {
    /// An object that was not known before.
    pub(crate) fn see(&mut self, class: Class, at: WallTime) {
        let seen = &mut self.of_class[class.index()];
        if seen.len() == Z {
            seen.pop_front();
        }
        seen.push_back(at);
    }

    /// The class as it may be told at this moment.
    pub(crate) fn told(&self, class: Class, at: WallTime) -> Class {
        let seen = &self.of_class[class.index()];
        let is_common = seen.len() == Z && seen.iter().all(|seen| at.since(*seen) <= WINDOW);
        if is_common { class } else { Class::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(hour: u64) -> WallTime {
        WallTime::from_unix_millis(hour * 3_600_000)
    }

    #[test]
    fn a_class_is_named_when_enough_have_shown_it() {
        let mut rarity = Rarity::default();
        for at in 0..4 {
            rarity.see(Class::Bus, hour(at));
            assert_eq!(rarity.told(Class::Bus, hour(at)), Class::Other);
        }
        rarity.see(Class::Bus, hour(4));
        assert_eq!(rarity.told(Class::Bus, hour(4)), Class::Bus);
        assert_eq!(rarity.told(Class::Truck, hour(4)), Class::Other, "each class for itself");
        assert_eq!(rarity.told(Class::Bus, hour(24)), Class::Bus);
        assert_eq!(rarity.told(Class::Bus, hour(25)), Class::Other, "the first is too long ago");
        rarity.see(Class::Bus, hour(25));
        assert_eq!(rarity.told(Class::Bus, hour(25)), Class::Bus);
    }
}
