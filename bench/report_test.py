"""Tables from result files, and that the document shows those of the files beside it."""

from pathlib import Path

import pytest

from bench import report

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
RESULTS = DOCUMENT.parent / "performance"


def result(contender, seconds, **changes):
    row = {
        "type": "Q4_K",
        "dtype": "bfloat16",
        "operation": "qmv",
        "rows": 1,
        "outputs": 4096,
        "columns": 4096,
        "contender": contender,
        "seconds": seconds,
        "weight_bytes": 9437184,
        "worst_error": 0.5,
        "right": True,
    }
    return {**row, **changes}


def gpu(*results):
    return {"device": "a GPU", "plain_read_bytes_per_second": 3e12, "results": list(results)}


def test_gpu_table_takes_the_fastest_of_mlx():
    table = report.gpu_table(
        gpu(
            result("ours", 5e-6),
            result("executorch", 10e-6),
            result("mlx qmv", 20e-6),
            result("mlx qmm", 15e-6),
        )
    )
    assert table.startswith("a GPU, plain read 3000 GB/s.")
    assert table.splitlines()[-1] == (
        "| Q4_K | qmv | 1 | 4096 x 4096 | 5.0 | 10.0 | 2.00 | 15.0 (qmm) | 3.00 | 1887 | 63 | 0.5 |"
    )


def test_gpu_table_shows_a_missing_and_a_wrong_rival():
    table = report.gpu_table(gpu(result("ours", 5e-6), result("mlx qmv", 20e-6, right=False)))
    assert "| 5.0 |  |  | 20.0 (qmv) WRONG | 4.00 |" in table


def test_a_rival_alone_makes_no_row():
    assert report.gpu_rows(gpu(result("executorch", 10e-6))) == []


def test_apple_isa_table():
    rows = [
        {
            "type": "Q4_K",
            "contender": "ours",
            "dtype": dtype,
            "max": cost,
            "serial": cost + 1,
            "registers": 100,
            "spills": spills,
        }
        for dtype, cost, spills in (("float16", 2.5, False), ("bfloat16", 3.0, True))
    ]
    table = report.apple_isa_table({"results": rows})
    assert "| Q4_K | ours | 2.50 / 3.50 (100) | 3.00 / 4.00 (100, spills) |" in table


def test_export_table():
    row = {
        "type": "Q4_K",
        "layers": 16,
        "mode": "fused",
        "lowering": "ours",
        "seconds": 1.25,
        "peak_bytes": 2**29,
        "growth_bytes": 2**20,
        "pte_bytes": 3 * 2**20,
    }
    assert "| Q4_K | 16 | fused | ours | 1.2 | 512 | 1 | 3.00 |" in report.export_table(
        {"results": [row]}
    )


def test_fill():
    document = "a\n<!-- table: one -->\nold\n<!-- end -->\nb\n<!-- table: two -->\n<!-- end -->\n"
    filled = report.fill(document, {"one": "new"})
    assert filled == document.replace("old", "\nnew\n")
    assert report.fill(filled, {"one": "new"}) == filled
    with pytest.raises(KeyError, match="three"):
        report.fill(document, {"three": ""})


def test_document_shows_the_results_beside_it():
    document = DOCUMENT.read_text()
    tables = report.tables(RESULTS)
    assert tables, f"{RESULTS}: no result files"
    assert report.fill(document, tables) == document, "run gpu_bench report"
