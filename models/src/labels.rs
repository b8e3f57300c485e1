//! A model's labels and the classes that Kerbside counts.

use kerbside_core::detection::Class;

/// The class that a label stands for; `None` for what Kerbside does not count.
/// Labels are those of COCO, or a class's own name.
pub(crate) fn class_of(label: &str) -> Option<Class> {
    match label {
        "train" | "tram" => Some(Class::Other),
        "motorbike" => Some(Class::Motorcycle),
        _ => Class::from_name(label),
    }
}

/// The places of the counted labels and their classes.
pub(crate) fn counted(labels: &[String]) -> Vec<(usize, Class)> {
    labels.iter().enumerate().filter_map(|(place, label)| Some((place, class_of(label)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_are_not_counted_are_dropped() {
        let labels = ["person", "airplane", "train", "truck"].map(str::to_owned);
        assert_eq!(counted(&labels), [(0, Class::Person), (2, Class::Other), (3, Class::Truck)]);
    }
}
