"""What Prometheus reads: configurations by promtool, and that both ends of a connection agree."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from tools import Problems, ask, complaints, load, run


def check(tree: Path) -> Problems:
    """All problems of deploy/compose/prometheus."""
    folder = tree / "deploy/compose/prometheus"
    problems: Problems = []
    for name, more in (("cabinet", ["--agent"]), ("city-door", ["--agent"]), ("city", [])):
        file = folder / f"{name}.yaml"
        # Files that it names are on the machine where it runs.
        problems += complaints(file.name, ask("promtool", "check", "config", "--syntax-only", *more, file))
    problems += web(folder / "city-door-web.yaml")
    rules = [Path(name) for name in load(folder / "city.yaml")["rule_files"]]
    dashboards = tree / "dashboards/prometheus"
    if dashboards.is_dir():
        problems += grafana(tree)
        problems += [
            f"city.yaml: no {one.name} in dashboards" for one in rules if not (dashboards / one.name).is_file()
        ]
    return problems + agreed(tree, folder)


def grafana(tree: Path) -> Problems:
    """Grafana finds dashboards and data source where the compose file puts them."""
    service = load(tree / "deploy/compose/city.yaml")["services"]["grafana"]
    folder = tree / "dashboards/grafana/provisioning"
    providers = [one for file in folder.glob("dashboards/*.yaml") for one in load(file)["providers"]]
    sources = [one for file in folder.glob("datasources/*.yaml") for one in load(file)["datasources"]]
    mounted = {volume["target"] for volume in service["volumes"]}
    asked = [one["url"].removeprefix("${").removesuffix("}") for one in sources if one["url"].startswith("${")]
    wanted = {
        "dashboards are mounted": bool(providers) and all(one["options"]["path"] in mounted for one in providers),
        "the data source is named": bool(asked) and all(name in service["environment"] for name in asked),
    }
    return [f"city.yaml: not so any more: {what}" for what, holds in wanted.items() if not holds]


def web(file: Path) -> Problems:
    """The door's TLS, with a certificate in the place of the city's."""
    with tempfile.TemporaryDirectory() as name:
        made = run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=door", "-keyout", f"{name}/door.key", "-out", f"{name}/door.pem"),
        )
        if made.returncode:
            return complaints("openssl", made)
        Path(name, "agents-ca.pem").write_bytes(Path(name, "door.pem").read_bytes())
        copy = Path(name, "web.yaml")
        copy.write_text(file.read_text().replace("/run/secrets/", f"{name}/"))
        problems = complaints(file.name, run("promtool", "check", "web-config", copy))
    server = load(file)["tls_server_config"]
    if server["client_auth_type"] != "RequireAndVerifyClientCert" or server["min_version"] != "TLS13":
        problems.append(f"{file.name}: who has no certificate may send")
    return problems


def agreed(tree: Path, folder: Path) -> Problems:
    """Ports and paths that two files must say alike."""
    cabinet = load(folder / "cabinet.yaml")
    node = load(tree / "deploy/config/site/node.yaml")
    city, door = load(folder / "city.yaml"), load(folder / "city-door.yaml")
    services = load(tree / "deploy/compose/city.yaml")["services"]
    sent = urlsplit(cabinet["remote_write"][0]["url"])
    handed = urlsplit(door["remote_write"][0]["url"])
    targets = [target for job in city["scrape_configs"] for one in job["static_configs"] for target in one["targets"]]
    wanted = {
        "the agent asks where the node answers": cabinet["scrape_configs"][0]["static_configs"][0]["targets"]
        == [node["metrics"]["address"]],
        "the agent says which node it is": cabinet["global"]["external_labels"] == {"node": node["name"]},
        "the agent sends encrypted": sent.scheme == "https"
        and cabinet["remote_write"][0]["tls_config"].keys() >= {"cert_file", "key_file", "ca_file"},
        "the agent knocks at the door": f"--web.listen-address=:{sent.port}" in services["door"]["command"],
        "the door hands on to Prometheus": (handed.hostname, handed.port) == ("gateway", 9090)
        and services["prometheus"]["network_mode"] == "service:gateway",
        "Prometheus takes it": "--web.enable-remote-write-receiver" in services["prometheus"]["command"],
        "the gateway is asked on loopback": "127.0.0.1:9601" in targets,
        "the door answers no questions": "--agent" in services["door"]["command"],
    }
    return [f"prometheus: not so any more: {what}" for what, holds in wanted.items() if not holds]
