"""metal_runtime: what a program needs of a metal_library, without what only tests need."""

load(":metal_library.bzl", "MetalLibraryInfo")

def _metal_runtime_impl(ctx):
    files = ctx.attr.library[MetalLibraryInfo].runtime
    return [DefaultInfo(files = files, runfiles = ctx.runfiles(transitive_files = files))]

metal_runtime = rule(
    doc = "The compiled kernels to run: on Linux, they are not compiled for the checker too.",
    implementation = _metal_runtime_impl,
    attrs = {"library": attr.label(mandatory = True, providers = [MetalLibraryInfo])},
)
