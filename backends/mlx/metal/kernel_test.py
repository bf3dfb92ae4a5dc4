"""metal_kernel and checked(): arguments, views, dtypes, memory, agreement of the two runs."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx import metal
from backends.mlx.metal.tests.testing import ROW_SUM, matmul, row_sum

DTYPES = [
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float16",
    "bfloat16",
    "float32",
]


def copy_kernel(**options):
    source = """
        const uint i = thread_position_in_grid.x;
        if (i < N) out[i] = x[i];
    """
    return metal.metal_kernel("copy", ["x"], ["out"], source, **options)


def copy(x, kernel=None, **options):
    dtype = x.dtype if isinstance(x, mx.array) else getattr(mx, str(x.dtype))
    return (kernel or copy_kernel())(
        inputs=[x],
        output_shapes=[tuple(x.shape)],
        output_dtypes=[dtype],
        grid=(x.size, 1, 1),
        threadgroup=(32, 1, 1),
        template=[("N", x.size)],
        **options,
    )[0]


@pytest.fixture(params=["fast", "checked"])
def build(request):
    if request.param == "fast":
        yield request.param
    else:
        with metal.checked():
            yield request.param


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype, build):
    x = mx.array([0, 1, 0, 3, 100, 7, 5, 2, 9, 11]).astype(
        mx.bool_ if dtype == "bool" else getattr(mx, dtype)
    )
    y = copy(x)
    assert y.dtype == x.dtype and mx.array_equal(x, y)


def test_numpy_inputs(build):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(np.array(copy(x)), x)
    np.testing.assert_array_equal(np.array(copy(x[:, 1:])), x[:, 1:])


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_views_start_at_any_element(dtype, build):
    x = mx.arange(40).astype(dtype)
    for view in (x[3:], x[5:6], x.reshape(4, 10)[1:3], x.reshape(4, 10)[:, 2:5], x[::-1]):
        assert mx.array_equal(copy(view), view)
    assert mx.array_equal(copy(x.reshape(4, 10).T), x.reshape(4, 10).T)


def test_scalars_and_small_inputs(build):
    kernel = metal.metal_kernel(
        "scale",
        ["x", "by", "few"],
        ["out"],
        "out[thread_position_in_grid.x] = x[thread_position_in_grid.x] * by + float(few[1]);",
    )
    call = dict(
        output_shapes=[(8,)],
        output_dtypes=[mx.float32],
        grid=(8, 1, 1),
        threadgroup=(8, 1, 1),
    )
    x = mx.arange(8, dtype=mx.float32)
    few = mx.array([0.0, 0.5], mx.bfloat16)
    for by in (3.0, mx.array(3.0)):
        assert mx.array_equal(kernel(inputs=[x, by, few], **call)[0], 3 * x + 0.5)


def test_shape_strides_and_ndim(build):
    source = """
        const uint i = thread_position_in_grid.x;
        out[i] = i == 0 ? x_ndim : i <= 2 ? x_shape[i - 1] : int(x_strides[i - 3]);
    """
    x = mx.zeros((3, 5)).T
    call = dict(
        inputs=[x],
        output_shapes=[(5,)],
        output_dtypes=[mx.int32],
        grid=(5, 1, 1),
        threadgroup=(5, 1, 1),
    )
    contiguous = metal.metal_kernel("layout", ["x"], ["out"], source)
    assert contiguous(**call)[0].tolist() == [2, 5, 3, 3, 1]
    as_it_is = metal.metal_kernel("layout", ["x"], ["out"], source, ensure_row_contiguous=False)
    assert as_it_is(**call)[0].tolist() == [2, 5, 3, 1, 5]


def test_empty_input(build):
    kernel = metal.metal_kernel(
        "empty", ["x"], ["out"], "out[thread_position_in_grid.x] = float(x_shape[0]);"
    )
    (out,) = kernel(
        inputs=[mx.zeros((0, 3))],
        output_shapes=[(2,)],
        output_dtypes=[mx.float32],
        grid=(2, 1, 1),
        threadgroup=(2, 1, 1),
    )
    assert out.tolist() == [0.0, 0.0]


def test_thread_attributes_at_the_edge(build):
    # 70 x 3 threads in groups of 64 x 2: partial groups on both axes.
    source = """
        const uint3 p = thread_position_in_grid;
        const uint at = (p.y * 70 + p.x) * 10;
        out[at + 0] = threads_per_threadgroup.x;
        out[at + 1] = threads_per_threadgroup.y;
        out[at + 2] = dispatch_threads_per_threadgroup.x;
        out[at + 3] = thread_index_in_threadgroup;
        out[at + 4] = thread_index_in_simdgroup;
        out[at + 5] = simdgroup_index_in_threadgroup;
        out[at + 6] = simdgroups_per_threadgroup;
        out[at + 7] = threadgroups_per_grid.x * 10 + threadgroups_per_grid.y;
        out[at + 8] = threadgroup_position_in_grid.x * 10 + threadgroup_position_in_grid.y;
        out[at + 9] = grid_size.x + grid_origin.x + threads_per_simdgroup +
                      quadgroups_per_threadgroup;
    """
    kernel = metal.metal_kernel("attributes", [], ["out"], source)
    (out,) = kernel(
        inputs=[],
        output_shapes=[(3, 70, 10)],
        output_dtypes=[mx.uint32],
        grid=(70, 3, 1),
        threadgroup=(64, 2, 1),
    )
    for y in range(3):
        for x in range(70):
            sx, sy = (64 if x < 64 else 6), (2 if y < 2 else 1)
            index = y % 2 * sx + x % 64
            expected = [
                sx,
                sy,
                64,
                index,
                index % 32,
                index // 32,
                (sx * sy + 31) // 32,
                22,
                x // 64 * 10 + y // 2,
                70 + 32 + (sx * sy + 3) // 4,
            ]
            assert out[y, x].tolist() == expected, (x, y)


def test_init_value_and_uninitialised_outputs():
    kernel = metal.metal_kernel("one", [], ["out"], "out[0] = 1;")
    call = dict(
        inputs=[],
        output_shapes=[(3,)],
        output_dtypes=[mx.bfloat16],
        grid=(1, 1, 1),
        threadgroup=(1, 1, 1),
    )
    assert np.isnan(np.array(kernel(**call)[0].astype(mx.float32))).tolist() == [False, True, True]
    with metal.checked():
        assert kernel(**call, init_value=0.5)[0].tolist() == [1.0, 0.5, 0.5]


def test_two_outputs(build):
    kernel = metal.metal_kernel(
        "split",
        ["x"],
        ["low", "high"],
        "const uint i = thread_position_in_grid.x; low[i] = x[i] & 15; high[i] = x[i] >> 4;",
    )
    low, high = kernel(
        inputs=[mx.array([0x12, 0xFE] * 5, mx.uint8)],
        output_shapes=[(10,), (2, 5)],
        output_dtypes=[mx.uint8, mx.int32],
        grid=(10, 1, 1),
        threadgroup=(5, 1, 1),
    )
    assert low.tolist() == [2, 14] * 5 and high.shape == (2, 5) and high[0, 0].item() == 1


def test_checked_and_fast_runs_agree():
    a, b = mx.random.normal((37, 50)), mx.random.normal((50, 29))
    fast = row_sum(a), matmul(a, b)
    with metal.checked() as report:
        checked = row_sum(a), matmul(a, b)
    assert mx.array_equal(fast[0], checked[0])
    # Each adds up the eight products of a matrix product in its own order.
    assert mx.allclose(fast[1], checked[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.array(fast[1]), np.array(a) @ np.array(b), rtol=1e-5, atol=1e-5)
    assert len(report.keys) == report.launches == 2


def test_report_names_the_unit():
    x = mx.ones((2, 40))
    unit = ROW_SUM.build().unit([x], [mx.float32], [("T", mx.float32)])
    with metal.checked() as report:
        row_sum(x)
    assert report.keys == {unit.key}


def test_template_arguments_of_equal_value_and_other_kind():
    kernel = metal.metal_kernel("kind", [], ["out"], "out[0] = sizeof(N);")
    call = dict(
        inputs=[],
        output_shapes=[(1,)],
        output_dtypes=[mx.int32],
        grid=(1, 1, 1),
        threadgroup=(1, 1, 1),
    )
    assert kernel(**call, template=[("N", 1)])[0].item() == 4
    assert kernel(**call, template=[("N", True)])[0].item() == 1


def test_a_weight_of_more_than_2_gib_is_not_touched(tmp_path, build):
    # A sparse file: rows of 1 MiB, of which one beyond 2^31 bytes holds something.
    row_bytes, rows = 1 << 20, 2100
    weight = np.memmap(tmp_path / "weight", np.uint8, "w+", shape=(rows, row_bytes))
    weight[2099, 5] = 77
    weight[1, 5] = 7
    source = """
        const uint i = thread_position_in_grid.x;
        out[i] = weight[(ulong)row[i] * (ulong)weight_shape[1] + 5];
    """
    (out,) = metal.metal_kernel("far", ["weight", "row"], ["out"], source)(
        inputs=[weight, mx.array([2099, 1, 2], mx.int32)],
        output_shapes=[(3,)],
        output_dtypes=[mx.int32],
        grid=(3, 1, 1),
        threadgroup=(3, 1, 1),
    )
    assert out.tolist() == [77, 7, 0]
    # Blocks of 512 bytes; a copy would have filled the file.
    weight.flush()
    assert (tmp_path / "weight").stat().st_blocks * 512 < 16 << 20


def test_32_bit_overflow_of_an_offset_is_found(tmp_path):
    weight = np.memmap(tmp_path / "weight", np.uint8, "w+", shape=(2100, 1 << 20))
    kernel = metal.metal_kernel(
        "far", ["weight"], ["out"], "out[0] = weight[2099 * weight_shape[1] + int(out[0])];"
    )
    message = f"out-of-bounds: read of 1 bytes at byte {2099 * 2**20 - 2**32} of input 'weight',"
    with pytest.raises(metal.CheckError, match=message), metal.checked():
        kernel(
            inputs=[weight],
            output_shapes=[(1,)],
            output_dtypes=[mx.int32],
            grid=(1, 1, 1),
            threadgroup=(1, 1, 1),
            init_value=0,
        )


def test_part_of_a_grid():
    x = mx.arange(64, dtype=mx.float32)
    with metal.checked(threadgroups=(1, 2)):
        out = np.array(copy(x))
    assert np.array_equal(out[32:], np.arange(32, 64)) and np.isnan(out[:32]).all()


def test_verbose_prints_the_text(capsys):
    x = mx.ones((8,))
    copy(x, verbose=True)
    unit = copy_kernel().unit([x], [mx.float32], [("N", 8)])
    assert capsys.readouterr().out == f"Generated source code for `copy`:\n```\n{unit.text}\n```\n"


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(inputs=[]), r"copy: expected 1 inputs \(x\), found 0"),
        (dict(output_shapes=[]), r"copy: expected 1 output_shapes \(out\), found 0"),
        (dict(output_dtypes=[]), r"copy: expected 1 output_dtypes \(out\), found 0"),
        (dict(grid=(0, 1, 1)), r"copy: grid: expected 3 positive sizes, found \(0, 1, 1\)"),
        (dict(grid=(8, 1)), r"copy: grid: expected 3 positive sizes, found \(8, 1\)"),
        (dict(threadgroup=(8, 0, 1)), r"copy: threadgroup: expected 3 positive sizes"),
        (dict(threadgroup=(8, 8, 17)), r"copy: threadgroup \(8, 8, 17\) has 1088 threads"),
        (dict(template=[("N", "half")]), r"copy: N: unknown dtype 'half'"),
    ],
)
def test_bad_arguments(change, message):
    call = dict(
        inputs=[mx.ones((8,))],
        output_shapes=[(8,)],
        output_dtypes=[mx.float32],
        grid=(8, 1, 1),
        threadgroup=(8, 1, 1),
        template=[("N", 8)],
    )
    with pytest.raises(ValueError, match=message):
        copy_kernel()(**{**call, **change})


def test_compile_errors_name_the_line():
    kernel = metal.metal_kernel("wrong", [], ["out"], "\n  out[0] = nothing;\n")
    with pytest.raises(metal.CompileError, match=r"custom_kernel_wrong_float.metal:4:.*nothing"):
        kernel(
            inputs=[],
            output_shapes=[(1,)],
            output_dtypes=[mx.float32],
            grid=(1, 1, 1),
            threadgroup=(1, 1, 1),
        )


def test_thread_limit(monkeypatch):
    monkeypatch.setenv("MLX_GGUF_METAL_THREADS", "1")
    assert mx.array_equal(copy(mx.ones((300,))), mx.ones((300,)))
    monkeypatch.setenv("MLX_GGUF_METAL_THREADS", "none")
    with pytest.raises(ValueError, match="MLX_GGUF_METAL_THREADS: expected a number of at least 1"):
        copy(mx.ones((300,)))


def test_checked_run_counts_the_bytes_read():
    source = """
    uint i = thread_position_in_grid.x;
    out[i] = x[i] + x[0] + y[0];
    """
    kernel = metal.metal_kernel("counted", ["x", "y"], ["out"], source)
    arguments = dict(
        inputs=[mx.ones((16,)), mx.ones((16,))],
        output_shapes=[(16,)],
        output_dtypes=[mx.float32],
        grid=(16, 1, 1),
        threadgroup=(16, 1, 1),
    )
    with metal.checked() as report:
        kernel(**arguments)
        assert report.bytes_read == {"x": 16 * 8, "y": 16 * 4, "out": 0}
        kernel(**arguments)
    assert report.bytes_read["x"] == 2 * 16 * 8
