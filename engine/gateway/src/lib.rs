//! The order table and the venue sessions; in this step the paper venue.
