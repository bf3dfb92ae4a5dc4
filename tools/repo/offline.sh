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
    case $("$2" --version) in
    # Debian's 4.2.3 does not know its own version.
    "bazel no_version") major=4 ;;
    "bazel 7."*) major=7 ;;
    *) return 0 ;;
    esac
    cache=$(cache_folder)
    mkdir -p "$cache"
    # Two checkouts have two roots: they must not share the file.
    rc=$cache/debian-$major-$(printf %s "$1" | cksum | cut -d' ' -f1).bazelrc
    "offline_$major" "$1" "$cache" >"$rc.$$"
    mv "$rc.$$" "$rc"
    echo "$rc"
}

# offline_4 ROOT: prints the bazelrc of Debian's Bazel 4.
offline_4() {
    echo "common --override_repository=rules_java=/usr/share/bazel/rules/java"
    echo "common '--override_repository=remote_coverage_tools=$1/third_party/bazel4/remote_coverage_tools'"
}

# offline_7 ROOT CACHE: prints the bazelrc of Debian's Bazel 7, for a MODULE.bazel and for a
# WORKSPACE. Debian's modules are taken whatever version is asked for. Those that Bazel names
# and Debian lacks become empty modules below CACHE: nothing is built of them.
offline_7() {
    for folder in rules/cc rules/java rules/license rules/proto rules/python \
        tools/features tools/skylib tools/platforms; do
        name=${folder#*/}
        case $folder in
        rules/*) name=rules_$name ;;
        tools/platforms) ;;
        *) name=bazel_$name ;;
        esac
        echo "common --override_module=$name=/usr/share/bazel/$folder"
        echo "common --override_repository=$name=/usr/share/bazel/$folder"
    done
    for name in apple_support buildozer protobuf zlib; do
        stand_in "$2/modules/$name" "$name"
        echo "common '--override_module=$name=$2/modules/$name'"
        echo "common '--override_repository=$name=$2/modules/$name'"
    done
    echo "common '--override_repository=remote_coverage_tools=$1/third_party/bazel4/remote_coverage_tools'"
}

# stand_in FOLDER NAME: makes a module in FOLDER with nothing but an empty target, all called NAME.
stand_in() {
    [ ! -e "$1/MODULE.bazel" ] || [ ! -e "$1/BUILD.bazel" ] || return 0
    mkdir -p "$1"
    echo "module(name = \"$2\")" >"$1/MODULE.bazel"
    echo "filegroup(name = \"$2\", visibility = [\"//visibility:public\"])" >"$1/BUILD.bazel"
}
