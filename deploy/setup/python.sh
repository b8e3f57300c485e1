#!/bin/sh
# Makes a Python environment with exactly the versions of a requirements file, and prints its interpreter.
#
#   python.sh NAME REQUIREMENTS
#
# It lies in target/python/NAME and is made anew when the file's text or the system's Python changes.
set -eu

[ $# -eq 2 ] || {
    echo "usage: python.sh NAME REQUIREMENTS" >&2
    exit 2
}
name=$1
requirements=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
folder="${CARGO_TARGET_DIR:-$root/target}/python/$name"
python="$folder/bin/python"
stamp="$folder/installed.sha256"

# One at a time: several tests may ask for it.
mkdir -p "$folder"
exec 9>"$folder.lock"
flock 9
wanted=$({ cat "$requirements" && python3 -VV; } | sha256sum | cut -d' ' -f1)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || ! "$python" -V >/dev/null 2>&1; then
    # Not onto standard output, which is the interpreter's path and nothing else.
    python3 -m venv --clear "$folder" >&2
    "$python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2
    # Last, so that an installation that was broken off begins anew.
    echo "$wanted" >"$stamp"
fi
echo "$python"
