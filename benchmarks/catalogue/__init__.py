"""The benchmarks: one file each, which registers what it defines."""
