"""Nodes that run other chains."""

import numpy as np
import pytest

from backends.mlx.program import ProgramError
from backends.mlx.program.testing import GraphFile, mlx_schema
from backends.mlx.runner import Runner
from backends.mlx.runner.testing import literal, reals


def test_scan_stacks_what_its_body_writes(tmp_path):
    x = reals(2, 3, 4)
    expected = np.cumsum(x, axis=1)
    file = GraphFile(chains=[[], []], inputs=[x], outputs=[expected], temps=3)
    state, step, total = file.temp(0), file.temp(1), file.output(0)
    file.chains[0] += [
        mlx_schema.FullNode(
            out=state,
            shape=[literal(2), literal(4)],
            v=mlx_schema.FloatOrVid.from_literal(0.0),
            scalar_type=6,
        ),
        mlx_schema.ScanNode(
            originals=[file.input(0)], sliced=[step], outputs=[total], carry=[state],
            body_chain_idx=1, scan_axis=1,
        ),
    ]  # fmt: skip
    file.chains[1] += [
        mlx_schema.AddNode(a=state, b=step, out=state),
        mlx_schema.IdCopyNode(x=state, out=total),
    ]
    (out,) = Runner(file.write(tmp_path / "a.pte"))(x)
    np.testing.assert_allclose(np.array(out), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "shapes, message",
    [
        ([(2, 0)], "scan steps: expected 1 or more, found 0"),
        ([(2, 3), (2, 2)], r"scan steps: expected as many of each original, found \[3, 2\]"),
        ([(2, 3), (2,)], "axis: expected -1 to 0, found 1"),
    ],
)
def test_scan_of_what_has_no_steps(tmp_path, shapes, message):
    originals = [reals(*shape) for shape in shapes]
    out = reals(2, 3)
    file = GraphFile(chains=[[], []], inputs=originals, outputs=[out], temps=len(shapes))
    slots = [file.temp(index) for index in range(len(shapes))]
    file.chains[0].append(
        mlx_schema.ScanNode(
            originals=[file.input(index) for index in range(len(shapes))], sliced=slots,
            outputs=[file.output(0)], carry=[], body_chain_idx=1, scan_axis=1,
        )
    )  # fmt: skip
    file.chains[1].append(mlx_schema.IdCopyNode(x=slots[-1], out=file.output(0)))
    runner = Runner(file.write(tmp_path / "a.pte"))
    with pytest.raises(ProgramError, match=message):
        runner(*originals)
