"""Layers: convolutions, against numpy."""

import numpy as np
import pytest

from backends.mlx.program import ProgramError
from backends.mlx.runner.testing import check, reals, run


def test_convolutions(tmp_path):
    x, w = reals(1, 9, 2), reals(3, 4, 2)
    padded = np.pad(x[0], ((1, 1), (0, 0)))
    expected = np.stack([np.einsum("kc,okc->o", padded[at : at + 4], w) for at in range(0, 8, 2)])[
        None
    ]
    check(tmp_path, "Conv1DNode", {"x": x, "w": w}, expected, stride=2, padding=1)
    image, kernel = reals(1, 4, 4, 2), reals(3, 1, 1, 2)
    products = np.einsum("nhwc,oc->nhwo", image, kernel[:, 0, 0])
    check(tmp_path, "Conv2DNode", {"x": image, "w": kernel}, products)
    check(tmp_path, "ConvTranspose2DNode", {"x": image, "w": kernel}, products)
    cube = image[:, None]
    check(tmp_path, "Conv3DNode", {"x": cube, "w": kernel[:, None]}, products[:, None])


@pytest.mark.parametrize("name", ["Conv2DNode", "ConvTranspose2DNode"])
def test_no_groups(tmp_path, name):
    inputs = {"x": reals(1, 4, 4, 2), "w": reals(3, 1, 1, 2)}
    with pytest.raises(ProgramError, match="groups: expected 1 or more, found 0"):
        run(tmp_path, name, inputs, reals(1, 4, 4, 3), groups=0)
