//! Renders a golden scene to a YUV4MPEG2 clip, which GStreamer and most players read:
//! `cargo run -p kerbside-scenes --example clip -- SCENE FROM_SECS SECS FPS OUT.y4m`

#![allow(clippy::print_stdout)]

use std::io::Write;
use std::time::Instant;

use kerbside_core::frame::PictureSize;
use kerbside_scenes::Scene;
use kerbside_scenes::render::Renderer;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [scene, from, secs, fps, out] = arguments.as_slice() else {
        return Err(std::io::Error::other("SCENE FROM_SECS SECS FPS OUT.y4m are expected"));
    };
    let number = |text: &str| text.parse::<u32>().map_err(std::io::Error::other);
    let (from, secs, fps) = (number(from)?, number(secs)?, number(fps)?.max(1));
    let scene = Scene::golden(scene);
    let size = PictureSize { width: 640, height: 360 };
    let mut renderer = Renderer::new(&scene, size, 1);
    let mut out = std::io::BufWriter::new(std::fs::File::create(out)?);
    writeln!(out, "YUV4MPEG2 W{} H{} F{fps}:1 Ip A1:1 C420jpeg", size.width, size.height)?;
    let mut planes = renderer.render(f64::from(from));
    let began = Instant::now();
    for picture in 0..secs * fps {
        renderer.render_into(f64::from(from) + f64::from(picture) / f64::from(fps), &mut planes);
        writeln!(out, "FRAME")?;
        for (bytes, _) in &planes.planes {
            out.write_all(bytes)?;
        }
    }
    println!("{:.0} pictures a second", f64::from(secs * fps) / began.elapsed().as_secs_f64());
    Ok(())
}
