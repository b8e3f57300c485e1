//! Programs that would touch a wrong byte, or make a wrong number, are refused with the reason.

use std::sync::Arc;

use crate::int8::kernels::{Kernels, Program};
use crate::int8::steps::{
    Activation, Convolution, Depthwise, Dequantise, Finish, MaxPool, Operand, Output, Place, Resampling, Step,
    Sum, Surround, Table, Taps, Window,
};

/// 4 by 4 pixels of 8 channels with one pixel around them take this many bytes.
const TENSOR: usize = 6 * 6 * 8;
const ARENA: usize = 2 * TENSOR;

fn place(start: usize) -> Place {
    Place { offset: start + 48 + 8, row: 48, pixel: 8, height: 4, width: 4, channels: 8, halo: 1 }
}

fn window() -> Window {
    Window { size: [3; 2], stride: [1; 2], dilation: [1; 2], padding: [1; 2] }
}

fn finish() -> Finish {
    Finish {
        bias: vec![0; 8].into(),
        scale: vec![0.5; 8].into(),
        activation: Activation::LeakyRelu { slope: 0.1 },
        output: Output::Bytes { place: place(TENSOR), rescale: 1.0, zero: 3 },
    }
}

fn convolution() -> Convolution {
    let weights = Arc::new(Kernels::best().pack(&[1; 8 * 8 * 9], 8, 8, [3; 2]));
    Convolution { input: place(0), window: window(), weights, finish: finish() }
}

fn depthwise() -> Depthwise {
    Depthwise { input: place(0), window: window(), weights: vec![1; 8 * 9].into(), finish: finish() }
}

fn max_pool() -> MaxPool {
    MaxPool { input: place(0), window: window(), output: place(TENSOR), zero: 3 }
}

fn sum() -> Sum {
    let taps = vec![Taps { at: [0, 3], weights: [0.5; 2] }; 4];
    let resampling = Some(Arc::new(Resampling { rows: taps.clone(), columns: taps }));
    let operand = Operand { input: place(0), ratio: 1.0, zero: 3.0, resampling };
    Sum { operands: vec![operand], activation: Activation::None, output: place(TENSOR), zero: 3 }
}

fn table() -> Table {
    Table { input: place(0), table: Arc::new([0; 256]), output: place(TENSOR), zero: 3 }
}

fn dequantise() -> Dequantise {
    Dequantise { input: place(0), table: Arc::new([0.0; 256]), offset: 4 * TENSOR }
}

fn floats(offset: usize, channels: usize) -> Output {
    Output::Floats { offset, height: 4, width: 4, channels }
}

/// What `Program::new` says to the step, in an arena just large enough for the step as it was before it was changed.
fn refusal(step: Step) -> Option<String> {
    let arena = match step {
        Step::Dequantise(_) => 4 * TENSOR + 4 * 4 * 8 * 4,
        _ => ARENA,
    };
    refusal_in(arena, step)
}

fn refusal_in(arena: usize, step: Step) -> Option<String> {
    Program::new(Kernels::best(), vec![step], arena).err()
}

/// The step with a change, and a word of the reason for which it is refused.
fn check<T>(step: T, wrap: fn(T) -> Step, change: fn(&mut T), word: &str) {
    let mut step = step;
    change(&mut step);
    let step = wrap(step);
    let problem = refusal(step.clone()).unwrap_or_else(|| panic!("not refused for {word}: {step:?}"));
    assert!(problem.starts_with("step 0 (") && problem.contains(word), "{word}: {problem}");
}

fn output(finish: &mut Finish) -> &mut Place {
    match &mut finish.output {
        Output::Bytes { place, .. } => place,
        Output::Floats { .. } => unreachable!("these cases have bytes"),
    }
}

#[test]
fn whole_steps_pass() {
    let steps = [
        Step::Surround(Surround { tensor: place(0), zero: 3 }),
        Step::Convolution(convolution()),
        Step::Depthwise(depthwise()),
        Step::MaxPool(max_pool()),
        Step::Sum(sum()),
        Step::Table(table()),
        Step::Table(Table { output: place(0), ..table() }),
        Step::Dequantise(dequantise()),
    ];
    for step in steps {
        assert_eq!(refusal(step), None);
    }
}

