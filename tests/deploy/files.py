"""Checks the files of deploy/ with the tools they are made for, and then that each check can fail.

    python files.py [TREE]

Ends with 1 and all problems, or prints what was checked.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import compose
import container
import kustomize
import prometheus
import quadlet
import seccomp

CHECKS = {module.__name__: module.check for module in (compose, container, kustomize, prometheus, quadlet, seccomp)}

#: A check, a file, what is replaced in it by what, and a word of the problem that must be found then.
SPOILT = [
    (
        "compose",
        "deploy/compose/cabinet.yaml",
        "read_only: true\n    cap_drop",
        "read_only: yes-please\n    cap_drop",
        "read_only",
    ),
    ("compose", "deploy/compose/cabinet.yaml", "    cap_drop: [ALL]\n", "", "cap_drop"),
    ("compose", "deploy/compose/cabinet.yaml", "memswap_limit: ${KERBSIDE_MEMORY:-2g}", "memswap_limit: 4g", "no swap"),
    ("compose", "deploy/compose/cabinet.yaml", "secrets: [metrics.pem,", "secrets: [metrics.crt, metrics.pem,", "metrics.crt"),
    ("compose", "deploy/compose/cabinet.yaml", "target: /run/secrets, read_only: true", "target: /run/secrets", "secrets"),
    ("quadlet", "deploy/quadlet/kerbside-node.container", ":/run/secrets:ro", ":/run/secrets:rw", "secrets"),
    ("compose", "deploy/compose/cabinet.yaml", "uplink: {gw_priority: 1}", "uplink: {}", "default route"),
    ("compose", "deploy/compose/cabinet.yaml", "./prometheus/cabinet.yaml", "./prometheus/gone.yaml", "gone.yaml"),
    ("compose", "deploy/compose/cabinet.env", "CAMERA_SUBNET=10.0.4.0/24", "", "CAMERA_SUBNET"),
    ("compose", "deploy/compose/city.yaml", "internal: true", "internal: false", "route out"),
    ("compose", "deploy/compose/city.yaml", "network_mode: service:gateway", "network_mode: host", "host network"),
    ("container", "deploy/container/Containerfile", "ARG AUDITABLE=0.7.7", "ARG AUDITABLE=0.7.7\nRUN cd /", "DL3003"),
    ("container", "deploy/container/Containerfile", "COPY LICENSE ", "COPY LICENCE ", "LICENCE"),
    (
        "container",
        "deploy/container/Containerfile",
        "USER 65532:65532\nWORKDIR /var/lib/kerbside\n",
        "WORKDIR /var/lib/kerbside\n",
        "USER",
    ),
    ("container", "deploy/container/Containerfile.dockerignore", "!operators\n", "", "keeps operators back"),
    ("container", "deploy/container/collect.sh", '"$image$name" ] && continue', "$image$name ] && continue", "SC2086"),
    ("kustomize", "deploy/kustomize/gateway/statefulset.yaml", "replicas: 1", "replicas: two", "two"),
    (
        "kustomize",
        "deploy/kustomize/gateway/statefulset.yaml",
        "enableServiceLinks",
        "enableServiceLinkz",
        "enableServiceLinkz",
    ),
    (
        "kustomize",
        "deploy/kustomize/gateway/statefulset.yaml",
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        "readOnlyRoot",
    ),
    (
        "kustomize",
        "deploy/kustomize/gateway/service.yaml",
        "name: kerbside-gateway}",
        "name: kerbside}",
        "service finds",
    ),
    (
        "kustomize",
        "deploy/kustomize/gateway/kustomization.yaml",
        "  - service.yaml\n",
        "",
        "service.yaml is not listed",
    ),
    (
        "kustomize",
        "deploy/kustomize/gateway/gateway.yaml",
        "/run/secrets/gateway.pem",
        "/secrets/gateway.pem",
        "files are mounted",
    ),
    (
        "prometheus",
        "deploy/compose/prometheus/cabinet.yaml",
        "scrape_interval:",
        "scrape_intervall:",
        "scrape_intervall",
    ),
    ("prometheus", "deploy/compose/prometheus/cabinet.yaml", "127.0.0.1:9600", "127.0.0.1:9601", "the node answers"),
    (
        "prometheus",
        "deploy/compose/prometheus/city-door-web.yaml",
        "RequireAndVerifyClientCert",
        "NoClientCert",
        "no certificate",
    ),
    ("prometheus", "deploy/compose/prometheus/city-door-web.yaml", "client_ca_file", "client_ca", "client_ca"),
    ("quadlet", "deploy/quadlet/kerbside-node.container", "ReadOnly=true", "Readonly=true", "Readonly"),
    ("quadlet", "deploy/quadlet/kerbside-node.container", "RestartSec=5", "RestartSecs=5", "RestartSecs"),
    (
        "quadlet",
        "deploy/quadlet/kerbside-node.container",
        "kerbside-uplink.network",
        "kerbside-city.network",
        "kerbside-city",
    ),
    ("quadlet", "deploy/quadlet/kerbside-node.container", "WatchdogSec=60", "WatchdogSec=20", "WatchdogSec"),
    ("quadlet", "deploy/quadlet/kerbside-node.container", "--memory-swap=2g", "--memory-swap=-1", "swap"),
    ("quadlet", "deploy/quadlet/kerbside-cameras.network", "no_default_route=1", "no_default_route=0", "default route"),
    ("quadlet", "deploy/systemd/kerbside.service", "ProtectSystem=strict", "ProtectSystems=strict", "ProtectSystems"),
    (
        "quadlet",
        "deploy/systemd/kerbside.service",
        "CapabilityBoundingSet=\n",
        "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_NET_ADMIN\n",
        "exposure",
    ),
    ("quadlet", "deploy/systemd/kerbside.sysusers.conf", "u kerbside", "user kerbside", "sysusers"),
    ("quadlet", "deploy/systemd/kerbside.tmpfiles.conf", "0750  65532  65532", "075x  65532  65532", "tmpfiles"),
    ("seccomp", "deploy/container/seccomp.json", '"write"', '"wright"', "wright"),
    ("seccomp", "deploy/container/seccomp.json", '"write"', '"unshare", "write"', "unshare is allowed"),
    ("seccomp", "deploy/container/seccomp.json", '"openat",', "", "openat"),
    (
        "seccomp",
        "deploy/container/seccomp.json",
        '"defaultAction": "SCMP_ACT_ERRNO"',
        '"defaultAction": "SCMP_ACT_ALLOW"',
        "not listed",
    ),
]


def main() -> None:
    """Checks the tree, then copies of it that are wrong in one place each."""
    tree = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve()
    problems = [problem for check in CHECKS.values() for problem in check(tree)]
    for package in ("kerbside", "kerbside-gateway"):
        problems += container.bill_of_materials(tree, package)
    if problems:
        sys.exit("\n".join(problems))
    if os.geteuid() != 0:
        # Nobody but root makes folders that belong to others.
        SPOILT[:] = [case for case in SPOILT if "tmpfiles" not in case[1]]
    unseen = [line for line in (unnoticed(tree, *case) for case in SPOILT) if line]
    if unseen:
        sys.exit("\n".join(unseen))
    print(f"deploy: {', '.join(CHECKS)} and two bills of materials hold; {len(SPOILT)} spoilt copies were noticed")


def unnoticed(tree: Path, check: str, name: str, old: str, new: str, word: str) -> str:
    """Nothing, or how a spoilt copy went through its check."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(tree / "deploy", copy / "deploy")
        for file in ("Cargo.toml", "LICENSE"):
            shutil.copy(tree / file, copy)
        (copy / "models").symlink_to(tree / "models")
        text = (copy / name).read_text()
        if old not in text:
            return f"{name} has no {old!r} that could be spoilt"
        (copy / name).write_text(text.replace(old, new, 1))
        try:
            found = CHECKS[check](copy)
        except (KeyError, TypeError, ValueError) as error:
            return f"{check}: {name} with {new!r} ended the check: {error!r}"
    if any(word in problem for problem in found):
        return ""
    return f"{check}: {name} with {new!r} in the place of {old!r} was not noticed as {word!r}: {found}"


if __name__ == "__main__":
    main()
