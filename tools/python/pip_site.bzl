"""Python packages of a hash-locked requirements file, as one folder.

install_site.py installs the folder once into a cache that checkouts share. Targets take
it as ONE source directory: one symlink in a runfiles tree, not one for each of 25,000
files. Every `@repository//:<package>` therefore stands for the whole folder; naming the
packages one by one still says what a target needs, and fails for what is not locked.
"""

load(":host_python.bzl", "find_python")

_HEAD = """
load("@mlx_gguf//tools/python:python_version.bzl", "python_version")
load("@rules_python//python:defs.bzl", "py_library")

package(default_visibility = ["//visibility:public"])

python_version(
    name = "python_version",
    version = "{version}",
)

# site.txt lists what is installed: Bazel sees that it changed, as it cannot for a folder.
py_library(
    name = "site_packages",
    data = [
        "site",
        "site.txt",
        ":python_version",
    ],
    imports = ["site"],
)
"""

_PACKAGE = """
py_library(
    name = "{name}",
    deps = [":site_packages"],
)
"""

def _impl(ctx):
    python = find_python(ctx, ctx.attr.versions)
    requirements = ctx.path(ctx.attr.requirements)
    one_of = [ctx.path(lock) for lock in ctx.attr.one_of]
    ctx.report_progress("installing %s (minutes, the first time)" % requirements.basename)
    command = [python.path, ctx.path(ctx.attr._install_site), requirements]
    if one_of:
        command += ["--one-of"] + one_of
    install = ctx.execute(command, timeout = 3600)
    if install.return_code != 0:
        fail("\n" + install.stderr.strip())
    site = install.stdout.strip()
    ctx.symlink(site, "site")
    listing = ctx.read(site + "/site.txt")
    ctx.file("site.txt", listing)
    ctx.file("WORKSPACE", "")

    # A package that the lock has for other machines alone is there, too, and empty.
    lines = "\n".join([ctx.read(lock) for lock in [requirements] + one_of]).split("\n")
    locked = [line for line in lines if line[:1] not in ["", " ", "#"]]
    names = {line.split("==")[0]: None for line in listing.strip().split("\n") + locked}
    ctx.file("BUILD.bazel", _HEAD.format(version = python.version) + "".join([
        _PACKAGE.format(name = name.replace("-", "_"))
        for name in names
    ]))

pip_site = repository_rule(
    implementation = _impl,
    attrs = {
        "requirements": attr.label(mandatory = True, allow_single_file = True),
        "one_of": attr.label_list(allow_files = True, doc = "Of these the first that pip finds."),
        "versions": attr.string_list(mandatory = True, doc = "of Python, such as [\"3.11\"]"),
        "_install_site": attr.label(default = Label("//tools/python:install_site.py")),
    },
    environ = ["HOME", "MLX_GGUF_PYTHON", "MLX_GGUF_SITES", "XDG_CACHE_HOME"],
    # Looks at the cache again in each new Bazel server: a cache that was emptied is refilled.
    local = True,
)
