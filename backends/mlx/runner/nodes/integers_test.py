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
    def run(a: int, b: int) -> int:
        file = GraphFile(outputs=[np.zeros(1, np.int64)], values=3, int_inputs=(a, b))
        file.chains[0] += [
            getattr(mlx_schema, name)(a=slot(0), b=slot(1), out=Vid(2)),
            mlx_schema.FullNode(
                out=file.output(0),
                shape=[literal(1)],
                v=mlx_schema.FloatOrVid.from_vid(Vid(2)),
                scalar_type=4,
            ),
        ]
        return Runner(file.write(tmp_path / "a.pte"))(a, b)[0].item()

    for a, b in ((7, 2), (-7, 2), (7, -2), (-7, -2), (6, 3), (-1, 5)):
        assert run(a, b) == function(a, b)
    if name in ("FloorDivideIntNode", "ModIntNode"):
        with pytest.raises(ProgramError, match=f"{name}: divisor: expected not 0"):
            run(7, 0)
    else:
        with pytest.raises(ProgramError, match=f"{name}: result: expected a 32-bit int, found"):
            run(-(2**31), 2**31 - 1 if name != "AddIntNode" else -1)


def _runner(tmp_path, value: int) -> Runner:
    file = GraphFile(outputs=[np.zeros(1, np.int64)], values=1, int_inputs=(value,))
    file.chains[0].append(
        mlx_schema.FullNode(
            out=file.output(0),
            shape=[literal(1)],
            v=mlx_schema.FloatOrVid.from_vid(Vid(0)),
            scalar_type=4,
        )
    )
    return Runner(file.write(tmp_path / "a.pte"))


def test_an_int_input_is_the_one_of_the_program(tmp_path):
    """As ExecuTorch's `Method::set_input` has it."""
    runner = _runner(tmp_path, 3)
    assert runner(3)[0].item() == 3
    with pytest.raises(ProgramError, match="input 0: expected 3, found 4"):
        runner(4)
    with pytest.raises(ProgramError, match="input 0: expected an int, found str"):
        runner("3")
    with pytest.raises(ProgramError, match="input 0: expected a 32-bit int, found 2147483648"):
        _runner(tmp_path, 2**31)(2**31)


@pytest.mark.parametrize(
    "item, found",
    [
        (np.int32(-5), -5),
        (np.int64(-(2**31)), -(2**31)),
        (np.int64(2**32 + 7), 7),
        (np.int64(2**31), -(2**31)),
        (np.int64(-(2**40) - 1), -1),
        (np.uint32(2**32 - 1), -1),
    ],
)
def test_item_has_32_bits(tmp_path, item, found):
    assert _item(tmp_path, np.array([item])) == found


@pytest.mark.parametrize(
    "x, message",
    [
        (np.zeros(1, np.int16), "dtype: expected integers of 32 or 64 bits, found"),
        (np.zeros(1, np.float32), "dtype: expected integers of 32 or 64 bits, found"),
        (np.zeros(2, np.int32), "elements: expected 1, found 2"),
    ],
)
def test_item_of_what_has_none(tmp_path, x, message):
    with pytest.raises(ProgramError, match=message):
        _item(tmp_path, x)


def _item(tmp_path, x: np.ndarray) -> int:
    file = GraphFile(inputs=[x], outputs=[np.zeros(1, np.int64)], values=1)
    file.chains[0] += [
        mlx_schema.ItemIntNode(x=file.input(0), out=Vid(0)),
        mlx_schema.ARangeNode(
            out=file.output(0),
            start=slot(0),
            stop=slot(1),
            step=literal(1),
            scalar_type=4,
        ),
    ]
    file.values = 2
    file.chains[0].insert(1, mlx_schema.AddIntNode(a=slot(0), b=literal(1), out=Vid(1)))
    return Runner(file.write(tmp_path / "a.pte"))(x)[0].item()
