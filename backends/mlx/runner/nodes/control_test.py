"""Nodes that run other chains."""

import numpy as np

from backends.mlx.program.testing import GraphFile, mlx_schema
from backends.mlx.runner import Runner
from backends.mlx.runner.nodes.testing import literal, reals


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
