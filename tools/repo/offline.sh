# shellcheck shell=sh
# Sourced by bazelw and tools/bazel. Debian's Bazel cannot download the repositories
# that Bazel's built-in WORKSPACE suffix names; Debian packages them instead.

# cache_folder: prints the folder of this project's caches, as backends/mlx/common/cache.py has it.
cache_folder() {
    printf '%s\n' "${XDG_CACHE_HOME:-${HOME:?bazelw: HOME is not set}/.cache}/mlx_gguf"
}

# offline_rc ROOT BAZEL: prints the path of the bazelrc that BAZEL needs because it is
# a Debian build, or nothing. ROOT is this repository's root.
offline_rc() {
    [ -d /usr/share/bazel/rules/java ] || return 0
    case $(readlink -f "$2") in /usr/bin/*) ;; *) return 0 ;; esac
    # Debian's 4.2.3 does not know its own version.
    case $("$2" --version) in
    "bazel no_version") major=4 rules="java" ;;
    "bazel 7."*) major=7 rules="cc java proto python license" ;;
    *) return 0 ;;
    esac
    cache=$(cache_folder)
    mkdir -p "$cache"
    # Two checkouts have two roots: they must not share the file.
    rc=$cache/debian-$major-$(printf %s "$1" | cksum | cut -d' ' -f1).bazelrc
    {
        for name in $rules; do
            echo "common --override_repository=rules_$name=/usr/share/bazel/rules/$name"
        done
        if [ "$major" = 7 ]; then
            echo "common --enable_workspace --noenable_bzlmod"
            echo "common --override_repository=bazel_skylib=/usr/share/bazel/tools/skylib"
            echo "common --override_repository=bazel_features=/usr/share/bazel/tools/features"
        fi
        stub=$1/third_party/bazel4/remote_coverage_tools
        echo "common --override_repository=remote_coverage_tools=$stub"
    } >"$rc.$$"
    mv "$rc.$$" "$rc"
    echo "$rc"
}
