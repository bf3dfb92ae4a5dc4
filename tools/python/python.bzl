"""python_library and python_binary: Python targets whose imports start at this repository's root.

    python_library(name = "formats", deps = ["@mlx_gguf_pip//:numpy"])
    python_binary(name = "export", srcs = ["export.py"], deps = [":command"])

Both give their package a `tree` (see source_tree.bzl), for tests that need its sources.
"""

load("@rules_python//python:defs.bzl", "py_binary", "py_library")
load("//tools/repo:source_tree.bzl", "source_tree")

# A package's library: its modules but for tests and what only tests use.
_NOT_OF_A_LIBRARY = ["*_test.py", "testing*.py", "conftest.py"]

def _root():
    """The path from this package to the root, which all imports start from."""
    return "/".join([".." for _ in native.package_name().split("/")])

def python_library(*, name, srcs = None, **kwargs):
    """A py_library.

    Args:
      name: name of the target.
      srcs: its modules; by default those of the folder, without tests and testing*.py.
      **kwargs: passed to py_library.
    """
    if native.existing_rule("tree") == None:
        source_tree(name = "tree")
    py_library(
        name = name,
        srcs = native.glob(["*.py"], exclude = _NOT_OF_A_LIBRARY) if srcs == None else srcs,
        imports = [_root()],
        **kwargs
    )

def python_binary(*, name, srcs, data = [], deps = [], testonly = False, **kwargs):
    """A py_binary NAME, and its twin NAME_lib: the same as a library, for tests.

    Args:
      name: name of the program.
      srcs: its modules; the first is the one that is run.
      data: files it reads.
      deps: libraries.
      testonly: only tests may use it.
      **kwargs: passed to py_binary.
    """
    python_library(
        name = name + "_lib",
        testonly = testonly,
        srcs = srcs,
        data = data,
        deps = deps,
    )
    py_binary(
        name = name,
        testonly = testonly,
        srcs = srcs,
        main = srcs[0],
        legacy_create_init = False,
        python_version = "PY3",
        deps = [":%s_lib" % name],
        **kwargs
    )
