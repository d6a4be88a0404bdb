"""Checks Dockerfile and docker-compose.yml as far as that goes without Docker, and prints a server's settings."""

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


def image_faults():
    """What the image would be built without."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    lines = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", dockerfile, re.M)
    copied = [ROOT / source for line in lines for source in line.split()]
    given = [ROOT / line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in copied:
        if not source.exists():
            yield f"{source} is copied, but does not exist"
        if not any(source.is_relative_to(folder) for folder in given):
            yield f"{source} is copied, but ignored"
    for file in (ROOT / "src").rglob("*.rs"):
        program = re.split(r"#\[cfg\(test\)\]\s*mod \w+ \{", file.read_text())[0]
        for name in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', program):
            included = (file.parent / name).resolve()
            if not any(included.is_relative_to(source) for source in copied):
                yield f"{file} includes {included}, which is not copied"
    version = re.search(r'^rust-version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    if not re.search(rf"^FROM rust:{re.escape(version)}\.\d", dockerfile, re.M):
        yield f"the image is built with another Rust than {version}"


for path in (ROOT / ".github/workflows").glob("*.yml"):
    yaml.safe_load(path.read_text())
compose = yaml.safe_load(defaults((ROOT / "docker-compose.yml").read_text()))
found = [
    *(f"Dockerfile: {fault}" for fault in image_faults()),
    *(f"docker-compose.yml: {fault}" for fault in faults(compose["services"], compose["volumes"])),
]
if found:
    sys.exit("\n".join(found))
for variable, value in compose["services"]["rowcast1"]["environment"].items():
    if value is not None:
        print(f"{variable}={value}")
