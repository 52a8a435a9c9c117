//! The latent-dynamics kernel of the world model: scalar, AVX2 and AVX-512, bit-identical, and the model file.
