use crate::tamper::Watch;
use kerbside_core::time::MediaTime;
#[test]
#[ignore]
fn footage() {
    let all = std::fs::read(std::env::var("FOOTAGE").unwrap()).unwrap();
    let fps: f64 = 10.0;
    let mut watch = Watch::new("");
    for (n, f) in all.chunks(384 * 288).enumerate() {
        watch.see(f, (384, 288), MediaTime::from_nanos((n as f64 / fps * 1e9) as u64));
    }
    eprintln!("WORDS {:?}", watch.words());
}
