"""The build flag that says how GGUF weights are lowered, and a file that holds its value.

    build_mode(name = "build_mode", out = "build_mode.txt")

`fused` leaves the blocks as they are in the GGUF file for kernels that read them; `repack`
converts them to MLX's own quantizations at export.
"""

MODES = ["fused", "repack"]

# What is the same in every mode is built with this one, once: see any_mode.bzl.
ANY = "any"

ModeInfo = provider(
    doc = "The value of a mode_flag.",
    fields = {"mode": "one of MODES, or ANY"},
)

def _check(label, mode, allowed):
    if mode not in allowed:
        fail("%s: expected one of %s, found \"%s\"" % (label, ", ".join(MODES), mode))

def _mode_flag_impl(ctx):
    mode = ctx.build_setting_value
    _check(ctx.label, mode, MODES + [ANY])
    return ModeInfo(mode = mode)

mode_flag = rule(
    doc = "A string flag that takes one of MODES.",
    implementation = _mode_flag_impl,
    build_setting = config.string(flag = True),
)

def _build_mode_impl(ctx):
    mode = ctx.attr._flag[ModeInfo].mode
    _check(ctx.attr._flag.label, mode, MODES)
    ctx.actions.write(ctx.outputs.out, mode + "\n")
    return DefaultInfo(runfiles = ctx.runfiles([ctx.outputs.out]))

build_mode = rule(
    doc = "Writes the flag's value into a file, for a program to read as data.",
    implementation = _build_mode_impl,
    attrs = {
        "out": attr.output(mandatory = True),
        "_flag": attr.label(default = Label("//backends/mlx/gguf:mode")),
    },
)
