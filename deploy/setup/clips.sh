#!/bin/sh
# Puts the real clip of the demo and the tests, vtest.avi (pedestrians on a campus, 768x576, 10 fps,
# 795 frames), into target/clips: out of Debian's package opencv-doc, checked by its SHA-256.
# Needs no root: the package is downloaded and unpacked, not installed.
set -eu

sha256=45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf
root=$(cd "$(dirname "$0")/../.." && pwd)
folder="${CARGO_TARGET_DIR:-$root/target}/clips"
clip="$folder/vtest.avi"

matches() { [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$sha256" ]; }

if [ -f "$clip" ] && matches "$clip"; then exit 0; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
echo "fetching vtest.avi from Debian's package opencv-doc"
download() { apt-get --quiet --option APT::Sandbox::User=root download opencv-doc; }
# A machine whose package lists were never fetched, or are old, finds nothing at first.
if ! download; then
    [ "$(id -u)" -eq 0 ] && apt-get update --quiet && download || {
        echo "apt-get could not download opencv-doc; run 'apt-get update' (as root) and try again" >&2
        exit 1
    }
fi
dpkg-deb --extract opencv-doc_*.deb unpacked
found=unpacked/usr/share/doc/opencv-doc/examples/data/vtest.avi
[ -f "$found" ] || { [ -f "$found.gz" ] && gunzip "$found.gz"; }
if ! matches "$found"; then
    echo "vtest.avi has the SHA-256 $(sha256sum "$found" | cut -d' ' -f1), expected $sha256" >&2
    exit 1
fi
mkdir -p "$folder"
mv "$found" "$clip.partial"
mv "$clip.partial" "$clip"
