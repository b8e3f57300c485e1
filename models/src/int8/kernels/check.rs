//! Whether a step may run: everything that the kernels take for granted.
//!
//! For every step: all bytes that it can read or write lie in the arena; pixels of a place do not overlap; what it
//! writes and what it reads are different bytes; sizes agree with windows; vectors are as long as they are used;
//! numbers are finite and small enough that no formula makes an infinity or a NaN. Not here: whether a step reads
//! what an earlier one wrote; bytes are bytes.

use super::Kernels;
use crate::int8::steps::{
    Activation, Convolution, Depthwise, Dequantise, Finish, LARGEST_FACTOR, MaxPool, Operand, Output, Place, Step,
    Sum, Surround, Table, Taps, Window,
};

/// A step's kind, for messages.
pub(super) fn name(step: &Step) -> &'static str {
    match step {
        Step::Surround(_) => "surround",
        Step::Convolution(_) => "convolution",
        Step::Depthwise(_) => "depthwise",
        Step::MaxPool(_) => "max pool",
        Step::Sum(_) => "sum",
        Step::Table(_) => "table",
        Step::Dequantise(_) => "dequantise",
    }
}

/// Says what is wrong with a step for these kernels and an arena of this many bytes.
pub(super) fn step(step: &Step, kernels: Kernels, arena: usize) -> Result<(), String> {
    let checker = Checker { arena: arena as i128 };
    match step {
        Step::Surround(Surround { tensor, .. }) => checker.place("tensor", tensor).map(|_| ()),
        Step::Convolution(step) => checker.convolution(step, kernels),
        Step::Depthwise(step) => checker.depthwise(step),
        Step::MaxPool(step) => checker.max_pool(step),
        Step::Sum(step) => checker.sum(step),
        Step::Table(step) => checker.table(step),
        Step::Dequantise(step) => checker.dequantise(step),
    }
}

/// Bytes that a step touches: of every pixel of a rectangle the same `channels`.
struct Touched {
    start: i128,
    end: i128,
    row: i128,
    pixel: i128,
    channels: i128,
}

impl Touched {
    /// Whether the two have no byte in common. Says no when it cannot tell.
    fn apart(&self, other: &Self) -> bool {
        if self.end <= other.start || other.end <= self.start {
            return true;
        }
        // Channels of the same pixels of one buffer: bytes are told apart by where in their pixel they lie.
        let pixel = self.pixel;
        let interleaved = (self.row, pixel) == (other.row, other.pixel) && self.row % pixel == 0;
        interleaved
            && (other.start - self.start).rem_euclid(pixel) >= self.channels
            && (self.start - other.start).rem_euclid(pixel) >= other.channels
    }
}

struct Checker {
    arena: i128,
}

impl Checker {
    /// A tensor with all that is around it.
    fn place(&self, what: &str, place: &Place) -> Result<Touched, String> {
        let &Place { offset, row, pixel, height, width, channels, halo } = place;
        bounded(&[offset, row, pixel, height, width, channels, halo])?;
        require(height > 0 && width > 0 && channels > 0, || format!("the {what} is empty"))?;
        require(pixel.is_multiple_of(4), || {
            format!("the {what}'s pixels are {pixel} bytes apart, not a multiple of 4")
        })?;
        require(pixel >= channels, || format!("the {what}'s {channels} channels overlap its next pixel's"))?;
        let needed = (width as i128 + 2 * halo as i128) * pixel as i128;
        require(row as i128 >= needed, || format!("the {what}'s rows overlap: {row} bytes apart, {needed} long"))?;
        let halo = halo as i128;
        let rows = [-halo, height as i128 - 1 + halo];
        let columns = [-halo, width as i128 - 1 + halo];
        self.touched(what, place, rows, columns, channels)
    }

    /// The first `channels` of the pixels from the first to the last row and column.
    fn touched(
        &self,
        what: &str,
        place: &Place,
        rows: [i128; 2],
        columns: [i128; 2],
        channels: usize,
    ) -> Result<Touched, String> {
        let (row, pixel, channels) = (place.row as i128, place.pixel as i128, channels as i128);
        let at = |y: i128, x: i128| place.offset as i128 + y * row + x * pixel;
        let (start, end) = (at(rows[0], columns[0]), at(rows[1], columns[1]) + channels);
        require(start >= 0 && end <= self.arena, || {
            format!("the {what} takes bytes {start}..{end} of an arena of {}", self.arena)
        })?;
        Ok(Touched { start, end, row, pixel, channels })
    }

