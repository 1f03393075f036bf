"""The checksummed container around the HDF5 content of a store.

``layout`` has its bytes, ``checksummed_file`` reads it, ``transaction`` changes it atomically, and ``hdf5_superblock`` tells
whether another program closed a file as plain HDF5.
"""
