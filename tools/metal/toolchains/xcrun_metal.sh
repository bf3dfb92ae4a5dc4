#!/bin/sh
# xcrun_metal.sh --sources FOLDER --step metallib --out FILE
# Compiles every .metal text of FOLDER with Xcode's compiler and links them into FILE.
set -eu

die() {
    echo "xcrun_metal: $*" >&2
    exit 1
}

sources= step= out=
while [ $# -gt 1 ]; do
    case $1 in
    --sources) sources=$2 ;;
    --step) step=$2 ;;
    --out) out=$2 ;;
    *) die "unknown option $1" ;;
    esac
    shift 2
done
[ -n "$sources" ] && [ -n "$out" ] || die "--sources and --out are needed"
[ "$step" = metallib ] || die "--step: expected metallib, found '$step'"

sdk=${MLX_GGUF_METAL_SDK:-macosx}
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
for text in "$sources"/*.metal; do
    [ -e "$text" ] || die "no .metal file in $sources"
    # As MLX compiles a custom kernel: safe math, and a language that has bfloat.
    xcrun -sdk "$sdk" metal -std=metal3.1 -fno-fast-math \
        -c "$text" -o "$objects/$(basename "$text" .metal).air"
done
xcrun -sdk "$sdk" metallib -o "$out" "$objects"/*.air
