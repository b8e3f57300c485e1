//! A convolution's weights in the order in which the kernels read them.
//!
//! Output channels go in groups of 16, the channels that are missing in the last group having zero weights. The
//! products of one output channel are counted in the order window row, window column, input channel, where the
//! input's channels are filled up to a multiple of 4 with zero weights: four products, a *quad*, are what one 32-bit
//! part of a register holds. The bytes that meet those zero weights may be anything.

use std::fmt;

use super::{Isa, Kernels};

/// Output channels of a group.
pub(super) const GROUP: usize = 16;

/// A quad's weights for each channel of a group: `[channel][4]`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Quads(pub(super) [[i8; 4]; GROUP]);

/// The same, widened: for each channel products 0 and 2 of the quad, then for each channel products 1 and 3.
/// Out of four bytes in a register, a mask leaves the former pair and a shift the latter.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Pairs {
    pub(super) even: [[i16; 2]; GROUP],
    pub(super) odd: [[i16; 2]; GROUP],
}

/// What differs between the kernels.
pub(super) enum Layout {
    /// As given: `[output channel][input channel][window row][window column]`.
    Plain(Box<[i8]>),
    /// Blocks of up to `groups` groups, each `[quad][group of the block]`. Only the last block may be smaller.
    Quads { groups: usize, lines: Box<[Quads]> },
    /// `[group][quad]`.
    Pairs(Box<[Pairs]>),
}

/// Weights for one kind of kernels.
pub(crate) struct PackedWeights {
    kernels: Kernels,
    out_channels: usize,
    in_channels: usize,
    window: [usize; 2],
    layout: Layout,
}

impl PackedWeights {
    pub(super) fn new(
        kernels: Kernels,
        weights: &[i8],
        out_channels: usize,
        in_channels: usize,
        window: [usize; 2],
    ) -> Self {
        let count = [in_channels, window[0], window[1]].into_iter().try_fold(out_channels, usize::checked_mul);
        assert_eq!(count, Some(weights.len()), "one weight for each pair of channels and place in the window");
        let source = Source { weights, out_channels, in_channels, window };
        let layout = match kernels.0 {
            Isa::Reference => Layout::Plain(weights.into()),
            Isa::Avx512Vnni => source.quads(2),
            Isa::AvxVnni => source.quads(1),
            Isa::Avx2 | Isa::Portable => source.pairs(),
        };
        Self { kernels, out_channels, in_channels, window, layout }
    }

    /// The kernels that can read this.
    pub(crate) fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The number of output channels.
    pub(crate) fn out_channels(&self) -> usize {
        self.out_channels
    }

    /// The number of input channels, not filled up.
    pub(crate) fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// `[vertical, horizontal]`
    pub(crate) fn window(&self) -> [usize; 2] {
        self.window
    }

    /// The number of groups of output channels.
    pub(super) fn groups(&self) -> usize {
        self.out_channels.div_ceil(GROUP)
    }

    /// The number of quads of one output channel.
    pub(super) fn quads(&self) -> usize {
        self.window[0] * self.window[1] * self.in_channels.div_ceil(4)
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }
}

impl fmt::Debug for PackedWeights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernels, out_channels, in_channels, window, .. } = self;
        let kernels = kernels.name();
        write!(formatter, "PackedWeights({kernels}, {in_channels} to {out_channels} channels, {window:?})")
    }
}

struct Source<'a> {
    weights: &'a [i8],
    out_channels: usize,
    in_channels: usize,
    window: [usize; 2],
}

impl Source<'_> {
    /// One output channel's quads, in order; zeros for a channel that does not exist.
    fn channel(&self, out: usize) -> impl Iterator<Item = [i8; 4]> + '_ {
        let [height, width] = self.window;
        let quads = self.in_channels.div_ceil(4);
        (0..height * width).flat_map(move |place| {
            (0..quads).map(move |quad| {
                std::array::from_fn(|lane| {
                    let channel = quad * 4 + lane;
                    if out < self.out_channels && channel < self.in_channels {
                        self.weights[(out * self.in_channels + channel) * height * width + place]
                    } else {
                        0
                    }
                })
            })
        })
    }

    fn count(&self) -> (usize, usize) {
        let [height, width] = self.window;
        (self.out_channels.div_ceil(GROUP), height * width * self.in_channels.div_ceil(4))
    }

    fn quads(&self, block: usize) -> Layout {
        let (groups, quads) = self.count();
        let mut lines = vec![Quads([[0; 4]; GROUP]); groups * quads].into_boxed_slice();
        for out in 0..self.out_channels {
            let group = out / GROUP;
            let first = group / block * block;
            let wide = block.min(groups - first);
            for (quad, weights) in self.channel(out).enumerate() {
                lines[first * quads + quad * wide + (group - first)].0[out % GROUP] = weights;
            }
        }
        Layout::Quads { groups: block, lines }
    }

    fn pairs(&self) -> Layout {
        let (groups, quads) = self.count();
        let none = Pairs { even: [[0; 2]; GROUP], odd: [[0; 2]; GROUP] };
        let mut lines = vec![none; groups * quads].into_boxed_slice();
        for out in 0..self.out_channels {
            for (quad, [a, b, c, d]) in self.channel(out).enumerate() {
                let line = &mut lines[out / GROUP * quads + quad];
                line.even[out % GROUP] = [a.into(), c.into()];
                line.odd[out % GROUP] = [b.into(), d.into()];
            }
        }
        Layout::Pairs(lines)
    }
}
