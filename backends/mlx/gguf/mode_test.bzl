"""mode_test: runs a pytest_test as one mode's build has it, whatever mode this build is of.

    mode_test(
        name = "default_mode_repack_test",
        size = "medium",
        args = ["--threads=1", "backends/mlx/gguf/lowering/default_mode_test.py"],
        mode = "repack",
        test = ":default_mode_test",
    )

So `bazel test //...` covers both modes of what depends on the flag; `--config=repack` tests all of
a package in that mode. `args` and `env` are those of `test`, which a rule cannot ask it for.
"""

load(":mode.bzl", "MODES")

_MODE = str(Label("//backends/mlx/gguf:mode"))

def _to_mode_impl(_settings, attr):
    return {_MODE: attr.mode}

_to_mode = transition(
    implementation = _to_mode_impl,
    inputs = [],
    outputs = [_MODE],
)

def _mode_test_impl(ctx):
    # An attribute with a transition is a list, of one target here.
    test = ctx.attr.test[0][DefaultInfo]
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(
        output = executable,
        is_executable = True,
        target_file = test.files_to_run.executable,
    )
    return [
        DefaultInfo(
            executable = executable,
            runfiles = ctx.runfiles([executable]).merge(test.default_runfiles),
        ),
        testing.TestEnvironment(ctx.attr.env),
    ]

mode_test = rule(
    doc = "Runs `test`, built in `mode`.",
    implementation = _mode_test_impl,
    attrs = {
        "env": attr.string_dict(doc = "The variables of the test."),
        "mode": attr.string(
            mandatory = True,
            values = MODES,
        ),
        "test": attr.label(
            cfg = _to_mode,
            mandatory = True,
        ),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
    },
    test = True,
)
