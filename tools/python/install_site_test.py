"""Installs tiny local wheels into caches of the test's own, with no network."""

import base64
import hashlib
import os
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools.python import install_site

# Tests run in a bare virtual environment; the interpreter it was made from has pip.
PYTHON = os.path.realpath(sys.executable)


def make_wheel(folder: Path, name: str, files: dict[str, str], version: str = "1.0") -> str:
    """Writes a wheel of these files and returns its line in a locked requirements file."""
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        record = [f"{info}/RECORD,,"]
        for path, text in files.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            record.append(f"{path},sha256={digest.rstrip(b'=').decode()},{len(text)}")
        archive.writestr(f"{info}/RECORD", "\n".join(record) + "\n")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """The folder where pip looks for wheels, and nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(install_site, "_PYTHON", PYTHON)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def requirements(tmp_path, wheels):
    path = tmp_path / "requirements.lock"
    path.write_text(
        make_wheel(wheels, "alpha", {"shared/alpha.py": "VALUE = 1\n"})
        + make_wheel(wheels, "Beta.Two", {"shared/beta.py": "VALUE = 2\n", "data.bin": "x" * 9})
    )
    return path


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def left_in(cache):
    """What an installation left, but for its lock."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_install(requirements, cache):
    site = install_site.install(requirements, cache)
    assert left_in(cache) == [site.name]
    assert (site / "site.txt").read_text() == "alpha==1.0\nbeta-two==1.0\n"
    # Wheels that share a package lie in one folder, with their bytecode.
    assert {p.name.split(".")[0] for p in (site / "shared/__pycache__").iterdir()} == {
        "alpha",
        "beta",
    }
    code = "from shared import alpha, beta; print(alpha.VALUE + beta.VALUE)"
    environ = {"PYTHONPATH": str(site)}
    assert subprocess.check_output([sys.executable, "-c", code], env=environ) == b"3\n"


def test_two_installs_have_the_same_bytes(requirements, tmp_path, wheels):
    first = install_site.install(requirements, tmp_path / "one")
    time.sleep(1.1)  # Bytecode of the usual kind holds its source's time, in seconds.
    second = install_site.install(requirements, tmp_path / "another folder")

    def contents(site):
        return {p.relative_to(site): p.read_bytes() for p in site.rglob("*") if p.is_file()}

    assert contents(first) == contents(second)
    assert any(path.suffix == ".pyc" for path in contents(first))


@pytest.fixture
def one_of(tmp_path, wheels):
    """Two locks of torch, for the CPU and for CUDA; pip finds the wheels of both."""
    cpu, cuda = tmp_path / "cpu.lock", tmp_path / "cuda.lock"
    cpu.write_text(make_wheel(wheels, "torch", {"torch.py": ""}, "1.0+cpu"))
    cuda.write_text(
        make_wheel(wheels, "torch", {"torch.py": ""}) + make_wheel(wheels, "cuda", {"cuda.py": ""})
    )
    return [cpu, cuda]


def torch_of(site):
    """What of the two locks is installed."""
    lines = (site / "site.txt").read_text().splitlines()
    assert {"alpha==1.0", "beta-two==1.0"} < set(lines)
    return [line for line in lines if line.startswith(("torch", "cuda"))]


def test_first_of_two_locks(requirements, one_of, cache):
    assert torch_of(install_site.install(requirements, cache, one_of)) == ["torch==1.0+cpu"]


@pytest.mark.parametrize("why", ["no wheel", "for another Python"])
def test_second_of_two_locks_where_pip_does_not_find_the_first(
    requirements, one_of, cache, wheels, capsys, why
):
    next(wheels.glob("torch-1.0+cpu*")).unlink()
    if why == "for another Python":
        marked = one_of[0].read_text().replace(" --hash", ' ; python_version < "3" --hash')
        one_of[0].write_text(marked)
    site = install_site.install(requirements, cache, one_of)
    assert torch_of(site) == ["cuda==1.0", "torch==1.0"]
    said = "pip does not find cpu.lock for this Python and machine\n"
    assert capsys.readouterr().err == said


def test_first_of_two_locks_has_a_wrong_hash(requirements, one_of, cache):
    """That is no reason to install something else."""
    one_of[0].write_text(one_of[0].read_text().replace("sha256:", "sha256:0000")[:-5] + "\n")
    with pytest.raises(install_site.InstallError, match="pip install: .*hash"):
        install_site.install(requirements, cache, one_of)
    assert left_in(cache) == []


def test_neither_lock_is_found(requirements, one_of, cache, wheels):
    for wheel in wheels.glob("torch*"):
        wheel.unlink()
    with pytest.raises(install_site.InstallError, match="pip install: .*torch==1.0 "):
        install_site.install(requirements, cache, one_of)
    assert left_in(cache) == []


def test_second_install_uses_the_first(requirements, cache, wheels):
    site = install_site.install(requirements, cache)
    before = site.stat().st_ino
    for wheel in wheels.iterdir():
        wheel.unlink()
    assert install_site.install(requirements, cache) == site
    assert site.stat().st_ino == before


