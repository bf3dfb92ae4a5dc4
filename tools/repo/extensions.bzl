"""The repositories of deps.bzl, for module mode."""

load(":deps.bzl", "mlx_gguf_python_repositories")

def _impl(_ctx):
    mlx_gguf_python_repositories()

python_repositories = module_extension(implementation = _impl)
