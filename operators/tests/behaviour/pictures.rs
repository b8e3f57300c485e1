//! Renders a street as a camera sees it through a day: sun and moving shadows, clouds, street lamps, infrared light,
//! headlights, rain, snow, automatic exposure in steps, sensor noise; and what people do to cameras.
//!
//! Luma only, small pictures. The same seed gives the same pictures.

/// The rendered picture's size in pixels.
pub(crate) const WIDTH: usize = 160;
pub(crate) const HEIGHT: usize = 90;
/// The world is larger, so that the camera can be turned.
const WORLD_WIDTH: usize = 3 * WIDTH;
const WORLD_HEIGHT: usize = 2 * HEIGHT;
/// What the camera's exposure aims at, in luma.
const AIM: f32 = 105.0;

/// The light of a moment; a surface of albedo 1 in an ambient light of 1 gives luma 200 at exposure 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Light {
    pub(crate) ambient: f32,
    pub(crate) sun: f32,
    /// -1 morning to 1 evening: which way shadows fall.
    pub(crate) sun_at: f32,
    /// Street lamps, 0 or 1.
    pub(crate) lamps: f32,
    /// The camera's own infrared lamp, 0 or 1: it sees in infrared then.
    pub(crate) infrared: f32,
    /// Share of pixels hit by rain or snow in a frame.
    pub(crate) flakes: f32,
    /// How much of the ground is white, 0..1.
    pub(crate) snow: f32,
}

impl Light {
    pub(crate) const NOON: Self =
        Self { ambient: 0.35, sun: 0.6, sun_at: 0.1, lamps: 0.0, infrared: 0.0, flakes: 0.0, snow: 0.0 };
    pub(crate) const NIGHT: Self =
        Self { ambient: 0.004, sun: 0.0, sun_at: 1.0, lamps: 1.0, infrared: 0.0, flakes: 0.0, snow: 0.0 };
}

/// What is done to the camera.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tamper {
    /// How far it is turned, in pixels.
    pub(crate) turned: (i32, i32),
    /// How far it is rolled about the middle of its picture, in degrees.
    pub(crate) rolled: f32,
    /// Radius of the blur in pixels, applied three times: nearly a Gaussian.
    pub(crate) blur: usize,
    /// The luma of a cloth over the lens.
    pub(crate) cloth: Option<f32>,
    /// A black picture, whatever the light.
    pub(crate) black: bool,
    /// The signal's strength; the exposure does not make up for it.
    pub(crate) signal: f32,
}

impl Tamper {
    pub(crate) const NONE: Self =
        Self { turned: (0, 0), rolled: 0.0, blur: 0, cloth: None, black: false, signal: 1.0 };
}

/// A moving or standing thing: a textured box, with headlights at night.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thing {
    /// Left, top, right, bottom in pixels.
    pub(crate) place: [f32; 4],
    pub(crate) albedo: f32,
    /// How strongly its headlights shine into the lens; 0 for none.
    pub(crate) headlights: f32,
}

pub(crate) struct Camera {
    albedo: Vec<f32>,
    infrared: Vec<f32>,
    /// The sky has its own light.
    sky: Vec<bool>,
    lamps: Vec<f32>,
    dice: fastrand::Rng,
    /// Normal numbers, of which each row takes a stretch.
    noise: Vec<f32>,
    exposure: f32,
    since_step: f32,
    /// The share of the sun that reaches each place, and for which sun.
    sunny: Vec<f32>,
    sunny_at: f32,
    light: Vec<f32>,
    scratch: Vec<f32>,
    pub(crate) picture: Vec<u8>,
}

