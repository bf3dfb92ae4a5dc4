"""The packages of this repository, by what needs their files. Each has a filegroup `tree`."""

# What another workspace builds, and //tests/downstream copies.
FOR_OTHER_WORKSPACES = [
    "//",
    "//backends/mlx/common",
    "//backends/mlx/gguf",
    "//backends/mlx/gguf/formats",
    "//backends/mlx/gguf/kernels",
    "//backends/mlx/gguf/lowering",
    "//backends/mlx/metal",
    "//backends/mlx/metal/host",
    "//backends/mlx/metal/text",
    "//backends/mlx/overlay",
    "//backends/mlx/program",
    "//backends/mlx/runner",
    "//third_party/bazel4/remote_coverage_tools",
    "//third_party/pip",
    "//tools/metal",
    "//tools/metal/toolchains",
    "//tools/python",
    "//tools/repo",
]

_OF_THIS_ONE = [
    "//backends/mlx/gguf/checkpoint",
    "//backends/mlx/gguf/command",
    "//backends/mlx/gguf/generation",
    "//backends/mlx/gguf/model",
    "//backends/mlx/gguf/tokenizer",
    "//backends/mlx/metal/cuda",
    "//backends/mlx/metal/tests",
    "//bench",
    "//docs",
    "//tests/additions",
    "//tests/bazel",
    "//tests/downstream",
    "//tests/field",
    "//tests/graph",
    "//tests/models",
    "//tests/robustness",
    "//tools/lint",
]

ALL = FOR_OTHER_WORKSPACES + _OF_THIS_ONE

def trees(packages):
    """The labels of the files of `packages`."""
    return [package + ":tree" for package in packages]
