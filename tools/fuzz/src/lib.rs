//! Every parser's fuzz body as a bounded run on the stable toolchain.
