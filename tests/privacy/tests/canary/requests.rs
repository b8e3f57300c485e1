//! What a node may say to its camera: requests of RTSP (RFC 2326) without bodies, and between them the receiver's
//! reports of RTCP (RFC 3550, section 6), each of a bounded size and known form.

/// Requests, and the lines that may stand in them.
const METHODS: [&str; 7] = ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "TEARDOWN"];
const LINES: [&str; 15] = [
    "cseq",
    "user-agent",
    "accept",
    "transport",
    "session",
    "date",
    "range",
    "require",
    "authorization",
    // RealMedia's part of GStreamer says the same of itself to every server.
    "clientchallenge",
    "playerstarttime",
    "companyid",
    "guid",
    "regiondata",
    "clientid",
];
/// The longest line, bytes.
const LONGEST: usize = 160;
/// The longest compound report: one receiver, one source, one name.
const LONGEST_REPORT: usize = 128;
const RECEIVER: u8 = 201;
const NAME: u8 = 202;
const BYE: u8 = 203;

/// Everything in the bytes that is not of that form.
pub fn unknown(mut sent: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while !sent.is_empty() {
        if let [b'$', channel, high, low, rest @ ..] = sent {
            let length = usize::from(*high) << 8 | usize::from(*low);
            let report = &rest[..length.min(rest.len())];
            // Even channels carry pictures, odd ones reports.
            if channel % 2 == 0 || length > LONGEST_REPORT || !is_report(report) {
                found.push(format!("{length} bytes on channel {channel}: {report:?}"));
            }
            sent = &rest[report.len()..];
            continue;
        }
        let end = sent.windows(4).position(|window| window == b"\r\n\r\n").map_or(sent.len(), |at| at + 4);
        let text = String::from_utf8_lossy(&sent[..end]).into_owned();
        let mut lines = text.trim_end().split("\r\n");
        let request = lines.next().unwrap_or_default();
        let method = request.split(' ').next().unwrap_or_default();
        if !METHODS.contains(&method) || !request.ends_with("RTSP/1.0") || request.len() > LONGEST {
            found.push(format!("the request {request:?}"));
        }
        for line in lines {
            let name = line.split(':').next().unwrap_or_default().to_lowercase();
            if !LINES.contains(&name.as_str()) || line.len() > LONGEST {
                found.push(format!("the line {line:?} of {method}"));
            }
        }
        sent = &sent[end..];
    }
    found
}

/// A compound of reports (RFC 3550, section 6.1): version 2, a known kind, lengths that add up.
fn is_report(mut bytes: &[u8]) -> bool {
    while let [first, kind, high, low, ..] = bytes {
        let length = 4 * (1 + (usize::from(*high) << 8 | usize::from(*low)));
        let sources = usize::from(first & 31);
        let fits = match *kind {
            RECEIVER => length == 8 + 24 * sources,
            NAME => sources <= 1,
            BYE => length == 4 + 4 * sources,
            _ => false,
        };
        let Some(rest) = bytes.get(length..).filter(|_| fits && first >> 6 == 2) else { return false };
        bytes = rest;
    }
    bytes.is_empty()
}

#[test]
fn a_3_words_and_bytes_that_no_camera_needs_are_noticed() {
    let plain: &[u8] = b"OPTIONS rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x01\x00\x08\x80\xc9\x00\x01\0\0\0\x01";
    assert_eq!(unknown(plain), [""; 0]);
    for planted in [
        &b"ANNOUNCE rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\n\r\n"[..],
        b"PLAY rtsp://h/x RTSP/1.0\r\nX-Thumbnail: 0101\r\n\r\n",
        b"PLAY rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\n\r\nbody",
        b"$\x00\x00\x04\x80\xc9\x00\x00",
        b"$\x01\x00\x08\x80\xcc\x00\x01\0\0\0\x01",
        b"$\x01\x00\x0c\x80\xc9\x00\x01\0\0\0\x01pixl",
    ] {
        assert_eq!(unknown(&[plain, planted].concat()).len(), 1, "{:?}", String::from_utf8_lossy(planted));
    }
}
