//! The gateway dies at every step of a commit: nothing that was acknowledged is lost, and nothing is stored twice.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::BoxStream;
use kerbside_gateway::Gateway;
use kerbside_gateway::landing::Store;
use kerbside_release::Table;
use kerbside_uplink::wire::GapReason;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use crate::common::*;

/// When a landing breaks: with the n-th put, before or after it was done. From then on nothing works.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Breaks {
    Before(usize),
    After(usize),
}

#[derive(Debug)]
pub(crate) struct Breaking {
    pub(crate) inner: Store,
    pub(crate) breaks: Breaks,
    pub(crate) puts: AtomicUsize,
}

impl Breaking {
    fn error<T>() -> Result<T> {
        Err(object_store::Error::Generic { store: "test", source: "the power is gone".into() })
    }

    fn is_broken(&self) -> bool {
        let puts = self.puts.load(Ordering::SeqCst);
        match self.breaks {
            Breaks::Before(place) | Breaks::After(place) => puts > place,
        }
    }
}

impl fmt::Display for Breaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a landing that breaks")
    }
}

#[tonic::async_trait]
impl ObjectStore for Breaking {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let place = self.puts.fetch_add(1, Ordering::SeqCst);
        match self.breaks {
            Breaks::Before(at) if place >= at => Self::error(),
            Breaks::After(at) if place > at => Self::error(),
            Breaks::After(at) if place == at => {
                self.inner.put_opts(location, payload, options).await?;
                Self::error()
            }
            _ => self.inner.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.is_broken() { Self::error() } else { self.inner.get_opts(location, options).await }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.is_broken() {
            return Box::pin(futures::stream::once(async { Self::error() }));
        }
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f_41_a_crash_at_any_step_of_a_commit_loses_and_doubles_nothing() {
    // The first commit goes well; the second has two files, one of rows and one of gaps.
    for breaks in [Breaks::Before(1), Breaks::After(1), Breaks::Before(2), Breaks::After(2)] {
        let mut city = City::new();
        city.settings.commit_interval = std::time::Duration::from_millis(300);
        let files = city.issue(Role::Node, "cabinet");
        let batches = Cabinet::new("cabinet", 7).agg(6);
        let encoded: Vec<_> = batches.iter().map(|batch| encode(batch.get())).collect();
        let end = encoded[5].last_seq + 1;

        let store: Store = Arc::new(Breaking { inner: store(&city), breaks, puts: AtomicUsize::new(0) });
        let gateway = Gateway::start_over(&city.settings, store).await.unwrap();
        let token = deliver(gateway.address(), &files, 0, &batches[..2]).await;
        let mut client = connect(gateway.address(), &files).await.unwrap();
        let reply = resume(&mut client, token, vec![position(Table::Agg, 7, end + 10)]).await.unwrap();
        let upload = Upload::open(&mut client, reply.token, &encoded[2]).await;
        upload.rows(&encoded[2]);
        upload.rows(&encoded[3]);
        upload.gap(end, end + 9, GapReason::Dropped);
        let status = upload.finish().await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable, "{breaks:?}");
        assert_eq!(metric(&gateway, "kerbside_gateway_commit_errors_total"), 1.0);
        drop(client);
        gateway.stop().await.unwrap();

        let gateway = city.start().await;
        let mut client = connect(gateway.address(), &files).await.unwrap();
        let reply = resume(&mut client, reply.token, vec![position(Table::Agg, 7, end + 10)]).await.unwrap();
        let stored: Vec<(u64, u64)> =
            reply.stored[0].ranges.iter().map(|range| (range.first_seq, range.last_seq)).collect();
        // Nobody has acknowledged the second commit: it never was, however many of its files there were.
        assert_eq!(stored, [(0, encoded[1].last_seq)], "{breaks:?}");
        assert_eq!(landed(&city.landing(), "agg.v1"), expected(&batches[..2]), "{breaks:?}");
        let mut upload = Upload::open(&mut client, reply.token, &encoded[0]).await;
        upload.gap(end, end + 9, GapReason::Dropped);
        let schema = batches[0].get().schema();
        let all = arrow_select::concat::concat_batches(&schema, batches.iter().map(|batch| batch.get())).unwrap();
        upload.rows(&encode(&all.slice(1, all.num_rows() - 1)));
        upload.rows(&encode(&all));
        let mut next = 0;
        for _ in 0..3 {
            next = upload.ack().await.unwrap().next_seq;
        }
        assert_eq!(next, end + 10, "{breaks:?}");
        assert_eq!(landed(&city.landing(), "agg.v1"), expected(&batches), "{breaks:?}");
        assert_eq!(landed(&city.landing(), "gap.v1").len(), 1, "{breaks:?}");
        gateway.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_that_fails_for_a_moment_is_tried_again() {
    let city = City::new();
    let files = city.issue(Role::Node, "cabinet");
    let batches = Cabinet::new("cabinet", 7).agg(2);
    let folder = city.landing();
    let gateway = city.start().await;
    // A file where a folder should be.
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("agg.v1"), "in the way").unwrap();
    let in_the_way = folder.join("agg.v1");
    let helper = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        std::fs::remove_file(in_the_way).unwrap();
    });
    deliver(gateway.address(), &files, 0, &batches).await;
    helper.await.unwrap();
    assert_eq!(landed(&folder, "agg.v1"), expected(&batches));
    assert_eq!(metric(&gateway, "kerbside_gateway_commit_errors_total"), 0.0);
    gateway.stop().await.unwrap();
}
