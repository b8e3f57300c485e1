"""The Kustomize base: rendered by a reader that knows the few keys it uses, then held to Kubernetes' own schemas."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from tools import Problems, load

#: The versions of Kubernetes whose schemas are asked.
VERSIONS = ("1.31", "1.34")
#: What this reader knows; the base may not use more.
KEYS = {"apiVersion", "kind", "namespace", "resources", "configMapGenerator", "images", "labels"}

Resource = dict[str, Any]


def check(tree: Path) -> Problems:
    """All problems of deploy/kustomize/gateway."""
    folder = tree / "deploy/kustomize/gateway"
    resources, problems = render(folder)
    for resource in resources:
        problems += valid(json.dumps(resource))
    # Only whole bases can be looked into.
    return problems or linked(resources) + confinement(resources)


@lru_cache
def valid(text: str) -> tuple[str, ...]:
    """What the schemas say against one resource."""
    resource = json.loads(text)
    name = f"{resource['kind']} {resource['metadata']['name']}"
    problems = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{name}: Kubernetes {version}: {error.message}")
    return tuple(problems)


def render(folder: Path) -> tuple[list[Resource], Problems]:
    """What would be applied."""
    base = load(folder / "kustomization.yaml")
    problems = [f"kustomization.yaml: the key {key} is not known here" for key in base.keys() - KEYS]
    listed = {*base["resources"], "kustomization.yaml"}
    listed |= {file for one in base["configMapGenerator"] for file in one["files"]}
    present = {file.name for file in folder.iterdir()}
    problems += [f"kustomization.yaml: {name} is listed and not there" for name in sorted(listed - present)]
    problems += [f"{name} is not listed" for name in sorted(present - listed)]
    files = [folder / name for name in base["resources"] if name in present]
    resources = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    labels = {key: value for group in base["labels"] for key, value in group["pairs"].items()}
    renamed = {}
    for generator in base["configMapGenerator"]:
        data = {name: (folder / name).read_text() for name in generator["files"]}
        digest = hashlib.sha256(str(sorted(data.items())).encode()).hexdigest()[:10]
        renamed[generator["name"]] = f"{generator['name']}-{digest}"
        resources.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": renamed[generator["name"]]}, "data": data}
        )
    images = {image["name"]: f"{image['newName']}:{image['newTag']}" for image in base["images"]}
    for resource in resources:
        if resource["kind"] != "Namespace":
            resource["metadata"]["namespace"] = base["namespace"]
        resource["metadata"]["labels"] = {**resource["metadata"].get("labels", {}), **labels}
        for pod in pods([resource]):
            for container in pod["containers"]:
                container["image"] = images[container["image"]]
            for volume in pod.get("volumes", []):
                if "configMap" in volume:
                    volume["configMap"]["name"] = renamed[volume["configMap"]["name"]]
    return resources, problems


def pods(resources: list[Resource]) -> list[Resource]:
    """The pods' own part of what makes pods."""
    return [one["spec"]["template"]["spec"] for one in resources if one["kind"] == "StatefulSet"]


def linked(resources: list[Resource]) -> Problems:
    """Whatever names another resource names one that is there."""
    by_kind = {one["kind"]: one for one in resources}
    stateful, service, policy = (by_kind[kind] for kind in ("StatefulSet", "Service", "NetworkPolicy"))
    template = stateful["spec"]["template"]
    labels, pod = template["metadata"]["labels"], template["spec"]
    container = pod["containers"][0]
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in stateful["spec"]["volumeClaimTemplates"]}
    ports = {port["name"] for port in container["ports"]}
    configuration = yaml.safe_load(by_kind["ConfigMap"]["data"]["gateway.yaml"])
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    files = [*configuration["tls"].values(), configuration["landing"]["folder"], configuration["state"]["folder"]]
    writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    wanted = {
        "its selector finds its pods": stateful["spec"]["selector"]["matchLabels"].items() <= labels.items(),
        "the service finds its pods": bool(service["spec"]["selector"])
        and service["spec"]["selector"].items() <= labels.items(),
        "the policy is about its pods": policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items(),
        "its service is there": stateful["spec"]["serviceName"] == service["metadata"]["name"],
        "its account is there": pod["serviceAccountName"] == by_kind["ServiceAccount"]["metadata"]["name"],
        "mounts have volumes": {mount["name"] for mount in container["volumeMounts"]} == volumes,
        "the service's port is there": all(port["targetPort"] in ports for port in service["spec"]["ports"]),
        "the policy's port is there": policy["spec"]["ingress"][0]["ports"][0]["port"] in ports,
        "it listens on its port": configuration["listen"].endswith(f":{container['ports'][0]['containerPort']}"),
        "its files are mounted": all(any(file.startswith(f"{mount}/") for mount in mounts) for file in files),
        "its folders can be written to": all(
            any(file.startswith(f"{mount}/") for mount in writable) for file in files[-2:]
        ),
        "one replica": stateful["spec"]["replicas"] == 1,
    }
    return [f"kustomize: not so any more: {what}" for what, holds in wanted.items() if not holds]


def confinement(resources: list[Resource]) -> Problems:
    """What Pod Security calls restricted, and a root that is read-only."""
    problems: Problems = []
    for pod in pods(resources):
        shared = pod["securityContext"]
        for container in pod["containers"]:
            own = container["securityContext"]
            wanted = {
                "runAsNonRoot": shared["runAsNonRoot"] is True and shared["runAsUser"] == 65532,
                "seccompProfile": shared["seccompProfile"] == {"type": "RuntimeDefault"},
                "allowPrivilegeEscalation": own["allowPrivilegeEscalation"] is False,
                "readOnlyRootFilesystem": own["readOnlyRootFilesystem"] is True,
                "capabilities": own["capabilities"] == {"drop": ["ALL"]},
                "no account's token": pod["automountServiceAccountToken"] is False,
                "no namespace of the machine": not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(),
                "a limit of memory": "memory" in container["resources"]["limits"],
                "secrets as files": all("env" not in one and "envFrom" not in one for one in pod["containers"]),
                "probes without a network": all(
                    container[f"{kind}Probe"].keys() >= {"exec"} for kind in ("startup", "liveness", "readiness")
                ),
            }
            problems += [f"kustomize: {what} is missing" for what, holds in wanted.items() if not holds]
    return problems
