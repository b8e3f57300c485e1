//! What an installer writes wrongly, and what is said of it.

use crate::camera::configure;

#[test]
fn mistakes_in_options_are_named_all_at_once() {
    let text = "\
geometry:
  lines: {crossing: {from: [0, 0.5], to: [1, 0.5]}}
  zones: {square: {polygon: [[0, 0], [1, 0], [1, 1]]}}
operators:
  count_line:
    - {line: crosing, classes: [person, tram, person], hysteresis: 3}
    - {classes: []}
  measure_occupancy:
    - {zone: crossing, line: crossing, classes: person}
  detect_wrong_way:
    - {line: crossing, zone: square, classes: [person]}
    - {zone: square, allowed: left, min_distance: 0.1}
  detect_stopped:
    - {zone: square, after: 10, patience: 1s}
  detect_intrusion:
    - {zone: square, hours: ['22:00-05:00', 'Sat-Sum 00:00-24:00', '9-17'], after: 1h}
    - {zone: square, hours: []}
  detect_loitering:
    - {zone: square, classes: [person], after: 2d, within: 0.1}
  detect_crowd:
    - {zone: square}
    - {zone: square, at_least: 5, until: 6}
    - {zone: square, at_least: 5, density: 1}
    - {zone: square, density: 1}
  detect_near_miss:
    - {zone: square, pet: 3s}
  measure_queue:
    - {line: crossing, zone: square, classes: [car, person, bicycle]}
";
    let expected = [
        "6:14: operators.count_line[0].line: there is no line 'crosing'; did you mean 'crossing'? only crossing is allowed",
        "6:41: operators.count_line[0].classes[1]: this camera does not look for 'tram'; allowed are person, bicycle, motorcycle, car, bus, truck",
        "6:47: operators.count_line[0].classes[2]: 'person' is listed twice; each class once",
        "6:68: operators.count_line[0].hysteresis: 3 is out of range; a number of box heights from 0 to 1 is expected",
        "7:7: operators.count_line[1]: the key 'line' is missing; it is required",
        "7:17: operators.count_line[1].classes: no class is listed; allowed are person, bicycle, motorcycle, car, bus, truck",
        "9:14: operators.measure_occupancy[0].zone: there is no zone 'crossing'; only square is allowed",
        "9:24: operators.measure_occupancy[0].line: unknown key; allowed are classes, zone",
        "9:49: operators.measure_occupancy[0].classes: a single value was found; a list is expected",
        "11:7: operators.detect_wrong_way[0]: the key 'allowed' is missing; it is required",
        "11:24: operators.detect_wrong_way[0].zone: a line and a zone are given; one of 'line' and 'zone' is expected",
        "11:48: operators.detect_wrong_way[0].classes[0]: this operator is not about 'person'; allowed are bicycle, motorcycle, car, bus, truck",
        "12:7: operators.detect_wrong_way[1]: the key 'along' is missing; it is required",
        "12:31: operators.detect_wrong_way[1].allowed: 'left' is unknown; allowed are forward, backward",
        "12:51: operators.detect_wrong_way[1].min_distance: 0.1 is out of range; a number of box heights from 0.5 to 20 is expected",
        "14:29: operators.detect_stopped[0].after: '10' has no unit; a time with its unit (ms, s, m, h, d) from 5s to 1h is expected, such as 500ms or 15m",
        "14:43: operators.detect_stopped[0].patience: 1s is out of range; a time with its unit (ms, s, m, h, d) from 2s to 10m is expected, such as 500ms or 15m",
        "16:45: operators.detect_intrusion[0].hours[1]: 'Sum' is not a day; days are Mon, Tue, Wed, Thu, Fri, Sat, Sun; a span such as '22:00-05:00', 'Mon-Fri 07:00-19:00' or 'Sun 00:00-24:00' is expected",
        "16:68: operators.detect_intrusion[0].hours[2]: '9' is not a time of day from 00:00 to 24:00; a span such as '22:00-05:00', 'Mon-Fri 07:00-19:00' or 'Sun 00:00-24:00' is expected",
        "16:84: operators.detect_intrusion[0].after: 1h is out of range; a time with its unit (ms, s, m, h, d) from 0s to 10m is expected, such as 500ms or 15m",
        "17:29: operators.detect_intrusion[1].hours: no span is listed; a span such as '22:00-05:00', 'Mon-Fri 07:00-19:00' or 'Sun 00:00-24:00' is expected",
        "19:22: operators.detect_loitering[0].classes: unknown key; allowed are after, within, zone",
        "19:48: operators.detect_loitering[0].after: 2d is out of range; a time with its unit (ms, s, m, h, d) from 5s to 1h is expected, such as 500ms or 15m",
        "19:60: operators.detect_loitering[0].within: 0.1 is out of range; a number of box heights from 0.5 to 50 is expected",
        "21:7: operators.detect_crowd[0]: neither 'at_least' nor 'density' is given; one of them is required",
        "22:42: operators.detect_crowd[1].until: 6 is out of range; a number of people from 0 to 5 is expected",
        "23:7: operators.detect_crowd[2]: distances on the street are needed here, and the camera's geometry has no ground; geometry.ground with four or more points of the picture and where they lie in metres is expected",
        "23:22: operators.detect_crowd[2].at_least: 'at_least' and 'density' are given; one of them is expected",
        "24:7: operators.detect_crowd[3]: distances on the street are needed here, and the camera's geometry has no ground; geometry.ground with four or more points of the picture and where they lie in metres is expected",
        "26:7: operators.detect_near_miss[0]: distances on the street are needed here, and the camera's geometry has no ground; geometry.ground with four or more points of the picture and where they lie in metres is expected",
        "26:27: operators.detect_near_miss[0].pet: 3s is out of range; a time with its unit (ms, s, m, h, d) from 200ms to 2s 500ms is expected, such as 500ms or 15m",
        "28:53: operators.measure_queue[0].classes[1]: this operator is not about 'person'; allowed are motorcycle, car, bus, truck",
        "28:61: operators.measure_queue[0].classes[2]: this operator is not about 'bicycle'; allowed are motorcycle, car, bus, truck",
    ];
    let problems = configure(text).map(|_| ()).unwrap_err();
    assert_eq!(problems, expected.map(|problem| format!("camera.yaml:{problem}")));
}
