"""An MLX node is added by its check list alone. The runner has them all: one is taken out first."""

from __future__ import annotations

from tests.additions.testing import Copy, check_list

PATH = "backends/mlx/runner/nodes/creation.py"
FUNCTION = """

@node("TriuNode")
def triu(run, n):
    run.set(n.out, mx.triu(run.tensor(n.x), n.k))
"""
SCRIPT = """
import numpy as np
from pathlib import Path
from backends.mlx.program import ProgramError
from backends.mlx.program.testing import GraphFile, mlx_schema
from backends.mlx.runner import Runner

x = np.arange(9, dtype=np.float32).reshape(3, 3)
file = GraphFile(inputs=[x], outputs=[x])
file.chains[0].append(mlx_schema.TriuNode(x=file.input(0), out=file.output(0), k=1))
try:
    (out,) = Runner(file.write(Path("a.pte")))(x)
    print((np.array(out) == np.triu(x, 1)).all())
except ProgramError as error:
    print(error)
"""


def test_a_function(tmp_path):
    copy = Copy(tmp_path)
    file = tmp_path / PATH
    assert file.read_text().count(FUNCTION) == 1
    file.write_text(file.read_text().replace(FUNCTION, ""))
    assert "expected a node that the runner supports, found TriuNode" in copy.run(SCRIPT)
    copy.insert(PATH, "", FUNCTION)
    assert copy.run(SCRIPT).split()[-1] == "True"
    assert copy.touched == check_list("An MLX node")
