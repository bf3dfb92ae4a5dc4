"""One-file stand-ins for rules_python and rules_cc that re-export the native rules.

Bazel 4 to 7 have these rules built in, so that the usual `load` lines work with
nothing downloaded.
"""

_PYTHON_DEFS = """
load("@bazel_tools//tools/python:toolchain.bzl", _py_runtime_pair = "py_runtime_pair")

py_library = native.py_library
py_binary = native.py_binary
py_test = native.py_test
py_runtime = native.py_runtime
py_runtime_pair = _py_runtime_pair
"""

_CC_DEFS = """
cc_library = native.cc_library
cc_binary = native.cc_binary
cc_test = native.cc_test
cc_import = native.cc_import
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
"""

def _write(ctx, package, defs):
    ctx.file("WORKSPACE", "")
    ctx.file(package + "/BUILD.bazel", "exports_files([\"defs.bzl\"])\n")
    ctx.file(package + "/defs.bzl", defs)

def _rules_python_impl(ctx):
    _write(ctx, "python", _PYTHON_DEFS)

def _rules_cc_impl(ctx):
    _write(ctx, "cc", _CC_DEFS)

rules_python_shim = repository_rule(implementation = _rules_python_impl)
rules_cc_shim = repository_rule(implementation = _rules_cc_impl)
