//! The tracker and the operators on a scripted street.

mod camera;
mod conformance;
mod counting;
mod quality;
mod scenes;
mod street;
mod tracking;
mod unusual;
