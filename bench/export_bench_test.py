"""Both lowerings export the same weights, each in a process of its own."""

import pytest

from bench import export_bench


@pytest.mark.parametrize("lowering", export_bench.LOWERINGS)
def test_export(tmp_path, lowering):
    weights = tmp_path / "weights.npy"
    export_bench.make_weights("Q4_K", 256, weights)
    words = ("export", "Q4_K", 256, weights, 2, "fused", lowering)
    row = export_bench.child_result(*words)
    blocks = 2 * 256 * 144
    assert row["pte_bytes"] > blocks
    assert row["peak_bytes"] > row["growth_bytes"] >= 0
    assert row["seconds"] > 0
