#!/bin/sh
# Installs the Debian packages that Kerbside builds and runs with, when they are missing.
# As root it installs them; as anyone else it prints the exact command and stops with code 1.
#
#   packages.sh [GROUP…]
#
#   build        (default) what building, running and most tests need
#   browser      Chromium, for the tests of the status page
#   observe      Prometheus and promtool, for the tests of dashboards and rules. Where systemd runs, Debian also starts
#                Prometheus, on port 9090: systemctl disable --now prometheus
#   containers   what checks the files of deploy/ and builds an image without a registry
#   peers        what `cargo xtask peer-outage` measures beside Kerbside. Where systemd runs, Debian also starts a broker
#                of its own on port 1883 of the loopback: systemctl disable --now mosquitto
set -eu

packages=''
for group in "${@:-build}"; do
    case "$group" in
    build) packages="$packages
clang
libclang-dev
pkg-config
libgstreamer1.0-dev
libgstreamer-plugins-base1.0-dev
libgstrtspserver-1.0-dev
gstreamer1.0-plugins-base
gstreamer1.0-plugins-good
gstreamer1.0-plugins-bad
gstreamer1.0-plugins-ugly
gstreamer1.0-libav
glib-networking
libopencv-core-dev
libopencv-imgproc-dev
openssl
python3-venv
" ;;
    browser) packages="$packages chromium python3-venv" ;;
    observe) packages="$packages prometheus python3-venv" ;;
    containers) packages="$packages
busybox-static debootstrap openssl podman prometheus python3-venv runc seccomp systemd" ;;
    peers) packages="$packages mosquitto python3-venv" ;;
    *)
        echo "usage: packages.sh [build|browser|observe|containers|peers]…" >&2
        exit 2
        ;;
    esac
done

missing=''
for package in $packages; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "Kerbside needs these packages, which are not installed:$missing" >&2
    echo "Install them with:" >&2
    echo "    sudo apt-get update && sudo apt-get install --yes --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
# shellcheck disable=SC2086  # the list is words on purpose
apt-get install --yes --quiet --no-install-recommends $missing
