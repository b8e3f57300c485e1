//! Which classes detectors confuse, so that one object may be taken for another class from frame to frame.

use kerbside_core::detection::Class;

/// Whether detectors take the one for the other: motor vehicles for each other, and bicycles for motorcycles. A
/// person is never anything else: the rider of a bicycle is a second object on top of it.
pub(crate) fn may_confuse(a: Class, b: Class) -> bool {
    let motor = |class| matches!(class, Class::Motorcycle | Class::Car | Class::Bus | Class::Truck | Class::Other);
    let cycle = |class| matches!(class, Class::Bicycle | Class::Motorcycle);
    a == b || (motor(a) && motor(b)) || (cycle(a) && cycle(b))
}
