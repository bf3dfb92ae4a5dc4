"""any_mode: a metal_library that is built once, whatever the mode.

    any_mode(name = "library", library = ":metal")

A flag's value is part of every target's configuration: without this, Bazel would compile all
kernels again for `--config=repack`. `library` is built in no other configuration: tag it `manual`.
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

def _any_mode_impl(ctx):
    # An attribute with a transition is a list, of one target here.
    library = ctx.attr.library[0]
    files = library[DefaultInfo]
    return [
        DefaultInfo(files = files.files, runfiles = files.default_runfiles),
        library[OutputGroupInfo],
        library[MetalLibraryInfo],
    ]

any_mode = rule(
    doc = "Builds `library` in one configuration for all modes.",
    implementation = _any_mode_impl,
    attrs = {
        "library": attr.label(
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
