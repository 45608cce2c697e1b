//! Entry points for the fuzz targets and the seeded property tests. Not an API.
