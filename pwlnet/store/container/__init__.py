"""The checksummed container around an HDF5 file."""
