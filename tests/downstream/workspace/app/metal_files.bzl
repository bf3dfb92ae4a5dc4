"""metal_files: reads the provider of a metal_library, as another repository's rule may."""

load("@mlx_gguf//tools/metal:metal_library.bzl", "MetalLibraryInfo")

def _metal_files_impl(ctx):
    info = ctx.attr.library[MetalLibraryInfo]
    out = ctx.actions.declare_file(ctx.label.name + ".txt")
    args = ctx.actions.args()
    args.add_all(info.headers)
    args.add_all([info.flattened], expand_directories = False)
    args.add_all(info.compiled)
    ctx.actions.run_shell(
        command = "out=$1; shift; ls -d \"$@\" > $out",
        arguments = [out.path, args],
        inputs = depset([info.flattened], transitive = [info.headers, info.compiled]),
        outputs = [out],
    )
    return DefaultInfo(files = depset([out]), runfiles = ctx.runfiles([out]))

metal_files = rule(
    doc = "Writes the paths of what the library offers, which must exist, into a file.",
    implementation = _metal_files_impl,
    attrs = {"library": attr.label(mandatory = True, providers = [MetalLibraryInfo])},
)
