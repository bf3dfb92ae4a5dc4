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

_REQUIREMENTS = Label("//third_party/pip:requirements.lock")
_PYTHON = "3.11"

def mlx_gguf_python_repositories(requirements = _REQUIREMENTS, python_version = _PYTHON):
    """Declares mlx_gguf_python, the host's Python, and mlx_gguf_pip, its packages.

    Args:
      requirements: label of a hash-locked requirements file.
      python_version: the Python that the file was locked for, such as "3.11".
    """
    host_python(
        name = "mlx_gguf_python",
        version = python_version,
    )
    host_compiler(
        name = "mlx_gguf_cxx",
        python_version = python_version,
    )
    pip_site(
        name = "mlx_gguf_pip",
        requirements = requirements,
        version = python_version,
    )

def mlx_gguf_dependencies(requirements = _REQUIREMENTS, python_version = _PYTHON):
    """Declares every repository; a rules_* that the caller declared before stays.

    Args:
      requirements: label of a hash-locked requirements file.
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
