//! What people read: tables, a self-contained HTML page and JSON from histograms and logs.
