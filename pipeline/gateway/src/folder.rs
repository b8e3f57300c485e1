//! A landing in a folder whose deletions last.
//!
//! The store underneath waits until what it writes is on the disk, and not for what it deletes. A file that comes back with
//! the power holds rows that were sent again, or merged, or kept too long.

use std::fmt;
use std::io;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// The store underneath, with deletions that are on the disk when they are done.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    inner: LocalFileSystem,
}

impl Folder {
    pub(crate) fn new(inner: LocalFileSystem) -> Self {
        Self { inner }
    }

    async fn delete(&self, location: &Path) -> Result<()> {
        let deleted = self.inner.delete(location).await;
        // Also where it is gone already: whoever deleted it may have died before this.
        let path = self.inner.path_to_filesystem(location)?;
        let synced = tokio::task::spawn_blocking(move || match path.parent().map(std::fs::File::open) {
            Some(Ok(folder)) => folder.sync_all(),
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        let generic = |source| Error::Generic { store: "folder", source };
        synced.await.map_err(|error| generic(error.into()))?.map_err(|error| generic(error.into()))?;
        deleted
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[tonic::async_trait]
impl ObjectStore for Folder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let folder = self.clone();
        let delete = move |location: Result<Path>| {
            let folder = folder.clone();
            async move {
                let location = location?;
                folder.delete(&location).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
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
