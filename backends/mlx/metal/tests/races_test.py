"""Planted races: each barrier removed or weakened, in threadgroup and in device memory.

As in faults_test.py, every kernel also runs with the checker off, which must not report it.
"""

from __future__ import annotations

import mlx.core as mx
import pytest

from backends.mlx import metal
from backends.mlx.metal.tests.testing import MATMUL, ROW_SUM, matmul, row_sum
from backends.mlx.metal.tests.testing_planted import BARRIER, A, B, X, check, fault_of, planted


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_barrier_of_matmul_removed(number):
    subject = MATMUL.edited(BARRIER, "", number)
    fault = fault_of(lambda: matmul(A, B, subject))
    assert fault.kind in ("data-race", "uninitialised")
    # Lines are in the unit's text: the simdgroup_load and the load_tile that meet, or the stores.
    assert fault.buffer in ("a_tile", "b_tile", "out_tile")
    assert "tile" in fault.source or "to[i]" in fault.source or "simdgroup_load" in fault.source
    assert fault.thread is not None and fault.threadgroup == (0, 0, 0)


def test_barrier_of_row_sum_removed():
    fault = fault_of(lambda: row_sum(mx.ones((2, 301)), subject=ROW_SUM.edited(BARRIER, "")))
    check(fault, "uninitialised", "total += partial[s]", "partial")
    assert fault.thread == 0


def test_barrier_for_the_wrong_memory():
    wrong = ROW_SUM.edited("mem_flags::mem_threadgroup", "mem_flags::mem_device")
    fault = fault_of(lambda: row_sum(mx.ones((2, 301)), subject=wrong))
    check(fault, "data-race", "total += partial[s]", "partial")
    assert "partial[simdgroup" in str(fault)  # the other side's line


def test_simdgroup_barrier_orders_one_simdgroup_only():
    source = """
        threadgroup float t[64];
        const uint i = thread_index_in_threadgroup;
        t[i] = x[i % 8];
        simdgroup_barrier(mem_flags::mem_threadgroup);
        out[i] = t[i ^ DISTANCE];
    """
    near = planted(source.replace("DISTANCE", "1"), {"x": X}, outputs=64, grid=64)
    with metal.checked():
        near()
    fault = fault_of(planted(source.replace("DISTANCE", "32"), {"x": X}, outputs=64, grid=64))
    check(fault, "uninitialised", "out[i] = t[i ^ 32]", "t")


def test_write_after_an_earlier_reader():
    # Thread 0 reads last and may write; thread 1 read before it, unordered.
    source = """
        threadgroup float t[1];
        const uint i = thread_index_in_threadgroup;
        if (i == 0) t[0] = 1.0f;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        float v = 0.0f;
        if (i > 0) v = t[0];
        simdgroup_barrier(mem_flags::mem_none);
        if (i == 0) v = t[0];
        if (i == 0) t[0] = v + 1.0f;
        out[i] = v;
    """
    fault = fault_of(planted(source))
    check(fault, "data-race", "t[0] = v + 1.0f", "t")
    assert fault.thread == 0


# ---- races in device memory


def test_race_between_threadgroups():
    fault = fault_of(planted("out[thread_position_in_threadgroup.x] = x[0];", {"x": X}, 4, 8, 4))
    check(fault, "data-race", "out[thread_position_in_threadgroup.x]", "out")
    assert fault.threadgroup == (1, 0, 0) and fault.offset == 0
    assert "of threadgroup 0" in str(fault)


def test_read_of_another_threadgroups_output():
    source = """
        const uint i = thread_position_in_grid.x;
        out[i] = 1.0f;
        threadgroup_barrier(mem_flags::mem_device);
        if (i == 4) out[4] += out[0];
    """
    fault = fault_of(planted(source, threadgroup=4))
    check(fault, "data-race", "out[4] += out[0]", "out")
    assert fault.thread == 0 and fault.threadgroup == (1, 0, 0)


def test_race_within_a_threadgroup_on_device_memory():
    source = """
        const uint i = thread_position_in_grid.x;
        out[i] = x[i];
        threadgroup_barrier(mem_flags::FLAG);
        const float next = out[(i + 1) % 8];
        threadgroup_barrier(mem_flags::mem_device);
        out[i] = next;
    """
    with metal.checked():
        planted(source.replace("FLAG", "mem_device"), {"x": X})()
    fault = fault_of(planted(source.replace("FLAG", "mem_threadgroup"), {"x": X}))
    check(fault, "data-race", "out[(i + 1) % 8]", "out")


def test_atomics_do_not_race_but_plain_access_does():
    source = "atomic_fetch_add_explicit(out, 1.0f, memory_order_relaxed);"
    call = dict(
        inputs=[],
        output_shapes=[(1,)],
        output_dtypes=[mx.float32],
        grid=(64, 1, 1),
        threadgroup=(8, 1, 1),
    )
    clean = metal.metal_kernel("count", [], ["out"], source, atomic_outputs=True)
    with metal.checked():
        assert clean(**call, init_value=0)[0].item() == 64
    with pytest.raises(metal.CheckError) as caught, metal.checked():
        clean(**call)
    assert caught.value.kind == "uninitialised"
    mixed = source + "if (thread_position_in_grid.x == 9) ((device float*)out)[0] = 0.0f;"
    racing = metal.metal_kernel("count", [], ["out"], mixed, atomic_outputs=True)
    fault = fault_of(lambda: racing(**call, init_value=0))
    assert (fault.kind, fault.buffer) == ("data-race", "out")
