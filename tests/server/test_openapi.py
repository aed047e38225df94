"""schemathesis writes requests by our own OpenAPI, good ones and bad ones, and holds each answer to what it says."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from auricle.server.app import create_app
from auricle.server.settings import Settings
from tests.server.conftest import running
from tests.sound.making import tone, written

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)
# Its own list has no 413, which is what a request of 50 MB is told; and none of our models has a name it could guess.
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 404, 405, 408, 413, 415, 422]
"""
UNLIKELY = (  # what is made up for these can nearly never be done
    "regex", "structured_outputs", "response_format", "choices", "max_tokens", "max_completion_tokens", "top_logprobs",
    "n", "stop", "layers", "pooling", "timeout_s",
)  # fmt: skip


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running(Settings(max_tokens=4, timeout_s=20.0)) as address:
        yield address


@pytest.fixture(scope="module")
def schema(address: str) -> dict[str, Any]:
    return dict(httpx2.get(f"{address}/openapi.json").json())


def attack(address: str, schema: dict[str, Any], folder: Path, *options: str) -> str:
    """Runs schemathesis, which has to find nothing -> what it says."""
    (folder / "openapi.json").write_text(json.dumps(schema))
    (folder / "schemathesis.toml").write_text(CONFIG)
    command = [
        Path(sys.executable).with_name("schemathesis"),
        "--no-color",
        "--config-file",
        "schemathesis.toml",
        "run",
    ]
    command += ["openapi.json", "--url", address, "--checks", ",".join(CHECKS), "--seed", "1", "--continue-on-failure"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    return done.stdout


def requests_made(told: str) -> int:
    found = re.search(r"(\d+) generated", told)
    assert found, told
    return int(found[1])


def statuses(address: str) -> dict[int, int]:
    """How many requests ended with each status so far, by the server's own count."""
    counts: dict[int, int] = {}
    text = httpx2.get(f"{address}/metrics").text
    for status, count in re.findall(r'auricle_requests_total\{route="[^"]*",status="(\d+)"\} (\S+)', text):
        counts[int(status)] = counts.get(int(status), 0) + round(float(count))
    return counts


def to_the_point(schema: dict[str, Any]) -> dict[str, Any]:
    """The same, narrowed to the model that is served, words, and sounds that can be heard: most of it is answered."""
    schema = json.loads(json.dumps(schema))
    shapes = {name: shape.get("properties", {}) for name, shape in schema["components"]["schemas"].items()}
    sounds = [tone(seconds=0.3), tone(seconds=1.0), np.zeros(4000, np.float32), np.zeros(0, np.float32)]
    data = [base64.b64encode(written(sound, 16_000, "WAV", "PCM_16")).decode() for sound in sounds]
    words = {"type": "string", "pattern": "^[A-Za-z]{1,9}[?]?$"}
    for shape in shapes.values():
        if "model" in shape:
            shape["model"] = {"type": "string", "enum": ["tiny"]}
        for name in UNLIKELY:
            shape.pop(name, None)
    shapes["InputAudio"]["data"] = {"type": "string", "enum": data}
    shapes["AudioUrl"]["url"] = {"type": "string", "enum": [f"data:;base64,{sound}" for sound in data]}
    shapes["TextPart"]["text"] = words
    parts = [{"$ref": f"#/components/schemas/{name}"} for name in ("TextPart", "AudioPart", "UrlPart")]
    shapes["ChatMessage"]["content"] = {"type": "array", "minItems": 1, "maxItems": 3, "items": {"anyOf": parts}}
    shapes["ChatMessage"]["role"] = {"type": "string", "enum": ["user"]}
    shapes["ChatRequest"]["messages"]["maxItems"] = 1
    for name in ("EmbeddingRequest", "ClassificationRequest"):
        shapes[name]["input"] = {"$ref": "#/components/schemas/InputAudio"}
    shapes["ClassificationRequest"]["labels"] = {"type": "array", "items": words, "minItems": 2, "uniqueItems": True}
    schema["components"]["schemas"]["ClassificationRequest"]["required"].append("labels")
    return dict(schema)


def check_no_fault(address: str) -> None:
    counts = statuses(address)
    assert counts
    assert not [status for status in counts if status >= 500], counts


def test_nothing_is_found(address: str, schema: dict[str, Any], tmp_path: Path) -> None:
    told = attack(address, schema, tmp_path, "--phases", "coverage,fuzzing", "--max-examples", "4")
    assert requests_made(told) > 400
    check_no_fault(address)


def test_nothing_is_found_where_requests_are_answered(address: str, schema: dict[str, Any], tmp_path: Path) -> None:
    before = statuses(address).get(200, 0)
    options = ("--phases", "fuzzing", "--mode", "positive", "--max-examples", "60")
    paths = ("chat/completions", "audio/embeddings", "audio/classifications")
    chosen = [option for path in paths for option in ("--include-path", f"/v1/{path}")]
    attack(address, to_the_point(schema), tmp_path, *options, *chosen)
    assert statuses(address)[200] - before > 60
    check_no_fault(address)


@pytest.mark.slow
def test_nothing_is_found_in_minutes(address: str, schema: dict[str, Any], tmp_path: Path) -> None:
    attack(address, schema, tmp_path, "--phases", "coverage,fuzzing", "--max-examples", "300")
    attack(address, to_the_point(schema), tmp_path, "--mode", "positive", "--max-examples", "1000")
    check_no_fault(address)


def test_what_is_documented() -> None:
    """Every route says what it answers, in which media types, and how it refuses."""
    schema = create_app(Settings(api_keys=("k",))).openapi()
    posts = {path: item["post"] for path, item in schema["paths"].items() if "post" in item}
    assert len(posts) == 5
    for operation in posts.values():
        assert set(operation["responses"]) >= {"200", "400", "401", "404", "408", "413", "415", "422", "429", "503"}
        assert operation["security"] == [{"key": []}]
    for path in ("/v1/audio/transcriptions", "/v1/audio/translations"):
        (kind,) = posts[path]["requestBody"]["content"]
        assert kind == "multipart/form-data"
        assert "text/vtt" in posts[path]["responses"]["200"]["content"]
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert operation["responses"]["200"]["content"]
    assert "ValidationError" not in json.dumps(schema)
