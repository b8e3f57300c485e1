//! The tracker and the operators on a scripted street.

mod camera;
mod conformance;
mod counting;
mod left;
mod pictures;
mod quality;
/// The scene's own arithmetic, so that the operators are tried on what cameras really give them. It belongs to the
/// crate of pixels, which operators cannot depend on.
#[path = "../../../pipeline/vision/src/scene/mod.rs"]
mod scene;
mod scenes;
mod street;
mod tamper;
mod tracking;
