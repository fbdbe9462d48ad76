"""Numba kernels: integers and arrays in, integers and arrays out."""

if __name__ != "grouper.kernels":  # a bare `import kernels` would shadow another package
    raise ImportError("this folder is the package grouper.kernels; use `import grouper.kernels`")
