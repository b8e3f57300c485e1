#!/bin/sh
# Puts into /image what one program needs at run time and nothing else. Called by the Containerfile, in a Debian that
# has the packages:
#
#   collect.sh node libav|openh264
#   collect.sh gateway
#
# A library comes when something that is there already is linked with it (ldd); what is loaded by name, which ldd does
# not see, is listed here. Of each package of which something came, the licence comes too.
set -eu

role=$1
image=/image
# Such as /usr/lib/x86_64-linux-gnu.
lib=$(readlink -f "$(dirname "$(ldconfig -p | awk '$1 == "libc.so.6" { print $NF; exit }')")")
plugins=$lib/gstreamer-1.0
# What came from Debian, by its name in the image.
taken=/taken
: >$taken

# Files, under the names that they have here; links become files.
take() {
    for file in "$@"; do
        name=$(readlink -f "$(dirname "$file")")/$(basename "$file")
        [ -e "$image$name" ] && continue
        mkdir -p "$image$(dirname "$name")"
        cp --dereference --preserve=mode,timestamps "$file" "$image$name"
        echo "$name" >>$taken
    done
}

# The libraries that those files are linked with, directly or not.
take_libraries() {
    ldd "$@" >/linked
    if grep 'not found' /linked >&2; then exit 1; fi
    # shellcheck disable=SC2046  # the list is words on purpose
    take $(awk '$2 == "=>" { print $3 } NF == 2 && $2 ~ /^\(0x/ && $1 ~ /^\// { print $1 }' /linked | sort -u)
}

# The loader's path in every program begins with /lib or /lib64.
for link in lib lib64; do
    mkdir -p "$image/usr/$link"
    ln -s "usr/$link" "$image/$link"
done
mkdir -p $image/usr/bin $image/etc $image/tmp $image/run/secrets
chmod 1777 $image/tmp

case $role in
node)
    program=kerbside
    read=/etc/kerbside
    written='/var/lib/kerbside /run/kerbside'
    # The elements of pipeline/ingest, and what rtspsrc and decodebin make by themselves.
    wanted='app avi coreelements isomp4 matroska playback rtp rtpmanager rtsp tcp typefindfunctions udp
        videoconvertscale videoparsersbad'
    case ${2:-} in
    libav | openh264) wanted="$wanted $2" ;;
    *)
        echo "collect.sh: a decoder is libav or openh264, not '${2:-}'" >&2
        exit 2
        ;;
    esac
    for plugin in $wanted; do take "$plugins/libgst$plugin.so"; done
    # TLS for rtsps://.
    take "$lib/gio/modules/libgiognutls.so"
    "$lib/glib-2.0/gio-querymodules" "$image$lib/gio/modules"
    take_libraries /binaries/kerbside "$image$plugins"/*.so "$lib/gio/modules/libgiognutls.so"
    # The registry is to know only what came, by the paths that it will have.
    mv "$plugins" /plugins
    cp -a "$image$plugins" "$plugins"
    registry=$image/usr/share/kerbside/gstreamer.registry
    GST_REGISTRY=$registry gst-inspect-1.0 >/dev/null
    chmod 644 "$registry"
    mv "$plugins" /plugins.taken
    mv /plugins "$plugins"
    ;;
gateway)
    program=kerbside-gateway
    read=/etc/kerbside-gateway
    written=/var/lib/kerbside-gateway
    take_libraries /binaries/kerbside-gateway
    ;;
*)
    echo 'usage: collect.sh node libav|openh264, or collect.sh gateway' >&2
    exit 2
    ;;
esac

# What cargo-auditable has written into a program stays in it.
strip --strip-all --keep-section=.dep-v0 -o "$image/usr/bin/$program" "/binaries/$program"
chmod 755 "$image/usr/bin/$program"

take /etc/ssl/certs/ca-certificates.crt /etc/os-release
mkdir -p $image/etc/ld.so.conf.d
cp /etc/ld.so.conf $image/etc
cp /etc/ld.so.conf.d/*.conf $image/etc/ld.so.conf.d
ldconfig -r $image
echo 'hosts: files dns' >$image/etc/nsswitch.conf
echo 'kerbside:x:65532:65532::/nonexistent:/usr/sbin/nologin' >$image/etc/passwd
echo 'kerbside:x:65532:' >$image/etc/group
for folder in $read $written; do mkdir -p "$image$folder"; done
for folder in $written; do chown 65532:65532 "$image$folder"; done

# Whose files came. dpkg knows a library by its path from before /usr was merged, or from after, and the file behind an
# alternative by its own name. Certificates are made when their package is installed and are nobody's.
while read -r file; do
    real=$(readlink -f "$file")
    dpkg-query --search "$real" "${real#/usr}" 2>/dev/null | sed -n '1s/[:,].*//p'
done <$taken >/owners
echo ca-certificates >>/owners
sort -u /owners >/packages
# shellcheck disable=SC2046
dpkg-query --show --showformat '${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n' \
    $(cat /packages) >/packages.tsv
mkdir -p $image/var/lib/dpkg/status.d
while read -r package; do
    mkdir -p "$image/usr/share/doc/$package"
    cp --dereference "/usr/share/doc/$package/copyright" "$image/usr/share/doc/$package/copyright"
    # Scanners look here in an image without a package manager.
    dpkg-query --status "$package" >"$image/var/lib/dpkg/status.d/$package"
done </packages

set -- --metadata /binaries/metadata.json --package "$program" --debian /packages.tsv
for model in "$image"/usr/share/kerbside/models/*; do
    if [ -d "$model" ]; then set -- "$@" --model "$model"; fi
done
python3 /tools/sbom.py "$@" --out $image/usr/share/doc/kerbside/sbom.cdx.json
echo "$(wc -l </packages) packages of Debian, $(du -sm $image | cut -f1) MB"
