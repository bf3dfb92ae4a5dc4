"""MLX's affine quantized kernels, from the headers inside the macOS wheel `mlx-metal`.

The wheel is downloaded by the lock's hash and unpacked into a cache, not installed. Which kernel
MLX 0.32 launches, and how, is in its mlx/backend/metal/quantized.cpp; here every one that it may
choose for a shape is a contender, so that the fastest on the GPU at hand can be the rival.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from backends.mlx import metal
from backends.mlx.common.cache import cache_folder
from backends.mlx.common.files import folder_written_whole
from backends.mlx.metal.cuda import rewrite
from backends.mlx.metal.text.unit import METAL_TYPES
from bench import data
from bench.launch import Buffer, Case, Launch, Numbers

GROUP = 32  # the group whose precision matches that of the K-quants' sub-blocks

# What Metal calls the 16-bit dtypes.
METAL_FLOATS = {"float16": "half", "bfloat16": "bfloat"}

_LOCK = Path(__file__).parents[1] / "third_party" / "pip" / "requirements.lock"
_KERNELS = "mlx/include/mlx/backend/metal/kernels/"
_HEADERS = ("steel/gemm/gemm.h", "quantized_utils.h", "quantized.h")

# What the headers say of Apple alone, and CUDA's form of it: the place of a lane in a matrix
# fragment; traits of pointers to each address space, of which CUDA sees one.
_PATCHES = (
    (r"const short fm = [^;]*;", "const short fm = MSL_FRAGMENT_ROW(simd_lane_id);"),
    (r"const short fn = [^;]*;", "const short fn = MSL_FRAGMENT_COLUMN(simd_lane_id);"),
    (
        r"template <typename T>\s*struct pointer_element<(device|constant|threadgroup) T\*> "
        r"\{.*?\};",
        "",
    ),
)

# Small helpers, whose own header is MLX's whole utils.h. The last is for batches only, which
# are not measured.
_PRELUDE = """\
namespace metal { template <typename T> using remove_addrspace_t = T; }
template <bool C, typename T, typename U>
struct ConditionalType : conditional<C, T, U> {};
template <typename... A> METAL_FUNC int64_t elem_to_loc(A...) { return 0; }
"""
# Kernels from here on are for gathers and for quantizing.
_FIRST_UNUSED = "affine_gather_qmv_fast"


def launches(case: Case) -> list[Launch]:
    """The kernels that MLX may launch for `case`."""
    n, m = case.outputs, case.rows
    found = []
    # From 6 to 32 rows on, by shape and GPU, MLX takes qmm.
    if m < 32 and n % 8 == 0 and case.columns % 512 == 0:
        grid = (m, -(-n // 8), 1)
        found.append(_launch(case, "mlx qmv", "affine_qmv_fast", "false", False, grid, (32, 2, 1)))
    if 2 <= m <= 12:
        tiles = -(-m // 5)
        vectors = -(-m // tiles)
        grid = (-(-m // vectors), -(-n // 8), 1)
        found.append(
            _launch(
                case,
                "mlx qmv_wide",
                "affine_qmv_wide",
                f"{vectors}, 8, false",
                True,
                grid,
                (32, 2, 1),
            )
        )
    if m >= 6:
        aligned = "true" if n % 32 == 0 else "false"
        grid = (-(-n // 32), -(-m // 32), 1)
        found.append(
            _launch(case, "mlx qmm", "affine_qmm_t", f"{aligned}, false", True, grid, (32, 2, 2))
        )
    return found


def mat_vec_text(dtype: str, bits: int, group: int = GROUP) -> str:
    """A complete Metal source with one kernel, `mat_vec`, around MLX's fast mat-vec."""
    folder = headers() / _KERNELS
    text = metal.flatten([folder / "quantized_utils.h", folder / "quantized.h"])
    text = text[: text.rindex("\ntemplate", 0, text.index("void qvm_impl("))]
    text = re.sub(r"constant bool \w+ \[\[function_constant\(\d+\)\]\];", "", text)
    return f"""\
#include <metal_stdlib>
#include <metal_simdgroup>
using namespace metal;
template <bool C, typename T, typename U> struct ConditionalType {{ using type = T; }};
template <typename T, typename U> struct ConditionalType<false, T, U> {{ using type = U; }};
{text}
[[kernel]] void mat_vec(
    const device uint32_t* w [[buffer(0)]],
    const device {dtype}* scales [[buffer(1)]],
    const device {dtype}* biases [[buffer(2)]],
    const device {dtype}* x [[buffer(3)]],
    device {dtype}* y [[buffer(4)]],
    const constant int& columns [[buffer(5)]],
    const constant int& outputs [[buffer(6)]],
    uint3 group [[threadgroup_position_in_grid]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]) {{
  qmv_fast_impl<{dtype}, {group}, {bits}>(
      w, scales, biases, x, y, columns, outputs, group, simdgroup, lane);
}}
"""


