"""host_compiler: finds the C++ compiler that kernels are compiled with on Linux.

The repository's `compiler.json` has its command and version: what is compiled depends on it, so
that another compiler is another build. `backends/mlx/metal/compiler.py` decides, here as anywhere.
"""

load("//tools/python:host_python.bzl", "find_python")

# Where kernels are for Apple's compiler, there is none.
_NONE = "{\"command\": [], \"version\": \"none\"}\n"

def _impl(ctx):
    found = _NONE
    if not ctx.os.name.startswith("mac"):
        program = ctx.path(ctx.attr._program)
        root = ctx.path(ctx.attr._root).dirname
        python = find_python(ctx, ctx.attr.python_versions)
        done = ctx.execute([python.path, "-P", program], environment = {"PYTHONPATH": str(root)})
        if done.return_code != 0:
            fail("\n" + done.stderr.strip())
        found = done.stdout
    ctx.file("WORKSPACE", "")
    ctx.file("BUILD.bazel", "exports_files([\"compiler.json\"])\n")
    ctx.file("compiler.json", found)

host_compiler = repository_rule(
    implementation = _impl,
    attrs = {
        "python_versions": attr.string_list(mandatory = True, doc = "such as [\"3.11\"]"),
        "_program": attr.label(default = Label("//backends/mlx/metal:compiler.py")),
        "_root": attr.label(default = Label("//:BUILD.bazel")),
    },
    configure = True,
    environ = ["CXX", "MLX_GGUF_PYTHON", "PATH"],
    local = True,
)
