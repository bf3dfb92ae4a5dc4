"""What the tests of node functions share: hand-made graphs of one node."""

import numpy as np

from backends.mlx.program.testing import GraphFile, IntOrVid, Vid, mlx_schema
from backends.mlx.runner import Runner

RNG = np.random.default_rng(0)
literal, slot = IntOrVid.from_literal, lambda index: IntOrVid.from_vid(Vid(index))


def run(tmp_path, node, inputs, expected, **fields):
    """Runs one node whose operands are `inputs` (field to array), returns its `out`."""
    arrays = list(inputs.values())
    file = GraphFile(inputs=arrays, outputs=[expected])
    operands = {name: file.input(index) for index, name in enumerate(inputs)}
    node = getattr(mlx_schema, node)(**operands, out=file.output(0), **fields)
    file.chains[0].append(node)
    return np.array(Runner(file.write(tmp_path / "a.pte"))(*arrays)[0])


def check(tmp_path, node, inputs, expected, tolerance=1e-5, **fields):
    """Runs one node and compares its `out` with `expected`, dtype included."""
    expected = np.asarray(expected)
    actual = run(tmp_path, node, inputs, expected, **fields)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def reals(*shape) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def several(tmp_path, node, arrays, outputs):
    """Runs `node(input slots, output slots)`, returns all outputs."""
    file = GraphFile(inputs=arrays, outputs=outputs)
    slots = [file.input(index) for index in range(len(arrays))]
    outs = [file.output(index) for index in range(len(outputs))]
    file.chains[0].append(node(slots, outs))
    return [np.array(out) for out in Runner(file.write(tmp_path / "a.pte"))(*arrays)]
