"""Nodes that compute ints."""

import numpy as np
import pytest

from backends.mlx.program import ProgramError
from backends.mlx.program.testing import GraphFile, Vid, mlx_schema
from backends.mlx.runner import Runner
from backends.mlx.runner.testing import literal, slot


@pytest.mark.parametrize(
    "name, function",
    [
        ("AddIntNode", lambda a, b: a + b),
        ("SubtractIntNode", lambda a, b: a - b),
        ("MultiplyIntNode", lambda a, b: a * b),
        ("FloorDivideIntNode", lambda a, b: a // b),
        ("ModIntNode", lambda a, b: a % b),
    ],
)
def test_ints(tmp_path, name, function):
    file = GraphFile(outputs=[np.zeros(1, np.int64)], values=3, int_inputs=2)
    file.chains[0] += [
        getattr(mlx_schema, name)(a=slot(0), b=slot(1), out=Vid(2)),
        mlx_schema.FullNode(
            out=file.output(0),
            shape=[literal(1)],
            v=mlx_schema.FloatOrVid.from_vid(Vid(2)),
            scalar_type=4,
        ),
    ]
    runner = Runner(file.write(tmp_path / "a.pte"))
    for a, b in ((7, 2), (-7, 2), (7, -2), (-7, -2), (6, 3), (-1, 5)):
        assert runner(a, b)[0].item() == function(a, b)
    if name in ("FloorDivideIntNode", "ModIntNode"):
        with pytest.raises(ProgramError, match=f"{name}: divisor: expected not 0"):
            runner(7, 0)
    else:
        with pytest.raises(ProgramError, match=f"{name}: result: expected a 32-bit int, found"):
            runner(-(2**31), 2**31 - 1 if name != "AddIntNode" else -1)
    with pytest.raises(ProgramError, match="input 1: expected a 32-bit int, found 2147483648"):
        runner(1, 2**31)
    with pytest.raises(ProgramError, match="input 0: expected an int, found str"):
        runner("1", 1)
