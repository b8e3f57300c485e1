#!/bin/sh
# Builds the images of node and gateway with whichever builder is there, for this machine's kind of processor or another.
#
#   build.sh [ARGUMENT ...]       further arguments go to the builder, such as
#                                 --platform linux/arm64, or --build-arg DECODER=openh264
#
# TAG (default: latest) is their tag. Without network to a registry, --build-arg BASE=… and BUILDER=… name other images,
# and --build-context binaries=FOLDER takes programs that were compiled already.
set -eu

cd "$(dirname "$0")/../.."
file=deploy/container/Containerfile
tag=${TAG:-latest}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

if docker buildx version >/dev/null 2>&1; then
    # It finds the file's own .dockerignore by itself.
    builder='docker buildx build --load'
elif command -v podman >/dev/null; then
    # Docker's format: the other one has no health checks.
    builder="podman build --format docker --ignorefile $file.dockerignore"
elif command -v buildah >/dev/null; then
    builder="buildah build --format docker --ignorefile $file.dockerignore"
else
    echo 'build.sh: neither docker with buildx, nor podman, nor buildah is here' >&2
    exit 1
fi
for image in node gateway; do
    # shellcheck disable=SC2086  # the builder is words on purpose
    $builder "$@" --file "$file" --target "$image" --tag "localhost/kerbside-$image:$tag" \
        --build-arg "VERSION=$version" --build-arg "REVISION=$revision" .
done
