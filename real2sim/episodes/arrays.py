"""The arrays of an episode: npz files, as `real2sim.arrays` reads and writes them."""

from real2sim.arrays import array_sums, read_arrays, write_arrays

__all__ = ["array_sums", "read_arrays", "write_arrays"]
