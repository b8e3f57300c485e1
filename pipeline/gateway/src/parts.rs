//! The parts of a gateway that must not end before it is asked to.

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Starts parts and is told when the first of them has ended.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    ended: watch::Sender<Option<&'static str>>,
}

/// Tells when it goes, whatever its part ends from: a panic included.
struct Told {
    name: &'static str,
    ended: watch::Sender<Option<&'static str>>,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.ended.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(self.name);
            is_first
        });
    }
}

impl Parts {
    pub(crate) fn new() -> Self {
        Self { ended: watch::Sender::new(None) }
    }

    /// Starts a part. Its name is for a sentence that goes on with "has ended".
    pub(crate) fn start<T: Send + 'static>(
        &self,
        name: &'static str,
        part: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let told = Told { name, ended: self.ended.clone() };
        tokio::spawn(async move {
            let _told = told;
            part.await
        })
    }

    /// The part that ended first, if any has.
    pub(crate) fn first_ended(&self) -> Option<&'static str> {
        *self.ended.borrow()
    }

    /// Waits until one has ended.
    pub(crate) async fn ended(&self) {
        // This is one of those who could tell, so there is one.
        let _ = self.ended.subscribe().wait_for(Option::is_some).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_or_panics_is_told() {
        let parts = Parts::new();
        let goes_on = parts.start("the one", std::future::pending::<()>());
        assert_eq!(parts.first_ended(), None);
        let panics = parts.start("the other", async { panic!("as it was told to") });
        parts.ended().await;
        assert!(panics.await.is_err());
        goes_on.abort();
        let _ = goes_on.await;
        assert_eq!(parts.first_ended(), Some("the other"), "the first stays the first");
    }
}
