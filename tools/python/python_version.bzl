"""python_version: refuses a Python toolchain that is not of the version that packages are for."""

_TOOLCHAIN_TYPE = "@bazel_tools//tools/python:toolchain_type"

def _python_version_impl(ctx):
    runtime = ctx.toolchains[_TOOLCHAIN_TYPE].py3_runtime

    # Those of Bazel 7 and earlier do not say which version they are.
    info = getattr(runtime, "interpreter_version_info", None)
    if info:
        found = "%d.%d" % (info.major, info.minor)
        if found != ctx.attr.version:
            fail("%s: expected a Python toolchain of version %s, found %s" %
                 (ctx.label, ctx.attr.version, found))
    return []

python_version = rule(
    doc = "Builds if the Python toolchain is of this version, or does not say.",
    implementation = _python_version_impl,
    attrs = {"version": attr.string(doc = "such as \"3.11\"", mandatory = True)},
    toolchains = [_TOOLCHAIN_TYPE],
)
