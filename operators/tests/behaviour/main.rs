//! The tracker and the operators on a scripted street.

mod camera;
mod conformance;
mod counting;
mod flow;
mod quality;
mod queues;
mod road;
mod scenes;
mod speeds;
mod street;
mod tracking;
mod zones;
