# Thin: everything real is in deploy/setup and `cargo xtask`.

.PHONY: setup demo test bench soak privacy-audit

## Installs the system packages that are missing and fetches the real clip.
setup:
	sh deploy/setup/packages.sh
	sh deploy/setup/clips.sh

## Two RTSP cameras, the node, a gateway and a live summary. ONCE=1 ends after the clip and prints the table.
demo: setup
	cargo xtask demo $(if $(ONCE),--once)

## The whole gate: what CI runs.
test:
	sh deploy/setup/packages.sh build browser observe containers
	sh deploy/setup/clips.sh
	cargo xtask ci

## What this machine can do.
bench: setup
	cargo xtask bench

## Kills nodes and gateway a thousand times and counts the rows.
soak: setup
	cargo xtask soak

## Attacks the released tables and prints one table. QUICK=1 takes a fifth of the data.
privacy-audit: setup
	cargo xtask privacy-audit $(if $(QUICK),--quick)