#[test]
fn places_that_leave_the_arena_or_overlap_themselves() {
    let surround = || Surround { tensor: place(TENSOR), zero: 3 };
    let check = |change, word| check(surround(), Step::Surround, change, word);
    check(|step| step.tensor.offset += 1, "takes bytes");
    check(|step| step.tensor.offset = 55, "takes bytes");
    check(|step| step.tensor.height += 1, "takes bytes");
    check(|step| step.tensor.width += 1, "rows overlap");
    check(|step| step.tensor.channels = 9, "overlap its next");
    check(|step| step.tensor.channels = 0, "empty");
    check(|step| step.tensor.pixel = 9, "multiple of 4");
    check(|step| step.tensor.pixel = 12, "rows overlap");
    check(|step| step.tensor.row = 44, "rows overlap");
    check(|step| step.tensor.halo = 2, "rows overlap");
    check(|step| (step.tensor.halo, step.tensor.row) = (2, 64), "takes bytes");
    check(|step| step.tensor.row = usize::MAX, "too large");
    check(|step| step.tensor.offset = usize::MAX - 8, "too large");
}

#[test]
fn convolutions() {
    let check = |change, word| check(convolution(), Step::Convolution, change, word);
    check(|step| step.weights = Arc::new(Kernels::REFERENCE.pack(&[1; 8 * 8 * 9], 8, 8, [3; 2])), "packed for");
    check(|step| step.weights = Arc::new(Kernels::best().pack(&[1; 8 * 7 * 9], 8, 7, [3; 2])), "weights for");
    check(|step| step.weights = Arc::new(Kernels::best().pack(&[1; 8 * 8 * 6], 8, 8, [3, 2])), "weights for");
    check(|step| step.weights = Arc::new(Kernels::best().pack(&[1; 9 * 8 * 9], 9, 8, [3; 2])), "for 9 channels");
    check(|step| step.window.size[0] = 0, "weights for");
    check(|step| step.window.stride[1] = 0, "zero");
    check(|step| step.window.stride[1] = 2, "do not fit");
    check(|step| step.window.dilation[0] = 2, "reach");
    check(|step| step.window.dilation[0] = usize::MAX, "too large");
    check(|step| step.window.padding[0] = 2, "reach");
    check(|step| step.window.padding[0] = 3, "padding 3");
    check(|step| step.input.halo = 0, "reach");
    check(|step| step.input.height = 3, "reach");
    // The last channels of the last pixels are filled up from beyond the arena.
    check(
        |step| {
            step.weights = Arc::new(Kernels::best().pack(&[1; 8 * 5 * 9], 8, 5, [3; 2]));
            step.input = Place { channels: 5, offset: TENSOR + 48 + 8 + 3, ..step.input };
            *output(&mut step.finish) = place(0);
        },
        "input under the windows",
    );
    check(|step| step.finish.bias = vec![0; 7].into(), "7 biases");
    check(|step| step.finish.scale = vec![0.5; 16].into(), "16 scales");
    check(|step| step.finish.scale = vec![f32::NAN; 8].into(), "scale NaN");
    check(|step| step.finish.scale = vec![1e30; 8].into(), "scale 1");
    check(|step| step.finish.activation = Activation::LeakyRelu { slope: 1.5 }, "slope");
    check(|step| step.finish.activation = Activation::LeakyRelu { slope: -0.0 }, "slope");
    check(|step| step.finish.activation = Activation::Clamp { low: 1.0, high: 0.0 }, "wrong order");
    check(|step| step.finish.activation = Activation::Clamp { low: f32::NAN, high: 0.0 }, "bound");
    check(|step| output(&mut step.finish).channels = 7, "7 stored");
    check(|step| output(&mut step.finish).height = 2, "do not fit");
    check(|step| output(&mut step.finish).offset -= 1, "overlaps the input");
    check(|step| *output(&mut step.finish) = place(0), "overlaps the input");
    check(
        |step| step.finish.output = Output::Bytes { place: place(TENSOR), rescale: f32::INFINITY, zero: 3 },
        "rescale",
    );
    check(
        |step| step.finish.output = Output::Bytes { place: place(TENSOR), rescale: 0.0, zero: 3 },
        "not positive",
    );
    check(|step| step.finish.output = floats(TENSOR + 2, 8), "multiple of 4");
    check(|step| step.finish.output = floats(TENSOR, 8), "take bytes");
    check(|step| step.finish.output = floats(TENSOR, 2), "2 stored");
    check(|step| step.finish.output = floats(usize::MAX - 3, 8), "too large");
    check(
        |step| {
            step.weights = Arc::new(Kernels::best().pack(&[1; 8 * 9], 1, 8, [3; 2]));
            step.finish.bias = vec![0].into();
            step.finish.scale = vec![0.5].into();
            step.finish.output = floats(TENSOR - 4, 1);
        },
        "overlaps the input",
    );
}

