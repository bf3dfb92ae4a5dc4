#!/bin/sh
# Makes requirements.lock of requirements.in, all but torch, and torch.lock, torch as the index
# has it, with uv; pyproject.toml says how. Arguments are uv's: --upgrade takes the newest
# versions.
set -eu
cd "$(dirname "$0")"
uv pip compile requirements.in --excludes cuda.txt --no-emit-package torch \
    -o requirements.lock "$@"
echo torch | uv pip compile - -c requirements.in -c requirements.lock -o torch.lock "$@"
