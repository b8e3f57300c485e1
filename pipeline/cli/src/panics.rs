//! What a panic says: where it was, and never a value (rule PC-16 of the privacy contract).
//!
//! A message that is a literal of the source holds no data and is shown. One that was put together while the program
//! ran may hold a box, a pixel or a name: it is withheld, and the place says which it was.

use std::any::Any;
use std::panic::{self, Location};

use crate::output::complain;

/// What stands for a message that was put together.
const WITHHELD: &str = "message withheld: it may hold data";

/// Makes every panic from now on, on any thread, say no more than that.
pub(crate) fn withhold_data() {
    panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        complain(&line(thread.name(), info.location(), info.payload()));
    }));
}

fn line(thread: Option<&str>, place: Option<&Location<'_>>, payload: &(dyn Any + Send)) -> String {
    let place = place.map_or_else(|| "an unknown place".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
    let message = payload.downcast_ref::<&'static str>().copied().unwrap_or(WITHHELD);
    format!("the thread '{}' panicked at {place}: {message}", thread.unwrap_or("without a name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payload of a real panic.
    fn payload_of(panics: impl FnOnce() + panic::UnwindSafe) -> Box<dyn Any + Send> {
        panic::catch_unwind(panics).unwrap_err()
    }

    fn refuse(number: i32) -> Result<(), i32> {
        if number == 0 { Ok(()) } else { Err(number) }
    }

    #[test]
    fn pc_16_a_panic_shows_its_place_and_a_literal_and_withholds_what_may_hold_data() {
        let here = Location::caller();
        let literal = payload_of(|| panic!("a sum that never overflows"));
        let said = line(Some("plaza/lane"), Some(here), &*literal);
        assert!(said.contains("'plaza/lane'") && said.contains(&format!("panics.rs:{}", here.line())), "{said}");
        assert!(said.ends_with(": a sum that never overflows"), "{said}");
        let secret = std::hint::black_box(4711);
        let with_data = [
            payload_of(move || panic!("box {secret}")),
            payload_of(move || assert_eq!(secret, 0)),
            payload_of(move || refuse(secret).expect("it is right")),
            payload_of(move || {
                let place = usize::try_from(secret).unwrap();
                assert_eq!([0_u8; 3][place], 0);
            }),
            payload_of(move || panic::panic_any(secret)),
        ];
        for payload in with_data {
            let said = line(None, Some(here), &*payload);
            assert!(said.ends_with(WITHHELD) && !said.contains("4711"), "{said}");
        }
    }
}