/// Two slices of one buffer's channels: apart, and with a channel in common once filled up.
#[test]
fn interleaved_channels() {
    let slice = |first: usize, channels: usize| Place {
        offset: 6 * 16 + 16 + first,
        row: 6 * 16,
        pixel: 16,
        height: 4,
        width: 4,
        channels,
        halo: 1,
    };
    let step = |input: Place, output: Place| {
        let weights = vec![1; output.channels * input.channels * 9];
        Step::Convolution(Convolution {
            input,
            window: window(),
            weights: Arc::new(Kernels::best().pack(&weights, output.channels, input.channels, [3; 2])),
            finish: Finish {
                bias: vec![0; output.channels].into(),
                scale: vec![0.5; output.channels].into(),
                activation: Activation::None,
                output: Output::Bytes { place: output, rescale: 1.0, zero: 3 },
            },
        })
    };
    // Room for the channels that fill up the last pixel, and for longer rows.
    let arena = 6 * 6 * 16 + 64;
    assert_eq!(refusal_in(arena, step(slice(0, 8), slice(8, 8))), None);
    assert_eq!(refusal_in(arena, step(slice(8, 8), slice(0, 8))), None);
    assert_eq!(refusal_in(arena, step(slice(0, 5), slice(8, 3))), None);
    assert_eq!(refusal_in(arena, step(slice(0, 5), slice(9, 3))), None);
    for (input, output) in [
        (slice(0, 5), slice(7, 3)),
        (slice(0, 8), slice(4, 8)),
        (slice(4, 8), slice(0, 8)),
        // The other's channels of the pixel after.
        (slice(11, 5), slice(0, 4)),
        (slice(0, 8), Place { row: 6 * 16 + 4, ..slice(8, 8) }),
    ] {
        let problem = refusal_in(arena, step(input, output)).unwrap();
        assert!(problem.contains("overlaps"), "{problem}");
    }
}

#[test]
fn other_steps() {
    let depthwise = |change, word| check(depthwise(), Step::Depthwise, change, word);
    depthwise(|step| step.weights = vec![1; 71].into(), "71 weights");
    depthwise(|step| step.input.channels = 4, "72 weights");
    depthwise(|step| step.finish.bias = vec![0; 4].into(), "4 biases");
    depthwise(|step| step.input.halo = 0, "reach");
    depthwise(|step| *output(&mut step.finish) = place(0), "overlaps");

    let pool = |change, word| check(max_pool(), Step::MaxPool, change, word);
    pool(|step| step.input.channels = 4, "differ in channels");
    pool(|step| step.window.padding = [3, 1], "padding");
    pool(|step| step.window.stride = [0, 1], "zero");
    pool(|step| step.output = place(0), "overlaps");
    pool(|step| step.output.width = 2, "do not fit");
    pool(
        |step| {
            step.window = Window { size: [2; 2], dilation: [2; 2], ..window() };
            (step.input.height, step.output.height) = (1, 1);
        },
        "beside the input",
    );

    let sum = |change, word| check(sum(), Step::Sum, change, word);
    sum(|step| step.operands.clear(), "0 operands");
    sum(|step| step.operands = vec![step.operands[0].clone(); 3], "3 operands");
    sum(|step| step.operands[0].ratio = f32::NEG_INFINITY, "ratio");
    sum(|step| step.operands[0].zero = f32::NAN, "zero point");
    sum(|step| step.operands[0].input.height = 3, "rows [0, 3] of 3");
    sum(|step| step.operands[0].input.channels = 4, "differ in channels");
    sum(|step| step.output.height = 3, "rows to sample");
    sum(|step| step.output = place(0), "overlaps");
    sum(|step| (step.operands[0].resampling, step.operands[0].input.height) = (None, 3), "differ in size");

    let table = |change, word| check(table(), Step::Table, change, word);
    table(|step| step.input.height = 3, "differ in size");
    table(|step| step.output.offset = place(0).offset + 8, "overlaps");

    let dequantise = |change, word| check(dequantise(), Step::Dequantise, change, word);
    dequantise(|step| step.offset += 4, "take bytes");
    dequantise(|step| step.offset -= 2, "multiple of 4");
    dequantise(|step| step.offset = TENSOR - 4, "overlaps");
    dequantise(|step| step.table = Arc::new([f32::NAN; 256]), "not finite");
}
