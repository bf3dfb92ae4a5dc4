#!/bin/sh
# cache.sh [TARGET...]
# Tests the targets, by default all, in two clones of this repository that share one disk cache:
# two folders, two output bases. Fails where the second clone builds or runs anything itself.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
[ $# -gt 0 ] || set -- //...

folder=$(mktemp -d)
trap 'for clone in one another/folder; do
    (cd "$folder/$clone" && ./bazelw --output_user_root="$folder/$clone.out" shutdown) 2>/dev/null
done
chmod -R u+w "$folder"
rm -rf "$folder"' EXIT

# in_clone NAME TARGET...
in_clone() {
    name=$1
    shift
    git clone -q "$root" "$folder/$name"
    (
        cd "$folder/$name"
        ./bazelw --output_user_root="$folder/$name.out" test --noshow_progress \
            --disk_cache="$folder/cache" "$@"
    ) >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
    grep -E "^INFO: (Elapsed|[0-9]+ process)|^Executed" "$folder/log" | sed "s|^|$name: |"
}

in_clone one "$@"
in_clone another/folder "$@"
if grep -E "^INFO: [0-9]+ process.*(sandbox|local|worker)" "$folder/log"; then
    echo "FAILED: expected cache hits only"
    exit 1
fi
echo "ok: cache hits only"
