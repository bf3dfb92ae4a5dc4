"""pytest_test: a py_test whose main program is pytest."""

load("@rules_python//python:defs.bzl", "py_test")

def pytest_test(*, name, srcs, deps = [], args = [], data = [], threads = 1, tags = [], **kwargs):
    """A test that runs pytest on its sources, under Bazel's test protocol.

    --test_filter=EXPRESSION selects tests as pytest's -k does, and shard_count splits
    them. A run that selects no test fails.

    Args:
      name: name of the test target.
      srcs: test files (*_test.py) and the conftest.py files they need.
      deps: libraries under test; pytest itself is added.
      args: more arguments for pytest.
      data: files the tests read.
      threads: how many it may keep busy; Bazel starts as many tests as fit the machine.
      tags: tags of the test; `cpu:N` is added where there are several threads.
      **kwargs: passed to py_test.
    """
    main = Label("//tools/python:pytest_main.py")
    py_test(
        name = name,
        srcs = srcs + [main],
        main = main,
        args = ["--threads=%d" % threads] +
               ["$(rootpath %s)" % src for src in srcs if src.endswith("_test.py")] + args,
        data = data + [Label("//:pyproject.toml")],
        deps = deps + [Label("//tools/python:pytest")],
        legacy_create_init = False,
        python_version = "PY3",
        tags = tags + (["cpu:%d" % threads] if threads > 1 else []),
        **kwargs
    )
