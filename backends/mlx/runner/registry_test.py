"""What holds of all node functions: the schema is covered, errors name the instruction."""

import numpy as np
import pytest

from backends.mlx.program import ProgramError
from backends.mlx.program.testing import GraphFile, mlx_schema
from backends.mlx.runner import Runner
from backends.mlx.runner.nodes import FUNCTIONS
from backends.mlx.runner.testing import literal, reals, run

# ExecuTorch's off-graph cache and MLX's random bits need state that a .pte does not hold.
UNSUPPORTED = {"UpdateAndAttendNode", "RandomBitsNode"}


def test_every_node_of_the_schema_has_a_function():
    names = mlx_schema.OpNodeUnion.__args__
    assert {item.__name__ for item in names} - set(FUNCTIONS) == UNSUPPORTED


def test_unsupported_node_is_named(tmp_path):
    file = GraphFile(outputs=[np.zeros(2, np.uint32)])
    file.chains[0].append(mlx_schema.RandomBitsNode(out=file.output(0), shape=[literal(2)]))
    path = file.write(tmp_path / "a.pte")
    with pytest.raises(ProgramError) as caught:
        Runner(path)
    assert str(caught.value) == (
        f"{path}: chain 0 instruction 0 RandomBitsNode: "
        "expected a node that the runner supports, found RandomBitsNode"
    )


def test_operands_that_mlx_refuses_name_the_instruction(tmp_path):
    a, b = reals(2, 3), reals(4, 5)
    with pytest.raises(ProgramError, match="chain 0 instruction 0 AddNode: expected operands"):
        run(tmp_path, "AddNode", {"a": a, "b": b}, a)
