"""The types that kernels are compiled for, each with its headers in types/.

A row for each of formats/table.py. units_test.py compares both, and the `#include` lines.
"""

TYPES = {
    "iq1_m": [
        "grouped.h",
        "iq/iq1_grid.h",
        "iq/iq1_m.h",
    ],
    "iq1_s": [
        "grouped.h",
        "iq/iq1_grid.h",
        "iq/iq1_s.h",
    ],
    "iq2_s": [
        "grouped.h",
        "iq/iq2_s.h",
        "iq/iq2_values.h",
        "signs.h",
    ],
    "iq2_xs": [
        "grouped.h",
        "iq/iq2_values.h",
        "iq/iq2_xs.h",
        "signs.h",
    ],
    "iq2_xxs": [
        "grouped.h",
        "iq/iq2_values.h",
        "iq/iq2_xxs.h",
        "signs.h",
    ],
    "iq3_s": [
        "grouped.h",
        "iq/iq3_s.h",
        "iq/iq3_values.h",
        "signs.h",
    ],
    "iq3_xxs": [
        "grouped.h",
        "iq/iq3_values.h",
        "iq/iq3_xxs.h",
        "signs.h",
    ],
    "iq4_nl": [
        "grouped.h",
        "iq/iq4_nl.h",
        "iq/iq4_values.h",
    ],
    "iq4_xs": [
        "grouped.h",
        "iq/iq4_values.h",
        "iq/iq4_xs.h",
    ],
    "mxfp4": [
        "grouped.h",
        "small/e2m1.h",
        "small/mxfp4.h",
    ],
    "nvfp4": [
        "grouped.h",
        "small/e2m1.h",
        "small/nvfp4.h",
    ],
    "q1_0": [
        "grouped.h",
        "signs.h",
        "small/q1_0.h",
    ],
    "q2_k": [
        "grouped.h",
        "k/q2_k.h",
        "two_bit.h",
    ],
    "q3_k": [
        "grouped.h",
        "k/q3_k.h",
        "two_bit.h",
    ],
    "q4_0": [
        "legacy/block_32.h",
        "legacy/q4_0.h",
    ],
    "q4_1": [
        "legacy/block_32.h",
        "legacy/q4_1.h",
    ],
    "q4_k": [
        "k/q4_k.h",
        "k/six_bit.h",
    ],
    "q5_0": [
        "legacy/block_32.h",
        "legacy/q5_0.h",
    ],
    "q5_1": [
        "legacy/block_32.h",
        "legacy/q5_1.h",
    ],
    "q5_k": [
        "k/q5_k.h",
        "k/six_bit.h",
    ],
    "q6_k": [
        "k/q6_k.h",
    ],
    "q8_0": [
        "legacy/q8_0.h",
    ],
    "tq1_0": [
        "grouped.h",
        "small/tq1_0.h",
    ],
    "tq2_0": [
        "grouped.h",
        "small/tq2_0.h",
        "two_bit.h",
    ],
}