impl Camera {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let pixels = WORLD_WIDTH * WORLD_HEIGHT;
        let mut camera = Self {
            albedo: vec![0.0; pixels],
            infrared: vec![0.0; pixels],
            sky: vec![false; pixels],
            lamps: vec![0.0; pixels],
            dice: fastrand::Rng::with_seed(seed ^ 77),
            noise: Vec::new(),
            exposure: 1.0,
            since_step: 0.0,
            sunny: vec![0.0; pixels],
            sunny_at: f32::NAN,
            light: vec![0.0; WIDTH * HEIGHT],
            scratch: vec![0.0; WIDTH * HEIGHT],
            picture: vec![0; WIDTH * HEIGHT],
        };
        camera.build(&mut dice);
        let normal = |_| (0..12).map(|_| dice.f32()).sum::<f32>() - 6.0;
        camera.noise = (0..40_000).map(normal).collect();
        camera
    }

    /// Sky, houses with windows, trees, a pavement and a road with markings.
    fn build(&mut self, dice: &mut fastrand::Rng) {
        let (roofs, kerb) = (WORLD_HEIGHT * 3 / 10, WORLD_HEIGHT * 58 / 100);
        let mut paint = |x0: usize, y0: usize, x1: usize, y1: usize, albedo: f32, infrared: f32, sky: bool| {
            for y in y0..y1.min(WORLD_HEIGHT) {
                for x in x0..x1.min(WORLD_WIDTH) {
                    let at = y * WORLD_WIDTH + x;
                    (self.albedo[at], self.infrared[at], self.sky[at]) = (albedo, infrared, sky);
                }
            }
        };
        paint(0, 0, WORLD_WIDTH, roofs, 0.8, 0.02, true);
        paint(0, roofs, WORLD_WIDTH, kerb, 0.3, 0.3, false);
        paint(0, kerb, WORLD_WIDTH, WORLD_HEIGHT, 0.22, 0.2, false);
        let mut x = 0;
        while x < WORLD_WIDTH {
            let (wide, roof) = (30 + dice.usize(..30), roofs - dice.usize(..30));
            let wall = 0.25 + 0.5 * dice.f32();
            paint(x, roof, x + wide, kerb, wall, 0.2 + 0.5 * dice.f32(), false);
            let (step_x, step_y) = (8 + dice.usize(..5), 10 + dice.usize(..5));
            for y in (roof + 4..kerb - 8).step_by(step_y) {
                for x in (x + 3..x + wide - 5).step_by(step_x) {
                    paint(x, y, x + 4, y + 6, 0.08 + 0.1 * dice.f32(), 0.1, false);
                }
            }
            x += wide + dice.usize(..8);
        }
        for _ in 0..14 {
            let (cx, cy) = (dice.usize(..WORLD_WIDTH - 30), roofs + dice.usize(..WORLD_HEIGHT / 5));
            for _ in 0..120 {
                let (x, y) = (cx + dice.usize(..24), cy + dice.usize(..26));
                paint(x, y, x + 3, y + 2, 0.08 + 0.2 * dice.f32(), 0.5 + 0.4 * dice.f32(), false);
            }
        }
        paint(0, kerb, WORLD_WIDTH, kerb + 3, 0.55, 0.5, false);
        for x in (0..WORLD_WIDTH).step_by(22) {
            paint(x, WORLD_HEIGHT * 3 / 4, x + 12, WORLD_HEIGHT * 3 / 4 + 3, 0.8, 0.7, false);
        }
        for _ in 0..60 {
            let (x, y) = (dice.usize(..WORLD_WIDTH), kerb + 4 + dice.usize(..WORLD_HEIGHT - kerb - 8));
            let (w, h) = (2 + dice.usize(..12), 1 + dice.usize(..4));
            let albedo = 0.12 + 0.25 * dice.f32();
            paint(x, y, x + w, y + h, albedo, albedo, false);
        }
        for lamp in 0..8 {
            let (cx, cy) = (20.0 + 62.0 * lamp as f32, roofs as f32 + 6.0);
            for (at, value) in self.lamps.iter_mut().enumerate() {
                let (dx, dy) = ((at % WORLD_WIDTH) as f32 - cx, (at / WORLD_WIDTH) as f32 - cy);
                let below = dy.max(0.0);
                *value += 0.10 / (1.0 + (dx * dx + (below - 40.0).powi(2)) / 500.0);
                if dx.abs() < 1.5 && dy.abs() < 1.5 {
                    *value += 4.0;
                }
            }
        }
    }

    /// The picture `passed` seconds after the last one, into [`Camera::picture`].
    pub(crate) fn take(&mut self, passed: f32, light: &Light, things: &[Thing], tamper: &Tamper) {
        let (x0, y0) = (WIDTH as i32 + tamper.turned.0, HEIGHT as i32 / 2 + tamper.turned.1);
        // The sun's shadows move a pixel in a minute or so.
        let sun_at = (light.sun_at * 2000.0).round() / 2000.0;
        if sun_at != self.sunny_at {
            self.sunny_at = sun_at;
            self.move_shadows();
        }
        let (sine, cosine) = tamper.rolled.to_radians().sin_cos();
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let (from_x, from_y) = (x as f32 - WIDTH as f32 / 2.0, y as f32 - HEIGHT as f32 / 2.0);
                let roll_x = (from_x * (cosine - 1.0) - from_y * sine).round() as i32;
                let roll_y = (from_x * sine + from_y * (cosine - 1.0)).round() as i32;
                let (wx, wy) = ((x0 + x as i32 + roll_x) as usize, (y0 + y as i32 + roll_y) as usize);
                let at = wy * WORLD_WIDTH + wx;
                self.light[y * WIDTH + x] = self.radiance(at, wy, x, y, light);
            }
        }
        for thing in things {
            self.draw(thing, light);
        }
        let mean = self.light.iter().map(|light| (200.0 * self.exposure * light).min(255.0)).sum::<f32>()
            / (WIDTH * HEIGHT) as f32;
        for _ in 0..3 {
            self.blur(tamper.blur);
        }
        self.since_step += passed;
        let gain = 200.0 * self.exposure * tamper.signal;
        let noise = 0.8 + 0.5 * self.exposure.min(12.0).sqrt();
        for (y, row) in self.picture.chunks_exact_mut(WIDTH).enumerate() {
            let dice = &self.noise[self.dice.usize(..self.noise.len() - WIDTH)..];
            let light = &self.light[y * WIDTH..];
            for (x, out) in row.iter_mut().enumerate() {
                let seen = match tamper.cloth {
                    Some(cloth) => cloth + 6.0 * x as f32 / WIDTH as f32,
                    None if tamper.black => -100.0,
                    None => gain * light[x],
                };
                let luma = seen + noise * dice[x];
                *out = (16.0 + luma * 219.0 / 255.0).clamp(16.0, 235.0) as u8;
            }
        }
        // Exposure in steps of a quarter, at most one in two seconds.
        if self.since_step >= 2.0 && !(AIM / 1.4..AIM * 1.4).contains(&mean) {
            self.exposure *= if mean < AIM { 1.25 } else { 0.8 };
            self.exposure = self.exposure.clamp(0.1, 40.0);
            self.since_step = 0.0;
        }
    }

    /// Shadows of the houses: bands that lean with the sun.
    fn move_shadows(&mut self) {
        for (at, sunny) in self.sunny.iter_mut().enumerate() {
            let (x, y) = ((at % WORLD_WIDTH) as f32, (at / WORLD_WIDTH) as f32);
            let lean = self.sunny_at * (y - 40.0);
            *sunny = if ((x - lean) / 46.0).sin() > 0.35 { 0.0 } else { 1.0 };
        }
    }

    fn radiance(&mut self, at: usize, wy: usize, x: usize, y: usize, light: &Light) -> f32 {
        if light.flakes > 0.0 && self.dice.f32() < light.flakes {
            return 0.5 * light.ambient + 0.3 * light.sun + 0.02 + 0.3 * light.infrared;
        }
        let daylight = light.ambient + light.sun;
        if self.sky[at] {
            return 0.8 * daylight + 0.002 + light.lamps * self.lamps[at] + 0.01 * light.infrared;
        }
        let day = 1.0 - light.infrared;
        let mut albedo = self.albedo[at] * day + self.infrared[at] * light.infrared;
        if wy > WORLD_HEIGHT * 58 / 100 {
            albedo += light.snow * (0.8 - albedo) * 0.9;
        }
        let own = if light.infrared > 0.0 {
            let (dx, dy) = (x as f32 / WIDTH as f32 - 0.5, y as f32 / HEIGHT as f32 - 0.5);
            light.infrared * 0.35 / (1.0 + 6.0 * (dx * dx + dy * dy))
        } else {
            0.0
        };
        albedo * (light.ambient + light.sun * self.sunny[at] + 1.5 * light.lamps * self.lamps[at] + own)
            + light.lamps * (self.lamps[at] - 1.0).max(0.0)
    }

    fn draw(&mut self, thing: &Thing, light: &Light) {
        let [left, top, right, bottom] = thing.place;
        let lit = light.ambient + 0.7 * light.sun + 0.06 * light.lamps + 0.2 * light.infrared;
        let (x1, y1) = (right.clamp(0.0, WIDTH as f32) as usize, bottom.clamp(0.0, HEIGHT as f32) as usize);
        for y in top.max(0.0) as usize..y1 {
            for x in left.max(0.0) as usize..x1 {
                let (u, v) = ((x as f32 - left) / (right - left), (y as f32 - top) / (bottom - top));
                let window = (0.15..0.45).contains(&v) && (u * 6.0).fract() > 0.2;
                let albedo = if window { 0.1 } else { thing.albedo };
                self.light[y * WIDTH + x] = albedo * lit;
            }
        }
        if thing.headlights > 0.0 {
            let (cx, cy) = ((left + right) / 2.0, bottom - 3.0);
            for (at, light) in self.light.iter_mut().enumerate() {
                let (dx, dy) = ((at % WIDTH) as f32 - cx, (at / WIDTH) as f32 - cy);
                *light += thing.headlights / (1.0 + (dx * dx + dy * dy) / 6.0);
            }
        }
    }

    fn blur(&mut self, radius: usize) {
        if radius == 0 {
            return;
        }
        let clamp = |at: i64, most: usize| at.clamp(0, most as i64 - 1) as usize;
        let reach = radius as i64;
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let row = (-reach..=reach).map(|d| self.light[y * WIDTH + clamp(x as i64 + d, WIDTH)]);
                self.scratch[y * WIDTH + x] = row.sum::<f32>() / (2 * radius + 1) as f32;
            }
        }
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let column = (-reach..=reach).map(|d| self.scratch[clamp(y as i64 + d, HEIGHT) * WIDTH + x]);
                self.light[y * WIDTH + x] = column.sum::<f32>() / (2 * radius + 1) as f32;
            }
        }
    }
}
