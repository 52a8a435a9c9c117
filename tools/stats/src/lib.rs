//! Statistics and latent diagnostics.