    /// What the windows of an output of this size read, `channels` of each pixel.
    fn windows(
        &self,
        input: &Place,
        window: &Window,
        output: [usize; 2],
        channels: usize,
    ) -> Result<Touched, String> {
        let mut reach = [[0; 2]; 2];
        for (axis, size) in [input.height, input.width].into_iter().enumerate() {
            reach[axis] = reached(window, axis, size, output[axis])?;
            let [first, last] = reach[axis];
            let halo = input.halo as i128;
            require(first >= -halo && last < size as i128 + halo, || {
                format!("windows reach from {first} to {last} over {size} pixels with {halo} around them")
            })?;
        }
        self.touched("input under the windows", input, reach[0], reach[1], channels)
    }

    fn floats(&self, offset: usize, size: [usize; 3]) -> Result<Touched, String> {
        bounded(&[offset, size[0], size[1], size[2]])?;
        require(offset.is_multiple_of(4), || format!("floats begin at {offset}, not at a multiple of 4"))?;
        let count: i128 = size.into_iter().map(|length| length as i128).product();
        let (start, end) = (offset as i128, offset as i128 + count * 4);
        require(size.iter().all(|length| *length > 0) && end <= self.arena, || {
            format!("the floats take bytes {start}..{end} of an arena of {}", self.arena)
        })?;
        // As one pixel: apart from others only as a whole.
        Ok(Touched { start, end, row: end - start, pixel: end - start, channels: end - start })
    }

    fn convolution(&self, step: &Convolution, kernels: Kernels) -> Result<(), String> {
        let Convolution { input, window, weights, finish } = step;
        require(weights.kernels() == kernels, || {
            format!("weights packed for {}, not {}", weights.kernels().name(), kernels.name())
        })?;
        require(weights.in_channels() == input.channels && weights.window() == window.size, || {
            let (channels, size) = (weights.in_channels(), weights.window());
            format!("weights for {channels} channels and a window of {size:?} on {input:?}, {:?}", window.size)
        })?;
        self.place("input", input)?;
        let filled = input.channels.next_multiple_of(4);
        let read = self.windows(input, window, size(finish), filled)?;
        self.finish(finish, weights.out_channels(), &read)
    }

    fn depthwise(&self, step: &Depthwise) -> Result<(), String> {
        let Depthwise { input, window, weights, finish } = step;
        self.place("input", input)?;
        let read = self.windows(input, window, size(finish), input.channels)?;
        let count = window.size[0].checked_mul(window.size[1]).and_then(|n| n.checked_mul(input.channels));
        require(count == Some(weights.len()), || format!("{} weights for {:?}", weights.len(), window.size))?;
        self.finish(finish, input.channels, &read)
    }

    fn finish(&self, finish: &Finish, channels: usize, read: &Touched) -> Result<(), String> {
        let Finish { bias, scale, activation, output } = finish;
        require(bias.len() == channels && scale.len() == channels, || {
            format!("{} biases and {} scales for {channels} channels", bias.len(), scale.len())
        })?;
        scale.iter().try_for_each(|scale| factor("scale", *scale))?;
        check_activation(*activation)?;
        let (written, stored) = match output {
            Output::Bytes { place, rescale, .. } => {
                factor("rescale", *rescale)?;
                require(*rescale > 0.0, || format!("rescale {rescale} is not positive"))?;
                (self.place("output", place)?, place.channels)
            }
            Output::Floats { offset, height, width, channels } => {
                (self.floats(*offset, [*height, *width, *channels])?, *channels)
            }
        };
        require(stored == channels, || format!("{channels} channels are made, {stored} stored"))?;
        require(written.apart(read), || "the output overlaps the input".to_owned())
    }

    fn max_pool(&self, step: &MaxPool) -> Result<(), String> {
        let MaxPool { input, window, output, .. } = step;
        let read = self.place("input", input)?;
        let written = self.place("output", output)?;
        require(input.channels == output.channels, || "input and output differ in channels".to_owned())?;
        for (axis, [size, out]) in [[input.height, output.height], [input.width, output.width]].iter().enumerate()
        {
            reached(window, axis, *size, *out)?;
            let [k, stride, dilation, padding] =
                [window.size, window.stride, window.dilation, window.padding].map(|of| of[axis] as i128);
            for at in 0..*out as i128 {
                let first = at * stride - padding;
                let on = (0..k).any(|place| (0..*size as i128).contains(&(first + place * dilation)));
                require(on, || format!("window {at} of axis {axis} lies beside the input"))?;
            }
        }
        require(written.apart(&read), || "the output overlaps the input".to_owned())
    }

