//! What a latent space is like: how many dimensions are in use, how far it is from its prior, whether neighbours stay
//! neighbours, whether its dimensions say different things.

mod axes;
mod disentanglement;
mod divergence;
mod rank;
mod smoothness;

pub use axes::{PrincipalAxes, principal_axes};
pub use disentanglement::{Disentanglement, TotalCorrelation, mutual_information_gap, total_correlation};
pub use divergence::{
    KlToStandard, MomentKl, active_units, diagonal_gaussian_kl, kl_to_standard_normal, moment_kl_to_standard_normal,
};
pub use rank::{Spectrum, effective_rank_of_data, spectrum};
pub use smoothness::{Smoothness, smoothness};
