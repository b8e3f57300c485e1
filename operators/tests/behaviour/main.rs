//! The tracker and the operators on a scripted street.

mod camera;
mod conformance;
mod counting;
mod parade;
mod quality;
mod scenes;
mod scripted;
mod street;
mod tracking;
