//! The tracker and the operators on a scripted street.

mod camera;
mod conformance;
mod counting;
mod people;
mod plaza;
mod quality;
mod scenes;
mod situations;
mod street;
mod tracking;
