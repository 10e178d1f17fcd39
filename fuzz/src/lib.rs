//! Fuzz targets for everything that reads bytes of clients; `./run` builds and runs them.

pub mod properties;
