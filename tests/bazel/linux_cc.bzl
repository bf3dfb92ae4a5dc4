"""linux_cc: the C++ toolchain of a Linux machine, for whatever platform it is asked.

Bazel's Python rules ask for a C++ toolchain and compile nothing: where a build for another
platform is only analysed, this one stands in for that platform's.
"""

_LINUX = str(Label("//tests/bazel:linux"))

def _to_linux_impl(_settings, _attr):
    return {
        "//command_line_option:extra_toolchains": [],
        "//command_line_option:host_platform": _LINUX,
        "//command_line_option:platforms": [_LINUX],
    }

_to_linux = transition(
    implementation = _to_linux_impl,
    inputs = [],
    outputs = [
        "//command_line_option:extra_toolchains",
        "//command_line_option:host_platform",
        "//command_line_option:platforms",
    ],
)

def _linux_cc_impl(ctx):
    return [ctx.attr._linux[0][platform_common.ToolchainInfo]]

linux_cc = rule(
    doc = "The toolchain.",
    implementation = _linux_cc_impl,
    attrs = {
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
        "_linux": attr.label(
            cfg = _to_linux,
            default = "@bazel_tools//tools/cpp:current_cc_toolchain",
        ),
    },
)
