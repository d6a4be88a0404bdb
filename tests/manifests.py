"""Checks what lies in deploy/ for service managers and clusters, as far as that goes without them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def settings():
    """The settings and their defaults, from the table that a test compares with the program."""
    page = (ROOT / "docs/operations.md").read_text()
    table = page.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    found = {}
    for names, default in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (\S+) \|", table, re.M):
        for name in re.findall(r"`(\w+)`", names):
            found[name] = default.strip("`–")
    return found


def routes():
    text = "".join(path.read_text() for path in (ROOT / "src/http").glob("*.rs"))
    return set(re.findall(r'\.route\(\s*"([^"]+)"', text))


KNOWN = settings()
ROUTES = routes()


def deployment_faults(spec):
    template = spec["template"]
    pod = template["spec"]
    labels = template["metadata"]["labels"]
    if not spec["selector"]["matchLabels"].items() <= labels.items():
        yield "the selector does not fit the labels"
    [main] = pod["containers"]
    environment = {variable["name"]: variable["value"] for variable in main["env"]}
    ports = {port["name"]: port["containerPort"] for port in main["ports"]}
    for name, value in environment.items():
        if name not in KNOWN:
            yield f"{name} is no setting"
        if not isinstance(value, str):
            yield f"{name} is no text"
    if environment["PORT"] != str(ports["http"]):
        yield "PORT is not the port of the container"
    if not environment["ROWCAST_ADMIN_ADDRESS"].endswith(f":{ports['admin']}"):
        yield "ROWCAST_ADMIN_ADDRESS is not the port of the container"
    for kind, path in [("startup", "/healthcheck"), ("readiness", "/ready"), ("liveness", "/healthcheck")]:
        probe = main[f"{kind}Probe"]["httpGet"]
        if probe["path"] != path or path not in ROUTES or probe["port"] not in ports:
            yield f"the {kind} probe asks {probe}"
    pause = int(main["lifecycle"]["preStop"]["exec"]["command"][-1])
    drain = int(environment["ROWCAST_DRAIN_TIMEOUT_MS"]) / 1000
    if pause + drain >= pod["terminationGracePeriodSeconds"]:
        yield f"{pause} + {drain} s do not fit into the grace period"
    if int(environment["ROWCAST_DRAIN_WINDOW_MS"]) / 1000 > drain / 2:
        yield "the window of the drain is more than half of it"
    for container in [main, *pod.get("initContainers", ())]:
        safe = container["securityContext"]
        if safe["allowPrivilegeEscalation"] or not safe["readOnlyRootFilesystem"]:
            yield f"{container['name']} may do more than it needs"
        if "memory" not in container["resources"]["limits"]:
            yield f"{container['name']} has no limit of memory"
        if not re.search(r":\d+\.\d+", container["image"]):
            yield f"{container['name']} uses {container['image']}, which is no version"
    if not pod["securityContext"]["runAsNonRoot"]:
        yield "it may be root"


def kubernetes_faults():
    objects = []
    for path in sorted((ROOT / "deploy/kubernetes").glob("*.yaml")):
        text = path.read_text()
        objects += yaml.safe_load_all(text)
        for name in re.findall(r"--from-literal=(\w+)=", text) + re.findall(r"\b(?:ROWCAST|TENANT)_\w+", text):
            if name not in KNOWN:
                yield f"{path.name}: {name} is no setting"
    kinds = {}
    for each in objects:
        kinds.setdefault(each["kind"], []).append(each)
    [deployment] = kinds["Deployment"]
    for fault in deployment_faults(deployment["spec"]):
        yield f"Deployment: {fault}"
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    for service in kinds["Service"]:
        if not service["spec"]["selector"].items() <= labels.items():
            yield f"Service {service['metadata']['name']} selects nothing"
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in ports:
                yield f"Service {service['metadata']['name']} leads to {port['targetPort']}"
    for kind, field in [("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")]:
        [only] = kinds[kind]
        if not only["spec"][field]["matchLabels"].items() <= labels.items():
            yield f"{kind} selects nothing"
    if deployment["spec"]["replicas"] < 2:
        yield "one server cannot be replaced without a pause"


def systemd_faults():
    text = (ROOT / "deploy/systemd/rowcast.service").read_text()
    values = dict(re.findall(r"^(\w+)=(.*)$", text, re.M))
    if int(values["TimeoutStopSec"]) * 1000 <= int(KNOWN["ROWCAST_DRAIN_TIMEOUT_MS"]):
        yield "TimeoutStopSec is not longer than ROWCAST_DRAIN_TIMEOUT_MS"
    if int(values["LimitNOFILE"]) <= int(KNOWN["MAX_CONNECTIONS"]):
        yield "LimitNOFILE is not more than MAX_CONNECTIONS"
    for name in re.findall(r"\bROWCAST_\w+", text):
        if name not in KNOWN:
            yield f"{name} is no setting"


def monitoring_faults():
    json.loads((ROOT / "deploy/grafana/rowcast.json").read_text())
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    for group in alerts["groups"]:
        for rule in group["rules"]:
            name = rule["alert"]
            if len(rule["annotations"]["description"]) < 40 or "severity" not in rule["labels"]:
                yield f"{name} says neither how bad it is nor what to do"
            for setting in re.findall(r"\b(?:ROWCAST|TENANT)_\w+|MAX_CONNECTIONS", json.dumps(rule)):
                if setting not in KNOWN:
                    yield f"{name}: {setting} is no setting"


def bill_faults():
    """The list of what the program is made of is whole, and knows licences and checksums."""
    bill = json.loads(subprocess.run([ROOT / ".ci/sbom"], check=True, stdout=subprocess.PIPE).stdout)
    references = {entry["bom-ref"] for entry in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    for entry in bill["components"]:
        if not entry.get("licenses") or not entry.get("hashes"):
            yield f"{entry['name']} has no licence or no checksum"
    for entry in bill["dependencies"]:
        yield from (f"{other} is not listed" for other in {entry["ref"], *entry["dependsOn"]} - references)
    if "pkg:cargo/rustls@" not in "".join(references):
        yield "rustls is missing"


if len(KNOWN) < 50 or not {"/ready", "/healthcheck"} <= ROUTES:
    sys.exit("the table of settings or the routes cannot be read")
found = [
    *(f"kubernetes: {fault}" for fault in kubernetes_faults()),
    *(f"systemd: {fault}" for fault in systemd_faults()),
    *(f"monitoring: {fault}" for fault in monitoring_faults()),
    *(f"sbom: {fault}" for fault in bill_faults()),
]
if found:
    sys.exit("\n".join(found))
