//! Training of the world model and of the LSTM baseline.
