//! The named sizes, and the same numbers as compile-time constants for the kernel.

use serde::{Deserialize, Serialize};

use crate::format::{F32, Format, Plan};
use crate::simd::LANE_COUNT;

/// A named size: widths of the observation (D), its encoding (E), the deterministic state (H) and the stochastic (Z).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// D16 E16 H32 Z8.
    Nano,
    /// D32 E32 H64 Z16, the default.
    Micro,
    /// D32 E64 H128 Z32.
    Small,
    /// D64 E128 H256 Z32.
    Medium,
}

impl Size {
    /// All sizes, smallest first.
    pub const ALL: [Self; 4] = [Self::Nano, Self::Micro, Self::Small, Self::Medium];

    /// Width of the observation: how many features `observe` takes.
    #[must_use]
    pub const fn d(self) -> usize {
        match self {
            Self::Nano => Nano::D,
            Self::Micro => Micro::D,
            Self::Small => Small::D,
            Self::Medium => Medium::D,
        }
    }

    /// Width of the encoding.
    #[must_use]
    pub const fn e(self) -> usize {
        match self {
            Self::Nano => Nano::E,
            Self::Micro => Micro::E,
            Self::Small => Small::E,
            Self::Medium => Medium::E,
        }
    }

    /// Width of the deterministic state.
    #[must_use]
    pub const fn h(self) -> usize {
        match self {
            Self::Nano => Nano::H,
            Self::Micro => Micro::H,
            Self::Small => Small::H,
            Self::Medium => Medium::H,
        }
    }

    /// Width of the stochastic state.
    #[must_use]
    pub const fn z(self) -> usize {
        match self {
            Self::Nano => Nano::Z,
            Self::Micro => Micro::Z,
            Self::Small => Small::Z,
            Self::Medium => Medium::Z,
        }
    }

    /// The name in configuration and model files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nano => "nano",
            Self::Micro => "micro",
            Self::Small => "small",
            Self::Medium => "medium",
        }
    }
}

/// Blocks of sixteen that hold `width` floats.
pub(crate) const fn blocks(width: usize) -> usize {
    width.div_ceil(LANE_COUNT)
}

/// A size as constants, so that the kernel's loops have fixed lengths. `*B` count blocks of sixteen.
pub(crate) trait Shape {
    const D: usize;
    const E: usize;
    const H: usize;
    const Z: usize;
    const DB: usize = blocks(Self::D);
    const EB: usize = blocks(Self::E);
    const HB: usize = blocks(Self::H);
    const ZB: usize = blocks(Self::Z);
}

pub(crate) struct Nano;
pub(crate) struct Micro;
pub(crate) struct Small;
pub(crate) struct Medium;

impl Shape for Nano {
    const D: usize = 16;
    const E: usize = 16;
    const H: usize = 32;
    const Z: usize = 8;
}

impl Shape for Micro {
    const D: usize = 32;
    const E: usize = 32;
    const H: usize = 64;
    const Z: usize = 16;
}

impl Shape for Small {
    const D: usize = 32;
    const E: usize = 64;
    const H: usize = 128;
    const Z: usize = 32;
}

impl Shape for Medium {
    const D: usize = 64;
    const E: usize = 128;
    const H: usize = 256;
    const Z: usize = 32;
}

/// Widest encoding and widest observation, in blocks: the scratch of one step.
pub(crate) const EB_MAX: usize = Medium::EB;
pub(crate) const DB_MAX: usize = Medium::DB;
pub(crate) const ZB_MAX: usize = Medium::ZB;
pub(crate) const HB_MAX: usize = Medium::HB;

/// The controller's own inputs: position, half-spread, fee.
pub(crate) const POSITION_WIDTH: usize = 3;

/// Lines of a matrix of these many blocks.
pub(crate) const fn matrix_blocks<F: Format>(output_blocks: usize, input_blocks: usize) -> usize {
    output_blocks * (F::HEAD_LINES + input_blocks * (LANE_COUNT / F::INPUTS_PER_LINE))
}

/// Blocks that `observe` reads, for widths in blocks.
pub(crate) const fn observe_blocks<P: Plan>(db: usize, eb: usize, zb: usize) -> usize {
    let encoder = matrix_blocks::<P::Fine>(eb, db) + matrix_blocks::<P::Fine>(eb, eb);
    2 * db + 2 * eb + encoder + matrix_blocks::<P::Fine>(2 * zb, eb) + head_blocks(zb)
}

/// Blocks of the heads and the controller at the end of what `observe` reads.
pub(crate) const fn head_blocks(zb: usize) -> usize {
    matrix_blocks::<F32>(2, zb) + POSITION_WIDTH + 2
}

/// Blocks that `advance` reads, for widths in blocks.
pub(crate) const fn advance_blocks<P: Plan>(hb: usize, zb: usize) -> usize {
    let products = 4 * zb + matrix_blocks::<P::Fine>(4 * zb, hb) + 2 + matrix_blocks::<F32>(2, hb);
    hb * gru_blocks::<P>(hb, zb) + products
}

/// Blocks of one hidden block of the GRU: four biases, then the rows of z and of h, three gates wide.
pub(crate) const fn gru_blocks<P: Plan>(hb: usize, zb: usize) -> usize {
    4 + matrix_blocks::<P::Fine>(3, zb) + matrix_blocks::<P::Recurrent>(3, hb)
}

/// Blocks of one latent of a shape with `hb` and `zb` blocks of h and z.
pub(crate) const fn latent_blocks(hb: usize, zb: usize) -> usize {
    hb + 7 * zb + 2
}
