//! The tracker and the operators on a scripted street.

mod camera;
mod conformance;
mod counting;
mod flow;
mod parade;
mod people;
mod plaza;
mod quality;
mod queues;
mod road;
mod scenes;
mod scripted;
mod situations;
mod speeds;
mod street;
mod tracking;
mod unusual;
mod zones;
