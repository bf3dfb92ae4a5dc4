"""source_tree: every file of a package, for tests that need the sources of this repository."""

def source_tree(*, name):
    """A filegroup of all files of the package; //tests/downstream copies them."""
    native.filegroup(
        name = name,
        srcs = native.glob(
            ["**"],
            exclude = ["**/__pycache__/**"],
        ),
    )
