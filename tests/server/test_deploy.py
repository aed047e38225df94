"""The files in deploy/: that they parse, and that what they say of the server is so. None is built or started here."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from auricle.server.gate import OPEN
from auricle.server.settings import Settings
from auricle.server.workers import MARGIN_S
from tests.server.processes import command, free_port, serving

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
LONGEST_STOP_S = Settings.shutdown_s + MARGIN_S


def page() -> str:
    return (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def dockerfile() -> list[tuple[str, str]]:
    """The instructions and what follows each."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text())
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def last(instruction: str) -> str:
    """The last of an instruction, which is the one that counts."""
    return [rest for name, rest in dockerfile() if name == instruction][-1]


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return content


def unit() -> dict[str, list[str]]:
    """The settings of the systemd unit's service; one may stand there several times."""
    text = (DEPLOY / "auricle.service").read_text()
    settings: dict[str, list[str]] = {}
    for line in text.split("[Service]")[1].split("[Install]")[0].splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings.setdefault(name, []).append(value)
    return settings


def flags_of(arguments: list[str]) -> list[str]:
    return [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]


def filled(text: str) -> str:
    """With its variables' defaults, as compose does it."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


# --- flags


def commands() -> dict[str, list[str]]:
    entry = json.loads(last("ENTRYPOINT"))
    return {
        "Dockerfile": [*entry, *json.loads(last("CMD"))],
        "compose.yaml": [*entry, *map(filled, compose()["services"]["auricle"]["command"])],
        "auricle.service": shlex.split(unit()["ExecStart"][0]),
        **{
            f"deploy.md, {number}": [*entry, *re.findall(r"--model \S+", line)]
            for number, line in enumerate(re.findall(r"docker run .* auricle( .*)?$", page(), re.MULTILINE))
        },
    }


@pytest.fixture(scope="module")
def known() -> set[str]:
    """The flags of `auricle serve`, as it tells them."""
    told = subprocess.run([*command(), "--help"], capture_output=True, text=True, timeout=60, check=True)
    return set(re.findall(r"--[a-z][a-z-]*", told.stdout))


@pytest.mark.parametrize("name", commands())
def test_every_flag_exists(name: str, known: set[str]) -> None:
    arguments = commands()[name]
    assert Path(arguments[0]).name == "auricle"
    assert arguments[1] == "serve"
    given = flags_of([word for argument in arguments[2:] for word in argument.split()])
    assert given
    assert set(given) <= known


def test_the_command_of_compose_serves(tmp_path: Path) -> None:
    """With its key file, on another port, and for this machine alone."""
    (tmp_path / "api-keys").write_text("key-of-the-test\n")
    flags = [argument.replace("/run/secrets", str(tmp_path)) for argument in commands()["compose.yaml"][6:]]
    with serving(tmp_path, *flags) as served:
        assert served.get("/v1/models")[0] == 401
        assert served.end() == 0


# --- names and ports


def test_ports_agree() -> None:
    (exposed,) = last("EXPOSE").split()
    arguments = json.loads(last("ENTRYPOINT"))
    assert arguments[arguments.index("--port") + 1] == exposed
    assert arguments[arguments.index("--host") + 1] == "0.0.0.0"
    (port,) = compose()["services"]["auricle"]["ports"]
    assert filled(port) == f"127.0.0.1:8000:{exposed}"
    assert f":{exposed}/" in last("HEALTHCHECK")
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"auricle:{exposed}"]
    assert job["authorization"]["credentials_file"] == "/run/secrets/metrics-key"


def test_models_are_kept_in_the_volume() -> None:
    (folder,) = last("VOLUME").split()
    assert re.search(rf"HF_HOME={folder}\b", last("ENV"))
    assert compose()["services"]["auricle"]["volumes"] == [f"models:{folder}"]
    assert "HF_HOME=/var/cache/auricle" in unit()["Environment"]
    assert unit()["CacheDirectory"] == ["auricle"]


def test_whatever_compose_names_is_there() -> None:
    content = compose()
    for service in content["services"].values():
        assert set(service.get("secrets", [])) <= set(content["secrets"])
        named = [volume.split(":")[0] for volume in service["volumes"]]
        for name in named:
            assert (DEPLOY / name).is_file() if name.startswith(".") else name in content["volumes"]
    build = content["services"]["auricle"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    arguments = {rest.partition("=")[0] for name, rest in dockerfile() if name == "ARG"}
    assert set(build["args"]) <= arguments


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    copied = [
        word for name, rest in dockerfile() if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]
    ]
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored, "nothing but what is named"
    assert sorted(copied) == sorted(line[1:] for line in ignored if line.startswith("!"))
    assert all((ROOT / name).exists() for name in copied)


# --- manners


def test_nobody_is_root_and_no_key_is_in_a_file() -> None:
    assert last("USER").isdecimal()
    assert int(last("USER")) > 0
    assert unit()["DynamicUser"] == ["yes"]
    texts = [path.read_text() for path in DEPLOY.iterdir() if path.name != ".gitignore"]
    assert not any(re.search(r"(?i)(api_keys|token|password)\s*[=:]\s*['\"]?[A-Za-z0-9]", text) for text in texts)
    ignored = (DEPLOY / ".gitignore").read_text().split()
    assert {Path(secret["file"]).name for secret in compose()["secrets"].values()} <= set(ignored)


def test_there_is_time_to_stop() -> None:
    assert unit()["KillMode"] == ["mixed"]
    assert float(unit()["TimeoutStopSec"][0]) > LONGEST_STOP_S
    assert float(compose()["services"]["auricle"]["stop_grace_period"].removesuffix("s")) > LONGEST_STOP_S
    stops = [float(seconds) for seconds in re.findall(r"--stop-timeout (\d+)", page())]
    assert stops
    assert min(stops) > LONGEST_STOP_S


def test_the_health_check_tells_a_server_from_none(tmp_path: Path) -> None:
    """Its very command, on a port of the test's."""
    python, _, program = json.loads(last("HEALTHCHECK").split("CMD ")[1])
    assert python == "python"
    path = re.search(r":8000(/\w+)", program)
    assert path is not None
    assert path[1] in OPEN, "it has no key"
    assert _runs(program, free_port()) != 0
    (tmp_path / "keys").write_text("key-of-the-test\n")
    with serving(tmp_path, "--api-key-file", str(tmp_path / "keys")) as served:
        assert _runs(program, served.port) == 0


def _runs(program: str, port: int) -> int:
    return subprocess.run(
        [sys.executable, "-c", program.replace(":8000", f":{port}")], capture_output=True, timeout=30
    ).returncode


def test_the_unit_is_read_by_systemd(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd here")
    text = (DEPLOY / "auricle.service").read_text()
    assert configparser.ConfigParser(strict=False, interpolation=None).read_string(text) is None
    here = tmp_path / "auricle.service"
    here.write_text(text.replace("/opt/auricle/bin/auricle", sys.executable))  # it looks whether the program is there
    told = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stderr) == (0, "")
