"""simdgroup_matrix in both builds: the fast one puts products off, which no kernel may notice."""

from __future__ import annotations

import contextlib

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx import metal

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 8, 8)).astype(np.float32)
P, Q, R, S = X.astype(np.float64)

# Matrices p, q, r, s are loaded from x; `by_elements` makes an equal one of single elements.
HEADER = """
    template <typename T> simdgroup_matrix<T, 8, 8> by_elements(simdgroup_matrix<T, 8, 8> m) {
        simdgroup_matrix<T, 8, 8> copy;
        copy.thread_elements()[0] = m.thread_elements()[0];
        copy.thread_elements()[1] = m.thread_elements()[1];
        return copy;
    }
    typedef simdgroup_float8x8 M;
    template <typename A, typename B, typename C>
    void add_product(thread C& c, A a, B b) { simdgroup_multiply_accumulate(c, a, b, c); }
"""
LOAD = "".join(
    f"simdgroup_matrix<float, 8, 8> {name}; simdgroup_load({name}, x + {64 * i}, 8);"
    for i, name in enumerate("pqrs")
)


@pytest.fixture(params=["fast", "checked"])
def build(request):
    with metal.checked() if request.param == "checked" else contextlib.nullcontext():
        yield


def run(source: str, store: str = "simdgroup_store(m, out, 8);") -> np.ndarray:
    kernel = metal.metal_kernel("matrices", ["x"], ["out"], LOAD + source + store, HEADER)
    (out,) = kernel(
        inputs=[X],
        output_shapes=[(8, 8)],
        output_dtypes=[mx.float32],
        grid=(32, 1, 1),
        threadgroup=(32, 1, 1),
    )
    return np.array(out)


def check(source: str, expected: np.ndarray, tolerance: float = 1e-4, **options) -> None:
    np.testing.assert_allclose(run(source, **options), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("p", ["p", "by_elements(p)"])
@pytest.mark.parametrize("q", ["q", "by_elements(q)"])
def test_products_of_loaded_and_assembled_matrices(build, p, q):
    source = f"M m(2.0f); add_product(m, {p}, {q}); add_product(m, r, s);"
    check(source, 2 * np.eye(8) + P @ Q + R @ S)


def test_more_products_than_are_noted_down(build):
    product = "add_product(m, by_elements(p), by_elements(q));"
    check(f"M m(0.0f); for (int i = 0; i < 19; ++i) {product}", 19 * (P @ Q), tolerance=1e-3)


def test_a_product_becomes_an_operand(build):
    check("M m, n; simdgroup_multiply(n, p, q); simdgroup_multiply(m, n, r);", P @ Q @ R, 1e-3)
    check("M m = p; simdgroup_multiply_accumulate(m, m, q, m);", P @ Q + P)
    check("M m = q; simdgroup_multiply_accumulate(m, p, m, r);", P @ Q + R)


@pytest.mark.parametrize("p", ["p", "by_elements(p)"])
def test_a_copy_is_a_matrix_of_its_own(build, p):
    source = f"M m(0.0f); add_product(m, {p}, q); M n = m; add_product(n, {p}, q);"
    check(source, P @ Q)
    check(source + "m = n; n = r;", 2 * (P @ Q))


@pytest.mark.parametrize("p", ["p", "by_elements(p)"])
def test_elements_seen_by_reference_are_up_to_date(build, p):
    # The reference is taken before the product, read after it, and written.
    source = f"""
        M m(0.0f);
        thread auto& e = m.thread_elements();
        add_product(m, {p}, q);
        e[0] = 2.0f * e[0];
        e[1] = 2.0f * e[1];
        add_product(m, r, s);
    """
    check(source, 2 * (P @ Q) + R @ S, tolerance=1e-3)
    check(source.replace("add_product(m, r, s);", "m = s; e[0] += 1.0f; e[1] += 1.0f;"), S + 1)


def test_an_element_that_changes_after_the_load(build):
    source = "p.thread_elements()[0] = 0.0f; M m; simdgroup_multiply(m, p, q);"
    even = P.copy()
    even[:, ::2] = 0
    check(source, even @ Q)


def test_memory_that_changes_after_the_load(build):
    source = """
        threadgroup float tile[64];
        simdgroup_store(p, tile, 8);
        simdgroup_barrier(mem_flags::mem_threadgroup);
        M n, m;
        simdgroup_load(n, tile, 8);
        simdgroup_barrier(mem_flags::mem_threadgroup);
        simdgroup_store(q, tile, 8);
        simdgroup_multiply(m, n, r);
    """
    check(source, P @ R)


@pytest.mark.parametrize("type_", ["half", "bfloat"])
def test_sums_in_small_types(build, type_):
    source = f"""
        simdgroup_matrix<{type_}, 8, 8> a, n({type_}(1.0f));
        a.thread_elements()[0] = {type_}(p.thread_elements()[0]);
        a.thread_elements()[1] = {type_}(p.thread_elements()[1]);
        add_product(n, a, a);
        M m(0.0f);
        m.thread_elements()[0] = float(n.thread_elements()[0]);
        m.thread_elements()[1] = float(n.thread_elements()[1]);
    """
    check(source, P @ P + np.eye(8), tolerance=0.1 if type_ == "bfloat" else 0.02)


def test_transposed_loads_and_stores(build):
    source = "M n, m; simdgroup_load(n, x, 8, 0, true); simdgroup_multiply(m, q, n);"
    store = "simdgroup_store(m, out, 8, ulong2(0, 0), true);"
    check(source, (Q @ P.T).T, store=store)
