"""python: the module extension that declares mlx_gguf_python and mlx_gguf_pip (see deps.bzl).

A root module may choose the packages; it then says so with one tag.

    python = use_extension("@mlx_gguf//tools/repo:extensions.bzl", "python")
    python.packages(requirements = "//:requirements.lock", python_version = "3.11")
    use_repo(python, "mlx_gguf_pip")
"""

load(":deps.bzl", "mlx_gguf_python_repositories")

_packages = tag_class(
    doc = "Python packages other than mlx_gguf's own. Only the root module is asked.",
    attrs = {
        "requirements": attr.label(
            doc = "a hash-locked requirements file",
            mandatory = True,
        ),
        "python_version": attr.string(
            doc = "the Python that the file was locked for, such as \"3.11\"",
            mandatory = True,
        ),
    },
)

def _python_impl(ctx):
    tags = [tag for module in ctx.modules if module.is_root for tag in module.tags.packages]
    if len(tags) > 1:
        fail("python.packages: expected at most one in the root module, found %d" % len(tags))
    if tags:
        mlx_gguf_python_repositories(tags[0].requirements, tags[0].python_version)
    else:
        mlx_gguf_python_repositories()

python = module_extension(
    doc = "Declares mlx_gguf_python and mlx_gguf_pip.",
    implementation = _python_impl,
    tag_classes = {"packages": _packages},
)