def _launch(case, contender, kernel, template, takes_rows, grid, threadgroup) -> Launch:
    dtype = METAL_TYPES[case.dtype]
    arguments = f"{dtype}, {GROUP}, {data.mlx_bits(case.type_name)}, {template}"
    symbol = "mlx_" + re.sub(r"\W+", "_", f"{kernel}_{arguments}")
    numbers = ["columns_", "outputs_"] + (["rows_"] if takes_rows else [])
    values = [case.columns, case.outputs] + ([case.rows] if takes_rows else [])
    scalars = ",\n    ".join(f"const __grid_constant__ msl::by_value<int> {n}" for n in numbers)
    attributes = ["msl::position(blockIdx)"]
    if kernel == "affine_qmm_t":
        attributes.append("msl::thread_index()")
    attributes += ["msl::thread_index() / 32u", "msl::thread_index() % 32u"]
    # Not batched: shapes and strides are not read.
    batch = "0, nullptr, nullptr, 0, nullptr, nullptr, nullptr, nullptr"
    source = f"""\
{_text()}
extern "C" __global__ void {symbol}(
    const uint32_t* w, const {dtype}* scales, const {dtype}* biases, const {dtype}* x,
    {dtype}* out,
    {scalars}) {{
  metal::mlx::{kernel}<{arguments}>(
      w, scales, biases, x, out, {", ".join(f"{n}.values[0]" for n in numbers)},
      {batch}, {", ".join(attributes)});
}}
"""
    buffers = [Buffer(name) for name in ("weight", "scales", "biases", "x", "out")]
    arguments = (*buffers, *(Numbers("int", (value,)) for value in values))
    # MLX widens 16-bit operands to float matrices, which cost the same on Apple GPUs.
    defines = ("MSL_ALIGNED_PACKED", f"MSL_FLOATS_FIT={METAL_FLOATS[case.dtype]}")
    return Launch(contender, source, symbol, arguments, grid, threadgroup, "affine", defines)


def _text() -> str:
    root = headers()
    text = metal.flatten([root / _KERNELS / name for name in _HEADERS], [root / "mlx/include"])
    text = text[: text.rindex("\ntemplate", 0, text.index(_FIRST_UNUSED))]
    for pattern, replacement in _PATCHES:
        text, count = re.subn(pattern, replacement, text, flags=re.DOTALL)
        if count == 0:
            raise RuntimeError(f"{root}: MLX's headers hold no {pattern!r}: the patch is outdated")
    return '#include "msl_cuda.h"\n' + rewrite(_PRELUDE + text, "mlx")


def headers() -> Path:
    """The folder with the unpacked headers; downloads them the first time."""
    version, hashes = _locked()
    root = cache_folder("mlx_headers") / f"mlx-metal-{version}"
    if not root.is_dir():
        with folder_written_whole(root) as folder, tempfile.TemporaryDirectory() as downloads:
            wheel = _download(version, hashes, Path(downloads))
            with zipfile.ZipFile(wheel) as archive:
                wanted = [n for n in archive.namelist() if n.startswith(_KERNELS)]
                archive.extractall(folder, wanted)
    return root


def _locked() -> tuple[str, str]:
    """The version of mlx-metal, and the hashes of its wheels as options of pip."""
    found = re.search(r"^mlx-metal==(\S+).*\n((?: +--hash=.*\n)+)", _LOCK.read_text(), re.M)
    if not found:
        raise RuntimeError(f"{_LOCK}: no mlx-metal with a hash")
    return found[1], found[2].replace("\\\n", "").strip()


def _download(version: str, hashes: str, folder: Path) -> Path:
    requirement = folder / "requirement.txt"
    requirement.write_text(f"mlx-metal=={version} {hashes}\n")
    options = [
        "--no-deps",
        "--only-binary=:all:",
        "--platform",
        "macosx_15_0_arm64",
        "--python-version",
        "3.11",
        "--require-hashes",
        "-r",
        str(requirement),
        "-d",
        str(folder),
    ]
    for python in (sys.executable, getattr(sys, "_base_executable", None), "python3"):
        if (
            python
            and not subprocess.run(
                [python, "-m", "pip", "--version"], capture_output=True
            ).returncode
        ):
            subprocess.run([python, "-m", "pip", "download", "--quiet", *options], check=True)
            return next(folder.glob("*.whl"))
    raise RuntimeError("no Python with pip to download mlx-metal with")