    fn sum(&self, step: &Sum) -> Result<(), String> {
        let Sum { operands, activation, output, .. } = step;
        require((1..=2).contains(&operands.len()), || format!("{} operands", operands.len()))?;
        check_activation(*activation)?;
        let written = self.place("output", output)?;
        for Operand { input, ratio, zero, resampling } in operands {
            let read = self.place("operand", input)?;
            require(written.apart(&read), || "the output overlaps an operand".to_owned())?;
            require(input.channels == output.channels, || "operand and output differ in channels".to_owned())?;
            factor("ratio", *ratio)?;
            factor("zero point", *zero)?;
            match resampling {
                None => require((input.height, input.width) == (output.height, output.width), || {
                    "operand and output differ in size".to_owned()
                })?,
                Some(resampling) => {
                    taps("rows", &resampling.rows, output.height, input.height)?;
                    taps("columns", &resampling.columns, output.width, input.width)?;
                }
            }
        }
        Ok(())
    }

    fn table(&self, step: &Table) -> Result<(), String> {
        let Table { input, output, .. } = step;
        let (read, written) = (self.place("input", input)?, self.place("output", output)?);
        let shape = |place: &Place| [place.height, place.width, place.channels];
        require(shape(input) == shape(output), || "input and output differ in size".to_owned())?;
        require(input == output || written.apart(&read), || "the output overlaps the input".to_owned())
    }

    fn dequantise(&self, step: &Dequantise) -> Result<(), String> {
        let Dequantise { input, table, offset } = step;
        let read = self.place("input", input)?;
        let written = self.floats(*offset, [input.height, input.width, input.channels])?;
        require(table.iter().all(|value| value.is_finite()), || "the table is not finite".to_owned())?;
        require(written.apart(&read), || "the output overlaps the input".to_owned())
    }
}

fn size(finish: &Finish) -> [usize; 2] {
    match finish.output {
        Output::Bytes { place, .. } => [place.height, place.width],
        Output::Floats { height, width, .. } => [height, width],
    }
}

/// The first and last pixel under `output` windows along an axis of `size` pixels.
fn reached(window: &Window, axis: usize, size: usize, output: usize) -> Result<[i128; 2], String> {
    let of_axis = [window.size, window.stride, window.dilation, window.padding].map(|of| of[axis]);
    bounded(&of_axis)?;
    bounded(&[size, output])?;
    let [k, stride, dilation, padding] = of_axis.map(|number| number as i128);
    require(k > 0 && stride > 0 && dilation > 0 && output > 0, || format!("{window:?} has a zero"))?;
    let wide = (k - 1) * dilation + 1;
    require(padding < wide, || format!("padding {padding} for windows of {wide} pixels"))?;
    let last = (output as i128 - 1) * stride - padding + wide - 1;
    // The last window begins on the input; and there is no room for one more that ends on it.
    let begins = last - (wide - 1);
    require(begins < size as i128 && last + stride >= size as i128, || {
        format!("{output} windows along axis {axis} do not fit {size} pixels")
    })?;
    Ok([-padding, last])
}

/// Below this, no product of the checks overflows.
fn bounded(numbers: &[usize]) -> Result<(), String> {
    let largest = i32::MAX as usize;
    require(numbers.iter().all(|number| *number <= largest), || format!("a number of {numbers:?} is too large"))
}

fn taps(what: &str, taps: &[Taps], output: usize, input: usize) -> Result<(), String> {
    require(taps.len() == output, || format!("{} {what} to sample for {output}", taps.len()))?;
    for Taps { at, weights } in taps {
        require(at.iter().all(|at| *at < input), || format!("{what} {at:?} of {input}"))?;
        weights.iter().try_for_each(|weight| factor("weight of a sample", *weight))?;
    }
    Ok(())
}

fn factor(what: &str, value: f32) -> Result<(), String> {
    // Written so that NaN does not pass.
    require(value.abs() <= LARGEST_FACTOR, || format!("{what} {value} is not a number between ±{LARGEST_FACTOR}"))
}

fn check_activation(activation: Activation) -> Result<(), String> {
    match activation {
        Activation::LeakyRelu { slope } => {
            require(slope.is_sign_positive() && slope <= 1.0, || format!("slope {slope} is not between 0 and 1"))
        }
        Activation::Clamp { low, high } => {
            factor("bound", low)?;
            factor("bound", high)?;
            require(low <= high, || format!("bounds {low} and {high} are in the wrong order"))
        }
        Activation::None | Activation::HardSwish | Activation::Sigmoid | Activation::Silu => Ok(()),
    }
}

fn require(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}
