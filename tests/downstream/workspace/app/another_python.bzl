"""another_python: a Python toolchain that says it is Python 3.1, which no package fits."""

def _another_python_impl(_ctx):
    version = struct(major = 3, minor = 1)
    runtime = struct(interpreter_version_info = version)
    return [platform_common.ToolchainInfo(py3_runtime = runtime)]

another_python = rule(
    doc = "The toolchain; it can run nothing.",
    implementation = _another_python_impl,
)
