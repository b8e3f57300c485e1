//! The tracker and the operators on a scripted street.

mod camera;
mod conformance;
mod counting;
mod flow;
mod habits;
mod left;
mod mistakes;
mod parade;
mod people;
mod pictures;
mod plaza;
mod quality;
mod queues;
mod road;
/// The scene's own arithmetic, so that the operators are tried on what cameras really give them. It belongs to the
/// crate of pixels, which operators cannot depend on.
#[path = "../../../pipeline/vision/src/scene/mod.rs"]
mod scene;
mod scenes;
mod scripted;
mod situations;
mod speeds;
mod splits;
mod street;
mod tamper;
mod tracking;
mod unusual;
mod zones;
