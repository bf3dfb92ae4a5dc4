"""The toolchain behind metal_library: what turns checked Metal into compiled files."""

METAL_TOOLCHAIN_TYPE = str(Label("//tools/metal/toolchains:toolchain_type"))

# On Linux each kernel is compiled twice: under the checker, and optimised.
HOST_BUILDS = [
    "checked",
    "fast",
]

# An action sees nothing of the user's shell. Each takes one thread: Bazel starts several.
HOST_ENVIRONMENT = {
    "LC_ALL": "C",
    "MLX_GGUF_METAL_THREADS": "1",
    "PATH": "/usr/bin:/bin",
}

MetalToolchainInfo = provider(
    doc = "How a platform compiles a metal_library.",
    fields = {
        "checks": "list of those builds of which only tests need the compiled file",
        "compiler": "FilesToRunProvider of the program that writes one compiled file",
        "environment": "dict of the variables that the compiler sees; it sees no others",
        "libraries": "dict from a build, the compiler's --step, to the compiled file's extension",
        "prepared": "dict from a build to the folder (File) that all its compiled files share",
        "reads": "what the compiler takes: \"units\" (--units and --root) or \"sources\"",
    },
)

def _metal_prepared_impl(ctx):
    folder = ctx.actions.declare_directory(ctx.label.name)
    args = ctx.actions.args()
    args.add("--step", ctx.attr.step)
    args.add_all("--out", [folder], expand_directories = False)
    ctx.actions.run(
        executable = ctx.attr.compiler[DefaultInfo].files_to_run,
        arguments = [args],
        outputs = [folder],
        mnemonic = "MetalPrepare",
        progress_message = "What Metal libraries share: %s" % ctx.label,
        env = ctx.attr.environment,
    )
    return [DefaultInfo(files = depset([folder]))]

_COMPILER = attr.label(
    allow_files = True,
    cfg = "exec",
    doc = "Called with what it `reads`, --step BUILD and --out FILE.",
    executable = True,
    mandatory = True,
)
_ENVIRONMENT = attr.string_dict(doc = "The variables that the compiler sees.")

metal_prepared = rule(
    doc = "What a compiler makes once, for all compiled files of one build: a folder.",
    implementation = _metal_prepared_impl,
    attrs = {
        "compiler": _COMPILER,
        "environment": _ENVIRONMENT,
        "step": attr.string(
            doc = "The compiler is called with --step STEP and --out FOLDER.",
            mandatory = True,
        ),
    },
)

def _metal_prepared_data_impl(ctx):
    prepared = ctx.toolchains[METAL_TOOLCHAIN_TYPE].metal.prepared
    files = depset(prepared.values())
    return [DefaultInfo(files = files, runfiles = ctx.runfiles(transitive_files = files))]

metal_prepared_data = rule(
    doc = "What the toolchain's compiler made once, for kernels that are compiled when called.",
    implementation = _metal_prepared_data_impl,
    toolchains = [METAL_TOOLCHAIN_TYPE],
)

def _metal_toolchain_impl(ctx):
    return [platform_common.ToolchainInfo(metal = MetalToolchainInfo(
        compiler = ctx.attr.compiler[DefaultInfo].files_to_run,
        checks = ctx.attr.checks,
        environment = ctx.attr.environment,
        libraries = ctx.attr.libraries,
        prepared = {
            build: target[DefaultInfo].files.to_list()[0]
            for target, build in ctx.attr.prepared.items()
        },
        reads = ctx.attr.reads,
    ))]

metal_toolchain = rule(
    doc = "Declares a compiler that is run once for each entry of `libraries`.",
    implementation = _metal_toolchain_impl,
    attrs = {
        "checks": attr.string_list(
            doc = "Those of `libraries` that tests need and programs do not.",
        ),
        "compiler": _COMPILER,
        "environment": _ENVIRONMENT,
        "libraries": attr.string_dict(
            doc = "From BUILD to the extension of FILE, such as {\"fast\": \".fast.so\"}.",
            mandatory = True,
        ),
        "prepared": attr.label_keyed_string_dict(
            cfg = "exec",
            doc = "From a metal_prepared to the BUILD whose compilations get it, as --prepared.",
        ),
        "reads": attr.string(
            doc = "`units`: --units FILE --root FOLDER. `sources`: --sources FOLDER, " +
                  "which holds the complete text of every unit.",
            mandatory = True,
            values = ["sources", "units"],
        ),
    },
)
