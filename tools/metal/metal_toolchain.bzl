"""The toolchain behind metal_library: what turns checked Metal into compiled files."""

METAL_TOOLCHAIN_TYPE = str(Label("//tools/metal/toolchains:toolchain_type"))

MetalToolchainInfo = provider(
    doc = "How a platform compiles a metal_library.",
    fields = {
        "checks": "list of those builds of which only tests need the compiled file",
        "compiler": "FilesToRunProvider of the program that writes one compiled file",
        "libraries": "dict from a build, the compiler's --step, to the compiled file's extension",
        "reads": "what the compiler takes: \"units\" (--units and --root) or \"sources\"",
    },
)

def _metal_toolchain_impl(ctx):
    return [platform_common.ToolchainInfo(metal = MetalToolchainInfo(
        compiler = ctx.attr.compiler[DefaultInfo].files_to_run,
        checks = ctx.attr.checks,
        libraries = ctx.attr.libraries,
        reads = ctx.attr.reads,
    ))]

metal_toolchain = rule(
    doc = "Declares a compiler that is run once for each entry of `libraries`.",
    implementation = _metal_toolchain_impl,
    attrs = {
        "checks": attr.string_list(
            doc = "Those of `libraries` that tests need and programs do not.",
        ),
        "compiler": attr.label(
            cfg = "exec",
            doc = "Called with what it `reads`, --step BUILD and --out FILE.",
            executable = True,
            mandatory = True,
        ),
        "libraries": attr.string_dict(
            doc = "From BUILD to the extension of FILE, such as {\"fast\": \".fast.so\"}.",
            mandatory = True,
        ),
        "reads": attr.string(
            doc = "`units`: --units FILE --root FOLDER. `sources`: --sources FOLDER, " +
                  "which holds the complete text of every unit.",
            mandatory = True,
            values = ["sources", "units"],
        ),
    },
)
