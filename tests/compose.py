"""Checks docker-compose.yml as far as that goes without Docker, and prints a server's settings."""

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def defaults(text):
    """What Compose makes of a text where no variable is set."""
    inner = re.compile(r"\$\{\w+:-([^${}]*)\}")
    while inner.search(text):
        text = inner.sub(r"\1", text)
    return text


def faults(services, volumes):
    stages = re.findall(r"^FROM \S+ AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.M)
    for name, service in services.items():
        for other in service.get("depends_on", ()):
            if other not in services:
                yield f"{name} depends on {other}, which does not exist"
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if not (ROOT / source).is_file() if source.startswith(".") else source not in volumes:
                yield f"{name} mounts {source}, which does not exist"
        target = service.get("build", {}).get("target")
        if target and target not in stages:
            yield f"{name} builds {target}, which the Dockerfile lacks"
        image = service["image"]
        if not target and not re.search(r":\d+\.\d+", image):
            yield f"{name} uses {image}, which is no version"


for path in (ROOT / ".github/workflows").glob("*.yml"):
    yaml.safe_load(path.read_text())
compose = yaml.safe_load(defaults((ROOT / "docker-compose.yml").read_text()))
found = list(faults(compose["services"], compose["volumes"]))
if found:
    sys.exit("docker-compose.yml: " + "\n".join(found))
for variable, value in compose["services"]["rowcast1"]["environment"].items():
    if value is not None:
        print(f"{variable}={value}")
