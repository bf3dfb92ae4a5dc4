#!/bin/sh
# run.sh [BAZEL...]
# Analyses every target with each Bazel, by default the one that bazelw finds: by WORKSPACE and
# by MODULE.bazel where it takes both, plain and with the flags of --config=incompatible where
# it knows them, for this machine and for macOS.
set -eu
cd "$(dirname "$0")/../.."

analyse() {
    name=$1
    shift
    if log=$(./bazelw build --nobuild --noshow_progress "$@" //... 2>&1); then
        echo "ok: $name"
    else
        printf '%s\nFAILED: %s\n' "$log" "$name"
        status=1
    fi
}

# platforms NAME OPTION...
platforms() {
    analyse "$@"
    name=$1
    shift
    mac=//tests/bazel:macos
    analyse "$name, macOS" "$@" --platforms=$mac --host_platform=$mac --extra_toolchains=${mac}_cc
}

# flags NAME OPTION...
flags() {
    platforms "$@"
    name=$1
    shift
    platforms "$name, incompatible" --config=incompatible "$@"
}

status=0
[ $# -gt 0 ] || set -- "${BAZELW_BAZEL:-}"
for bazel in "$@"; do
    export BAZELW_BAZEL="$bazel"
    version=$(./bazelw --version)
    case $version in
    # Debian's 4.2.3 does not know its own version.
    "bazel no_version" | "bazel "[4-6].*) platforms "$version, WORKSPACE" ;;
    "bazel 7."*)
        # The WORKSPACE that Bazel 7 puts before each uses native rules for repositories.
        flags "$version, WORKSPACE" --enable_workspace --noenable_bzlmod \
            --noincompatible_disable_native_repo_rules
        flags "$version, MODULE.bazel"
        ;;
    *) platforms "$version, MODULE.bazel" ;;
    esac
done
exit $status
