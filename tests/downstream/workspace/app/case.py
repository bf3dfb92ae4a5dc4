"""What the tests of this workspace compute: a Q4_K linear, and its exact result."""

import gguf
import libgguf
import numpy


class Case:
    """blocks uint8 (rows, bytes a row); x float32 (1, columns); exact float64 (1, rows)."""

    def __init__(self, rows, columns):
        rng = numpy.random.default_rng(0)
        weights = rng.standard_normal((rows, columns), dtype=numpy.float32)
        quantized = libgguf.quantize_rows(weights, gguf.GGMLQuantizationType.Q4_K)
        self.blocks = numpy.frombuffer(quantized, numpy.uint8).reshape(rows, -1).copy()
        self.x = rng.standard_normal((1, columns), dtype=numpy.float32)
        self.weights = gguf.dequantize(self.blocks, gguf.GGMLQuantizationType.Q4_K)
        self.exact = self.x.astype(numpy.float64) @ self.weights.astype(numpy.float64).T
