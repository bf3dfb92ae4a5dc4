"""The modules that ExecuTorch's Linux wheel leaves out: generated once, then found by `import`.

The wheel has all that they are generated from: sources, schema, generator and `flatc`. They go
into the cache folder, never into site-packages, and one `sys.meta_path` finder serves them.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import shutil
import subprocess
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

from backends.mlx.common.cache import cache_folder
from backends.mlx.common.errors import InputError
from backends.mlx.common.files import folder_written_whole

_PACKAGE = "executorch.backends.mlx"
_SOURCES = ("__init__.py", "mlx_graph_serialize.py", "schema.fbs", "generate.py")
# Raise when this module would generate something else from the same wheel.
_LAYOUT = "1"


class OverlayError(InputError, ImportError):
    """The installed ExecuTorch cannot provide its MLX backend on this machine."""


class _Finder(MetaPathFinder):
    """Serves the generated package and module from `root`; every other name is left alone."""

    def __init__(self, root: Path):
        self.root = root

    def find_spec(self, fullname, path=None, target=None):
        if fullname == f"{_PACKAGE}.serialization":
            package = self.root / "serialization"
            return importlib.util.spec_from_file_location(
                fullname, package / "__init__.py", submodule_search_locations=[str(package)]
            )
        if fullname == f"{_PACKAGE}._generated_inspector":
            return importlib.util.spec_from_file_location(
                fullname, self.root / "_generated_inspector.py"
            )
        return None


def ensure() -> Path | None:
    """Makes `import executorch.backends.mlx` work. Call it before the first such import.

    Returns:
      The folder of the generated modules, or None where the wheel has its own. Later calls in the
      same process return the first call's answer.

    Raises:
      OverlayError: no MLX sources or no `flatc` in the wheel, generation failed, or
        `executorch.backends.mlx` was imported before its modules could be provided.
    """
    for finder in sys.meta_path:
        if isinstance(finder, _Finder):
            return finder.root
    sources = _mlx_sources()
    if _is_complete(sources):
        return None
    if f"{_PACKAGE}.serialization" in sys.modules:
        raise OverlayError("ensure() must run before executorch.backends.mlx is imported")
    root = cache_folder("executorch_mlx") / _key(sources)
    if not root.is_dir():
        try:
            with folder_written_whole(root) as folder:
                _generate(sources, folder)
        except OSError as error:
            raise OverlayError(
                f"{root}: expected a folder that ExecuTorch's modules can be generated into, "
                f"found {error}"
            ) from error
    sys.meta_path.insert(0, _Finder(root))
    return root


def _mlx_sources() -> Path:
    # Only the parent package is imported: importing .mlx itself needs the generated modules.
    try:
        import executorch.backends as backends
    except ImportError as error:
        raise OverlayError(f"ExecuTorch is not installed: {error}") from error
    for entry in backends.__path__:
        sources = Path(entry) / "mlx"
        if all((sources / "serialization" / name).is_file() for name in _SOURCES):
            return sources
    raise OverlayError(
        f"{list(backends.__path__)}: no MLX backend sources; expected executorch >= 1.4, "
        f"found {importlib.metadata.version('executorch')}"
    )


def _is_complete(sources: Path) -> bool:
    return (
        (sources / "serialization" / "mlx_graph_schema.py").is_file()
        and (sources / "serialization" / "_generated" / "__init__.py").is_file()
        and (sources / "_generated_inspector.py").is_file()
    )


def _key(sources: Path) -> str:
    digest = hashlib.sha256(_LAYOUT.encode())
    for name in _SOURCES:
        digest.update((sources / "serialization" / name).read_bytes())
    return f"{importlib.metadata.version('executorch')}-{digest.hexdigest()[:16]}"


def _generate(sources: Path, out: Path) -> None:
    """Runs ExecuTorch's own generator, with its output paths pointed into `out`."""
    package = out / "serialization"
    bindings = package / "_generated"
    bindings.mkdir(parents=True)
    for name in ("__init__.py", "mlx_graph_serialize.py", "schema.fbs"):
        shutil.copyfile(sources / "serialization" / name, package / name)

    generator = _load_generator(sources / "serialization" / "generate.py")
    generator.GENERATED_DIR = bindings
    fbs = package / "schema.fbs"
    schema = generator.parse_fbs(fbs)
    flatc = _flatc(sources.parent.parent)
    result = subprocess.run(
        [flatc, "--python", "-o", str(bindings), str(fbs)], capture_output=True, text=True
    )
    if result.returncode != 0:
        said = " ".join((result.stderr or result.stdout).split())
        raise OverlayError(f"{flatc}: exit status {result.returncode}: {said}")
    # The fix-up prints what it did; an import must not.
    with contextlib.redirect_stdout(io.StringIO()):
        generator._fixup_flatc_imports()
    (bindings / "__init__.py").write_text(_bindings_init(schema), encoding="utf-8")
    (package / "mlx_graph_schema.py").write_text(
        generator.generate_python_schema(schema), encoding="utf-8"
    )
    (package / "_generated_serializers.py").write_text(
        generator.generate_python_serializers(schema)
    )
    (out / "_generated_inspector.py").write_text(
        generator.generate_inspector(schema), encoding="utf-8"
    )


def _load_generator(path: Path):
    name = "_executorch_mlx_generate"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    generator = importlib.util.module_from_spec(spec)
    # dataclasses look their module up in sys.modules while the module body runs.
    sys.modules[name] = generator
    try:
        spec.loader.exec_module(generator)
    finally:
        del sys.modules[name]
    return generator


def _bindings_init(schema) -> str:
    groups = (schema.tables, schema.enums, schema.structs, schema.unions)
    names = sorted(item.name for group in groups for item in group)
    module = f"{_PACKAGE}.serialization._generated.mlx_delegate"
    lines = [f"from {module}.{name} import {name}" for name in names]
    return "\n".join(lines + [f"__all__ = {names!r}", ""])


def _flatc(executorch: Path) -> str:
    bundled = executorch / "data" / "bin" / "flatc"
    candidates = (os.environ.get("FLATC"), bundled, shutil.which("flatc"))
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return str(candidate)
    raise OverlayError(f"no flatc: expected {bundled}, $FLATC or one on PATH")