def test_other_requirements_get_another_folder(requirements, cache):
    first = install_site.install(requirements, cache)
    requirements.write_text("# changed\n" + requirements.read_text())
    second = install_site.install(requirements, cache)
    assert first != second
    assert left_in(cache) == sorted([first.name, second.name])


def test_two_installs_at_once_run_pip_once(requirements, cache, monkeypatch):
    calls = []
    pip_install = install_site._pip_install

    def slow(*arguments):
        calls.append(arguments)
        time.sleep(0.3)
        pip_install(*arguments)

    monkeypatch.setattr(install_site, "_pip_install", slow)
    # A lock of flock's kind belongs to an open file, so that threads exclude each other too.
    with ThreadPoolExecutor(4) as pool:
        sites = list(pool.map(lambda _: install_site.install(requirements, cache), range(4)))
    assert len(set(sites)) == 1
    assert len(calls) == 1


def test_another_process_waits_for_the_lock(requirements, cache, wheels):
    cache.mkdir()
    site = cache / install_site.site_key(requirements)
    command = [PYTHON, install_site.__file__, str(requirements)]
    environ = os.environ | {"MLX_GGUF_SITES": str(cache)}
    with install_site._locked(site.with_suffix(".lock")):
        other = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=1)
        assert left_in(cache) == []
    assert other.communicate(timeout=60)[0] == f"{site}\n"
    assert other.returncode == 0


def test_what_a_killed_install_left_is_not_used(requirements, cache):
    site = cache / install_site.site_key(requirements)
    part = site.with_suffix(".part")
    part.mkdir(parents=True)
    (part / "half.py").write_text("HALF = 1\n")
    assert install_site.install(requirements, cache) == site
    assert not (site / "half.py").exists()
    assert left_in(cache) == [site.name]


@pytest.mark.parametrize("step", ["_pip_install", "_check_files", "_compile"])
def test_failure_leaves_nothing(requirements, cache, monkeypatch, step):
    original = getattr(install_site, step)

    def fail(*arguments):
        original(*arguments)
        raise install_site.InstallError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(install_site, step, fail)
        with pytest.raises(install_site.InstallError, match="the disk is full"):
            install_site.install(requirements, cache)
    assert left_in(cache) == []
    install_site.install(requirements, cache)


def test_wrong_hash(requirements, cache):
    text = requirements.read_text()
    requirements.write_text(text.replace("sha256:", "sha256:0000", 1)[:-5] + "\n")
    with pytest.raises(install_site.InstallError, match="pip install: .*hash"):
        install_site.install(requirements, cache)
    assert left_in(cache) == []


def test_missing_package(requirements, cache, wheels):
    next(wheels.glob("alpha*")).unlink()
    with pytest.raises(install_site.InstallError, match="pip install: .*alpha==1.0"):
        install_site.install(requirements, cache)
    assert left_in(cache) == []


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("")])
def test_file_missing_or_cut_after_pip(requirements, cache, monkeypatch, damage):
    pip_install = install_site._pip_install

    def damaging(locks, target, *options):
        pip_install(locks, target, *options)
        damage(target / "data.bin")

    monkeypatch.setattr(install_site, "_pip_install", damaging)
    with pytest.raises(
        install_site.InstallError, match="beta-two: data.bin: expected 9 bytes, found"
    ):
        install_site.install(requirements, cache)
    assert left_in(cache) == []


def test_compileall_fails(requirements, cache, monkeypatch):
    run = install_site._run

    def no_compiler(what, *command):
        run(what, *(command if what != "compileall" else (sys.executable, "-c", "exit(3)")))

    monkeypatch.setattr(install_site, "_run", no_compiler)
    with pytest.raises(install_site.InstallError, match="compileall: .*exit status 3"):
        install_site.install(requirements, cache)
    assert left_in(cache) == []


def test_module_for_a_newer_python_is_allowed(tmp_path, wheels, cache):
    path = tmp_path / "requirements.lock"
    path.write_text(make_wheel(wheels, "gamma", {"new.py": "def (:\n", "old.py": "X = 1\n"}))
    site = install_site.install(path, cache)
    assert [p.name.split(".")[0] for p in (site / "__pycache__").iterdir()] == ["old"]


def test_command_fails_in_one_line(requirements, cache, wheels):
    next(wheels.glob("alpha*")).unlink()
    command = [PYTHON, install_site.__file__, str(requirements)]
    environ = os.environ | {"MLX_GGUF_SITES": str(cache)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("install_site: requirements.lock: pip install: ")
    assert done.stderr.count("\n") == 1


def test_cache_that_cannot_be_made(requirements, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(install_site.InstallError, match="Not a directory"):
        install_site.install(requirements, tmp_path / "file" / "cache")


def test_cache_folder():
    assert install_site.cache_folder({"MLX_GGUF_SITES": "/s"}) == Path("/s")
    assert install_site.cache_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/mlx_gguf/sites")
    assert install_site.cache_folder({}) == Path.home() / ".cache/mlx_gguf/sites"
