"""metal_library: Metal kernels, checked and compiled as MLX would compile them.

    metal_library(
        name = "metal",
        srcs = ["qmv.metal"],
        hdrs = ["common.h"],
        units = ":units.json",
    )

`units` lists each kernel to build with its types, so that what is compiled is the complete
text that MLX generates on the device. The outputs lie beside the package's own files:

  * `<name>.sources/`: one complete `.metal` text a unit (output group `flattened`);
  * `<name>.address_spaces.txt`: the report of the address-space check, which must succeed
    before anything is compiled;
  * on Linux `<name>.checked.so` and `<name>.fast.so`, on macOS `<name>.metallib`. What a
    program needs of them is a metal_runtime.
"""

load(":metal_toolchain.bzl", "METAL_TOOLCHAIN_TYPE")

MetalLibraryInfo = provider(
    doc = "What a metal_library offers to rules that depend on it.",
    fields = {
        "headers": "depset of the header files",
        "flattened": "folder (File) with the complete text of every unit",
        "compiled": "depset of the compiled files, of the target platform's kind",
        "runtime": "depset of those that programs need; the others are for tests",
    },
)

def _root(ctx):
    """The folder from which the units name their files: the package's own."""
    for file in ctx.files.srcs + ctx.files.hdrs:
        if not file.is_source:
            fail("%s: %s is generated, expected a source file" % (ctx.label, file.short_path))
    return "/".join([p for p in [ctx.label.workspace_root, ctx.label.package] if p]) or "."

def _build(ctx, executable, arguments, step, out, inputs, what):
    args = ctx.actions.args()
    args.add_all(arguments, expand_directories = False)
    args.add("--step", step)

    # Unlike add(), add_all() takes a folder too.
    args.add_all("--out", [out], expand_directories = False)
    ctx.actions.run(
        executable = executable,
        arguments = [args],
        inputs = inputs,
        outputs = [out],
        mnemonic = "Metal" + step.capitalize(),
        progress_message = "%s of %s" % (what, ctx.label),
        env = ctx.toolchains[METAL_TOOLCHAIN_TYPE].metal.environment,
    )

def _metal_library_impl(ctx):
    name = ctx.label.name
    toolchain = ctx.toolchains[METAL_TOOLCHAIN_TYPE].metal
    builder = ctx.attr._builder[DefaultInfo].files_to_run
    units = ["--units", ctx.file.units, "--root", _root(ctx)]
    inputs = [ctx.file.units] + ctx.files.srcs + ctx.files.hdrs

    flattened = ctx.actions.declare_directory(name + ".sources")
    _build(ctx, builder, units, "sources", flattened, inputs, "Metal texts")
    report = ctx.actions.declare_file(name + ".address_spaces.txt")
    _build(ctx, builder, units, "address", report, inputs, "Address-space check")

    compiled = []
    runtime = []
    for build, extension in toolchain.libraries.items():
        out = ctx.actions.declare_file(name + extension)
        arguments = units if toolchain.reads == "units" else ["--sources", flattened]

        # The report is not read: as an input it makes the check come first.
        read = [report] + (inputs if toolchain.reads == "units" else [flattened])
        if build in toolchain.prepared:
            arguments = arguments + ["--prepared", toolchain.prepared[build]]
            read.append(toolchain.prepared[build])
        what = "Metal library (%s)" % build
        _build(ctx, toolchain.compiler, arguments, build, out, read, what)
        compiled.append(out)
        if build not in toolchain.checks:
            runtime.append(out)

    return [
        DefaultInfo(
            files = depset(compiled + [report]),
            runfiles = ctx.runfiles(compiled),
        ),
        OutputGroupInfo(flattened = depset([flattened])),
        MetalLibraryInfo(
            headers = depset(ctx.files.hdrs),
            flattened = flattened,
            compiled = depset(compiled),
            runtime = depset(runtime),
        ),
    ]

metal_library = rule(
    doc = "Checks and compiles Metal kernels; see the head of this file.",
    implementation = _metal_library_impl,
    attrs = {
        "srcs": attr.label_list(
            allow_files = [".metal"],
            doc = "Kernel bodies.",
            mandatory = True,
        ),
        "hdrs": attr.label_list(
            allow_files = [".h"],
            doc = "What the bodies include.",
        ),
        "units": attr.label(
            allow_single_file = [".json"],
            doc = "Units file; its paths are relative to this package's folder.",
            mandatory = True,
        ),
        "_builder": attr.label(
            cfg = "exec",
            default = Label("//backends/mlx/metal:build_library"),
            executable = True,
        ),
        # All actions run where the toolchain was found to. To say so action by action takes
        # a parameter of actions.run that Bazel 4 lacks.
        "_use_auto_exec_groups": attr.bool(default = False),
    },
    provides = [MetalLibraryInfo],
    toolchains = [METAL_TOOLCHAIN_TYPE],
)
