"""Planted faults: the checker must report each one, with kernel, line, thread and memory.

Every kernel here runs twice, checked and fast. The fast run must raise no CheckError, which shows
that the report comes from the checker. Races are in races_test.py.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx import metal
from backends.mlx.metal.tests.testing import MATMUL, ROW_SUM, matmul, row_sum
from backends.mlx.metal.tests.testing_planted import BARRIER, A, B, X, check, fault_of, planted


def test_unchanged_subjects_are_clean():
    with metal.checked() as report:
        row_sum(mx.ones((3, 301), mx.bfloat16))
        for dtype in (mx.float32, mx.float16, mx.bfloat16):
            matmul(A.astype(dtype), B.astype(dtype))
    assert report.launches == 4 and len(report.keys) == 4


# ---- bounds


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
def test_read_past_an_input(dtype):
    x = mx.zeros((9,), dtype)[1:]  # a view: the element after its end exists in memory
    source = "out[thread_position_in_grid.x] = float(x[thread_position_in_grid.x + 1]);"
    fault = fault_of(planted(source, {"x": x}))
    check(fault, "out-of-bounds", "x[thread_position_in_grid.x + 1]", "x")
    assert (fault.thread, fault.offset) == (7, 8 * dtype.size)


def test_read_before_an_input():
    fault = fault_of(planted("out[thread_position_in_grid.x] = (x - 1)[0];", {"x": X}))
    check(fault, "out-of-bounds", "(x - 1)[0]", "x")
    assert fault.offset == -4


def test_read_past_an_input_never_lands_in_another():
    # 16 MiB past the end: beyond any red zone, where another array may well lie.
    source = "out[thread_position_in_grid.x] = x[FAR];"
    run = planted(source.replace("FAR", "4194304"), {"x": X, "y": X})
    with pytest.raises(metal.CheckError) as caught, metal.checked():
        run()
    check(caught.value, "out-of-bounds", "x[4194304]", "x")
    fault_of(planted(source.replace("FAR", "8"), {"x": X, "y": X}))


def test_write_past_an_output():
    source = "out[thread_position_in_grid.x + 1] = 0.0f;"
    fault = fault_of(planted(source), unchecked=planted(source, outputs=9))
    check(fault, "out-of-bounds", source, "out")
    assert (fault.thread, fault.offset) == (7, 32)


def test_missing_edge_guard():
    wrong = MATMUL.edited("r < M && c < N", "c < N")
    fault = fault_of(
        lambda: matmul(A, B, wrong), unchecked=lambda: matmul(A, B, wrong, output_rows=32)
    )
    check(fault, "out-of-bounds", "out[r * N + c] = out_tile[i];", "out")
    assert fault.threadgroup == (0, 1, 0)


def test_missing_load_guard_in_a_header():
    wrong = MATMUL.edited("inside ? T(from[r * columns + c]) : T(0)", "from[r * columns + c]")
    fault = fault_of(lambda: matmul(A, B, wrong))
    check(fault, "out-of-bounds", "to[i] = from[r * columns + c];", "b")


def test_threadgroup_array_too_small():
    smaller = MATMUL.edited("threadgroup T b_tile[TILE * TILE]", "threadgroup T b_tile[TILE * 8]")
    fault = fault_of(lambda: matmul(A, B, smaller))
    check(fault, "out-of-bounds", "to[i] =", "b_tile")


def test_read_past_a_threadgroup_array():
    wrong = ROW_SUM.edited("total += partial[s]", "total += partial[s + 32]")
    fault = fault_of(lambda: row_sum(mx.ones((2, 301)), subject=wrong))
    # The index is wrong for the array's type, before any memory is concerned.
    check(fault, "out-of-bounds", "partial[s + 32]", "float [32]")


def test_read_past_a_threadgroup_array_by_pointer():
    wrong = ROW_SUM.edited("total += partial[s]", "total += *(&partial[0] + 32 + s)")
    fault = fault_of(lambda: row_sum(mx.ones((2, 301)), subject=wrong))
    check(fault, "out-of-bounds", "*(&partial[0] + 32 + s)", "partial")
    assert fault.offset == 128


def test_index_past_a_thread_array():
    source = """
        float y[4] = {1.0f, 2.0f, 3.0f, 4.0f};
        out[thread_position_in_grid.x] = y[thread_position_in_grid.x];
    """
    fault = fault_of(planted(source))
    check(fault, "out-of-bounds", "y[thread_position_in_grid.x]", "float [4]")
    assert fault.thread == 4


# ---- a thread's own memory


@pytest.mark.parametrize("distance", [1 << 13, 1 << 14, 1 << 15, -(1 << 13)])
def test_pointer_that_leaves_the_stack(distance):
    # The distance is an input, and the call is opaque: only the address tells.
    header = """
        __attribute__((noinline)) float read(thread const float* p, int i) {
            return p[i];
        }
    """
    source = """
        float y[8];
        for (int i = 0; i < 8; ++i) y[i] = 1.0f;
        simdgroup_barrier(mem_flags::mem_none);  // all stacks are there
        out[thread_position_in_grid.x] = read(y, distance[0]);
    """
    distances = np.array([distance] * 8, np.int32)
    fault = fault_of(planted(source, {"distance": distances}, header=header))
    check(fault, "out-of-bounds", "return p[i];", "thread memory")


def test_memory_of_another_thread():
    source = """
        threadgroup ulong addresses[8];
        const uint i = thread_position_in_grid.x;
        float y = float(i);
        addresses[i] = ulong(&y);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        out[i] = *(thread float*)addresses[i ^ OTHER];
        threadgroup_barrier(mem_flags::mem_threadgroup);  // y lives until here
    """
    with metal.checked():
        assert planted(source.replace("OTHER", "0"))()[0].tolist() == list(range(8))
    fault = fault_of(planted(source.replace("OTHER", "1")))
    check(fault, "out-of-bounds", "*(thread float*)addresses[i ^ 1]", "thread memory")


# ---- uninitialised and unwritten


def test_threadgroup_slot_left_unwritten():
    wrong = ROW_SUM.edited(
        "if (thread_index_in_simdgroup == 0) partial",
        "if (thread_index_in_threadgroup == 0) partial",
    )
    fault = fault_of(lambda: row_sum(mx.ones((2, 301)), subject=wrong))
    check(fault, "uninitialised", "total += partial[s]", "partial")
    assert (fault.thread, fault.offset) == (0, 4)


def test_read_of_an_output_nobody_wrote():
    fault = fault_of(planted("out[thread_position_in_grid.x] += 1.0f;"))
    check(fault, "uninitialised", "out[thread_position_in_grid.x] += 1.0f;", "out")


def test_output_left_unwritten():
    source = "if (thread_position_in_grid.x != 5) out[thread_position_in_grid.x] = 0.0f;"
    fault = fault_of(planted(source))
    assert (fault.kind, fault.buffer, fault.offset) == ("unwritten", "out", 20)
    assert "4 of 32 bytes of output 'out'" in str(fault)


# ---- divergence


def test_return_before_a_barrier():
    wrong = ROW_SUM.edited(
        "sum = simd_sum(sum);", "sum = simd_sum(sum); if (thread_index_in_threadgroup == 5) return;"
    )
    fault = fault_of(lambda: row_sum(mx.ones((2, 301)), subject=wrong))
    check(fault, "divergence", BARRIER, "")
    assert "1 thread(s) returned" in str(fault)


def test_return_before_a_simdgroup_operation():
    source = """
        if (thread_position_in_grid.x == 3) return;
        out[thread_position_in_grid.x] = simd_sum(1.0f);
    """
    fault = fault_of(planted(source))
    check(fault, "divergence", "simd_sum(1.0f)", "")


def test_barriers_in_two_branches():
    source = """
        const uint i = thread_position_in_grid.x;
        if (i < 4) {
            threadgroup_barrier(mem_flags::mem_threadgroup);
        } else {
            threadgroup_barrier(mem_flags::mem_none);
        }
        out[i] = 0.0f;
    """
    fault = fault_of(planted(source))
    check(fault, "divergence", "threadgroup_barrier(mem_flags::mem_none)", "")
    assert fault.other_line == fault.line - 2


@pytest.mark.parametrize("second", ["simd_sum(1.0f)", "simd_max(1.0f)"])
def test_simd_operations_in_two_branches(second):
    source = f"""
        const uint i = thread_position_in_grid.x;
        float v;
        if (i < 4)
            v = simd_sum(2.0f);
        else
            v = {second};
        out[i] = v;
    """
    fault = fault_of(planted(source))
    check(fault, "divergence", second, "")
    assert fault.other_line == fault.line - 2


def test_barrier_in_one_branch():
    source = """
        if (thread_position_in_grid.x < 4)
            threadgroup_barrier(mem_flags::mem_threadgroup);
        else
            out[0] = simd_sum(1.0f);
        out[thread_position_in_grid.x] = 0.0f;
    """
    fault = fault_of(planted(source))
    assert fault.kind == "deadlock" and fault.thread is not None
    assert "4 thread(s) wait at a threadgroup_barrier, 4 in a simdgroup operation" in str(fault)
    assert {fault.line, fault.other_line} == {fault.line, fault.line + 2}


# ---- alignment


ALIGNED = mx.zeros((64,), mx.uint8)


@pytest.mark.parametrize(
    "type_, offset, legal",
    [
        ("uint", 2, False),
        ("uint2", 4, False),
        ("ushort4", 2, False),
        ("half4", 4, False),
        ("packed_ushort4", 1, False),
        ("packed_ushort4", 2, True),
        ("packed_half4", 2, True),
        ("packed_bfloat4", 2, True),
        ("packed_float4", 4, True),
        ("packed_float4", 2, False),
        ("packed_uchar4", 1, True),
        ("ushort4", 8, True),
    ],
)
def test_alignment_of_loads(type_, offset, legal):
    source = f"out[thread_position_in_grid.x] = float((*(device const {type_}*)(w + {offset}))[0]);"
    if "4" not in type_ and "2" not in type_:
        source = source.replace("[0]);", ");")
    run = planted(source, {"w": ALIGNED})
    if legal:
        with metal.checked():
            run()
        return
    fault = fault_of(run)
    check(fault, "misaligned", f"(device const {type_}*)(w + {offset})", "w")
    assert fault.offset == offset


def test_misaligned_view():
    # The pointer is right, the array is not: a view that starts at an odd element.
    source = "out[thread_position_in_grid.x] = float((*(device const half2*)x).x);"
    with metal.checked():
        planted(source, {"x": A[0, 2:12]})()
    fault = fault_of(planted(source, {"x": A[0, 1:11]}))
    check(fault, "misaligned", "*(device const half2*)x", "x")


def test_misaligned_store():
    source = (
        "*(device packed_half2*)((device uchar*)out + 4 * thread_position_in_grid.x + 1) = 1.0h;"
    )
    # The last thread's store ends one byte past eight floats.
    fault = fault_of(planted(source), unchecked=planted(source, outputs=9))
    check(fault, "misaligned", "packed_half2", "out")


# ---- what else Metal forbids


def test_write_to_an_input():
    source = "((device float*)x)[0] = 1.0f; out[thread_position_in_grid.x] = x[1];"
    fault = fault_of(planted(source, {"x": mx.array(X)}))
    check(fault, "input-write", "((device float*)x)[0] = 1.0f", "x")


def test_too_much_threadgroup_memory():
    source = """
        threadgroup float a[4096];
        threadgroup float b[4097];
        a[0] = b[0] = 0.0f;
        out[thread_position_in_grid.x] = 1.0f;
    """
    fault = fault_of(planted(source, grid=1, outputs=1))
    check(fault, "limit", "threadgroup float b[4097]", "b", thread=False)
    assert "32772" in str(fault)


def test_too_many_threads():
    with pytest.raises(ValueError, match="1025 threads, Metal allows 1024"):
        planted("out[0] = 0.0f;", grid=2048, threadgroup=1025)()


def test_report_after_a_fault_is_clean():
    # A fault abandons running fibres; the next launch must not see them.
    with metal.checked():
        with pytest.raises(metal.CheckError):
            matmul(A, B, MATMUL.edited(BARRIER, "", 2))
        expected = np.array(A.astype(mx.float32)) @ np.array(B.astype(mx.float32))
        for _ in range(2):
            np.testing.assert_allclose(np.array(matmul(A, B)), expected, rtol=1e-3, atol=1e-3)
