"""any_mode: metal_libraries as one, built once, whatever the mode.

    any_mode(name = "library", libraries = [":q4_k", ":q8_0"])

A flag's value is part of every target's configuration: without this, Bazel would compile all
kernels again for `--config=repack`. `libraries` are built in no other configuration: tag them
`manual`, and let nothing else see them.
"""

load("//tools/metal:metal_library.bzl", "MetalLibraryInfo")
load(":mode.bzl", "ANY")

_MODE = str(Label("//backends/mlx/gguf:mode"))

def _to_any_mode_impl(_settings, _attr):
    return {_MODE: ANY}

_to_any_mode = transition(
    implementation = _to_any_mode_impl,
    inputs = [],
    outputs = [_MODE],
)

def _flattened(ctx):
    """One folder with the texts of all."""
    folders = [library[MetalLibraryInfo].flattened for library in ctx.attr.libraries]
    if len(folders) == 1:
        return folders[0]
    folder = ctx.actions.declare_directory(ctx.label.name + ".sources")
    args = ctx.actions.args()
    args.add_all([folder] + folders, expand_directories = False)
    ctx.actions.run_shell(
        command = "out=$1; shift; for folder; do cp -L \"$folder\"/* \"$out\"; done",
        arguments = [args],
        inputs = folders,
        outputs = [folder],
        mnemonic = "MetalFlattened",
    )
    return folder

def _any_mode_impl(ctx):
    info = [library[MetalLibraryInfo] for library in ctx.attr.libraries]
    files = [library[DefaultInfo].files for library in ctx.attr.libraries]
    compiled = depset(transitive = [library.compiled for library in info])
    flattened = _flattened(ctx)
    return [
        DefaultInfo(
            files = depset(transitive = files),
            runfiles = ctx.runfiles(transitive_files = compiled),
        ),
        OutputGroupInfo(flattened = depset([flattened])),
        MetalLibraryInfo(
            headers = depset(transitive = [library.headers for library in info]),
            flattened = flattened,
            compiled = compiled,
            runtime = depset(transitive = [library.runtime for library in info]),
        ),
    ]

any_mode = rule(
    doc = "Builds `libraries` in one configuration for all modes, and is a metal_library of all.",
    implementation = _any_mode_impl,
    attrs = {
        "libraries": attr.label_list(
            cfg = _to_any_mode,
            mandatory = True,
            providers = [MetalLibraryInfo],
        ),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
    },
    provides = [MetalLibraryInfo],
)
