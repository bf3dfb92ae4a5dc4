"""The host's Python as a Bazel toolchain, checked for its version."""

_BUILD = """
load("@rules_python//python:defs.bzl", "py_runtime", "py_runtime_pair")

package(default_visibility = ["//visibility:public"])

py_runtime(
    name = "runtime",
    interpreter = "python",
    python_version = "PY3",
    # Starts the launcher, which starts the interpreter; Bazel 4 would ask for `python`.
    stub_shebang = "#!/usr/bin/env python3",{version_info}
)

py_runtime_pair(
    name = "pair",
    py3_runtime = ":runtime",
)

toolchain(
    name = "toolchain",
    toolchain = ":pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

# No path of this machine is in it, so that what is built with it is the same in every folder.
_INTERPRETER = """\
#!/bin/sh
# Starts the virtual environment beside this file.
exec "$(dirname "$(readlink -f "$0")")/venv/bin/python" "$@"
"""

# What rules_python knows of since it has a toolchain for build-time tools; without one of
# ours it would download an interpreter for them.
_VERSION_INFO = """
    interpreter_version_info = {{
        "major": "{major}",
        "minor": "{minor}",
    }},"""

_EXEC_TOOLS = """
load("@rules_python//python:py_exec_tools_toolchain.bzl", "py_exec_tools_toolchain")

py_exec_tools_toolchain(
    name = "exec_tools",
    exec_interpreter = ":pair",
)

toolchain(
    name = "exec_tools_toolchain",
    toolchain = ":exec_tools",
    toolchain_type = "@rules_python//python:exec_tools_toolchain_type",
)
"""

_PROBE = "import pip, venv, sys; print(sys.executable); print('%d.%d' % sys.version_info[:2])"

def find_python(ctx, versions):
    """Finds a Python of the host, of one of these versions (["3.11"]), with pip and venv.

    MLX_GGUF_PYTHON, python3.11 and so on, and python3 are tried in this order; fails with
    what each of them was when none fits. `bazelw` looks for all of them but python3.

    Returns:
      struct(path, version): of the interpreter, and the one of `versions` that it is.
    """
    tried = []
    names = ["python" + version for version in versions]
    for name in [ctx.os.environ.get("MLX_GGUF_PYTHON")] + names + ["python3"]:
        path = ctx.which(name) if name and "/" not in name else name
        if not path:
            continue
        probe = ctx.execute([path, "-c", _PROBE])
        if probe.return_code != 0:
            tried.append("%s: %s" % (path, probe.stderr.strip().split("\n")[-1]))
            continue
        executable, found = probe.stdout.strip().split("\n")
        if found in versions:
            return struct(path = executable, version = found)
        tried.append("%s is Python %s" % (path, found))
    fail("Python %s is needed: set MLX_GGUF_PYTHON to its path. Tried: %s" %
         (" or ".join(versions), "; ".join(tried) or "nothing found on PATH"))

def _impl(ctx):
    python = find_python(ctx, ctx.attr.versions)

    # A bare virtual environment hides the host's own site-packages.
    venv = ctx.execute([python.path, "-m", "venv", "--without-pip", "venv"])
    if venv.return_code != 0:
        fail("%s -m venv: %s" % (python.path, (venv.stdout + venv.stderr).strip()))
    ctx.file("WORKSPACE", "")
    rules = ctx.path(Label("@rules_python//python:defs.bzl")).dirname
    exec_tools = rules.get_child("py_exec_tools_toolchain.bzl").exists
    major, minor = python.version.split(".")
    ctx.file("BUILD.bazel", _BUILD.format(
        version_info = _VERSION_INFO.format(major = major, minor = minor) if exec_tools else "",
    ) + (_EXEC_TOOLS if exec_tools else ""))
    ctx.file("python", _INTERPRETER)

host_python = repository_rule(
    implementation = _impl,
    attrs = {"versions": attr.string_list(mandatory = True, doc = "such as [\"3.11\"]; the first goes first")},
    configure = True,
    environ = ["MLX_GGUF_PYTHON", "PATH"],
    local = True,
)
