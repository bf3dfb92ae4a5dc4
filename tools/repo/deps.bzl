"""The external repositories: all of them for a WORKSPACE, those of Python for modules too.

    local_repository(name = "mlx_gguf", path = "...")
    load("@mlx_gguf//tools/repo:deps.bzl", "mlx_gguf_dependencies", "mlx_gguf_toolchains")
    mlx_gguf_dependencies()
    mlx_gguf_toolchains()
"""

load("//tools/metal:host_compiler.bzl", "host_compiler")
load("//tools/python:host_python.bzl", "host_python")
load("//tools/python:pip_site.bzl", "pip_site")
load("//tools/repo:shims.bzl", "rules_cc_shim", "rules_python_shim")

_LOCK = Label("//third_party/pip:requirements.lock")

# Of these, the first that pip finds.
_TORCH_LOCKS = [
    Label("//third_party/pip:torch_cpu.lock"),
    Label("//third_party/pip:torch.lock"),
]

# Those that the lock has packages for. Tests were run with 3.11 and 3.13.
_PYTHONS = ["3.11", "3.13", "3.12", "3.14"]

def mlx_gguf_python_repositories(requirements = None, python_version = None):
    """Declares mlx_gguf_python, the host's Python, and mlx_gguf_pip, its packages.

    Args:
      requirements: label of a hash-locked requirements file, instead of this repository's.
      python_version: the Python that the file was locked for, such as "3.11".
    """
    if bool(requirements) != bool(python_version):
        fail("mlx_gguf: expected requirements and python_version or neither, found one of them")
    versions = [python_version] if requirements else _PYTHONS
    host_python(
        name = "mlx_gguf_python",
        versions = versions,
    )
    host_compiler(
        name = "mlx_gguf_cxx",
        python_versions = versions,
    )
    pip_site(
        name = "mlx_gguf_pip",
        one_of = [] if requirements else _TORCH_LOCKS,
        requirements = requirements or _LOCK,
        versions = versions,
    )

def mlx_gguf_dependencies(requirements = None, python_version = None):
    """Declares every repository; a rules_* that the caller declared before stays.

    Args:
      requirements: label of a hash-locked requirements file, instead of this repository's.
      python_version: the Python that the file was locked for, such as "3.11".
    """
    declared = native.existing_rules()
    if "rules_cc" not in declared:
        rules_cc_shim(name = "rules_cc")
    if "rules_python" not in declared:
        rules_python_shim(name = "rules_python")
    mlx_gguf_python_repositories(requirements, python_version)

def mlx_gguf_toolchains():
    """Registers the Python and Metal toolchains."""
    native.register_toolchains(
        "@mlx_gguf_python//:toolchain",
        "@mlx_gguf//tools/metal/toolchains:all",
    )
