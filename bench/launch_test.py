"""What the benchmarks launch: by the table of tuning for us, as emitted for the rivals."""

import pytest

from backends.mlx.gguf import formats, kernels
from bench import executorch_rival
from bench.cases import cases, is_full
from bench.launch import Buffer, Case, Numbers, ours, trials

TYPES = pytest.mark.parametrize("type_name", formats.FORMATS)


@TYPES
@pytest.mark.parametrize("rows", [1, 2, 8, 16, 512])
def test_ours_is_what_the_table_says(type_name, rows):
    case = Case(type_name, rows, 4096, 4096)
    launch = ours(case)
    operation = kernels.for_rows(rows)
    kernel = kernels.linear(case.fmt, operation, case.dtype, case.dtype, 4096)
    assert launch.threadgroup == kernel.launch.threadgroup
    threads = tuple(g * t for g, t in zip(launch.grid, launch.threadgroup, strict=True))
    assert threads == kernel.launch.grid(4096, rows)
    assert Buffer("x") in launch.arguments
    assert Numbers("int", (4096, case.fmt.row_bytes(4096))) in launch.arguments
    assert f"void {launch.symbol}(" in launch.source


@pytest.mark.parametrize("type_name", ["Q4_K", "Q5_K", "Q6_K"])
@pytest.mark.parametrize("rows, name", [(1, "matvec"), (8, "matmul")])
def test_executorch_emits_one_kernel(type_name, rows, name):
    (launch,) = executorch_rival.launches(Case(type_name, rows, 4096, 2048))
    assert f"gguf_{type_name.lower().replace('_', '')}_{name}" in launch.source
    assert "<bfloat16_t" in launch.source and "4096, 2048" in launch.source


def test_executorch_matmul_covers_the_outputs():
    (launch,) = executorch_rival.launches(Case("Q4_K", 33, 130, 256))
    assert launch.grid == (2, 3, 1)  # tiles of 32 rows by 64 outputs
    assert launch.threadgroup == (128, 1, 1)


def test_executorch_has_no_kernel_for_other_types():
    assert executorch_rival.launches(Case("Q8_0", 1, 4096, 4096)) == []


def test_cases_cover_every_type_and_every_operation_of_some():
    found = cases()
    for fmt in formats.FORMATS.values():
        operations = {kernels.for_rows(c.rows) for c in found if c.fmt is fmt}
        assert operations == (set(kernels.LINEAR) if is_full(fmt.name) else {"qmv"})
    assert {c.type_name for c in cases(types=["Q6_K"])} == {"Q6_K"}


def test_trials():
    entry = {
        "operation": "qmv",
        "rows": [1],
        "threads": 128,
        "n_tile": 8,
        "m_tile": 1,
        "tuning": {"ROWS": 2, "SIMDGROUPS": 4},
    }
    (launch,) = trials(Case("Q4_K", 1, 4096, 4096), [entry])
    assert launch.contender == "try qmv ROWS=2 SIMDGROUPS=4"
    assert (launch.grid, launch.threadgroup) == ((512, 1, 1), (128, 1, 1))
    assert "2, 4>(" in launch.source
    assert trials(Case("Q4_K", 2, 4096, 4096), [entry]) == []
