"""From a name to a folder: parsing, what is at hand, and downloads from a hub on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from auricle.errors import CheckpointError, HubError
from auricle.hub import BUILT_IN, ModelName, cached_models, find
from tests.hub_server import COMMIT, Hub, serving

BACKENDS = ("native", "transformers", "openai")
SMALL_FILES = {  # of a checkpoint, as far as the hub is concerned
    "config.json": b'{"model_type": "gemma4"}',
    "model.safetensors": b"weights " * 1000,
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ bos_token }}",
    "tokenizer.model": b"pieces",
    "vocab.txt": b"a",
    "merges.txt": b"a b",
    "qwen.tiktoken": b"a 0",
}
USELESS_FILES = {
    "pytorch_model.bin": b"pickle",
    "README.md": b"read me",
    "model.gguf": b"another engine's",
    "consolidated.safetensors": b"the weights again",
}


def message(name: str, **options: bool) -> str:
    """The one line that a name is refused with."""
    with pytest.raises(HubError) as caught:
        find(ModelName.parse(name, BACKENDS), **options)
    assert caught.value.exit_status == 2
    text = str(caught.value)
    assert "\n" not in text
    return text


# --- names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tiny", ModelName("tiny")),
        ("native:tiny", ModelName("tiny")),
        ("google/gemma-4-E2B-it", ModelName("google/gemma-4-E2B-it")),
        ("google/gemma-4-E2B-it@main", ModelName("google/gemma-4-E2B-it", revision="main")),
        ("google/gemma-4-E2B-it@", ModelName("google/gemma-4-E2B-it")),
        ("a/b@refs/pr/3", ModelName("a/b", revision="refs/pr/3")),
        ("transformers:mistralai/Voxtral@v1", ModelName("mistralai/Voxtral", "transformers", "v1")),
        ("openai:NAME", ModelName("NAME", "openai")),
        ("openai:ft:gpt:x", ModelName("ft:gpt:x", "openai")),
        ("openai:org/name", ModelName("org/name", "openai")),
        ("openai:llama3:8b", ModelName("llama3:8b", "openai")),
        ("openai:name@x", ModelName("name@x", "openai")),
        ("./folder:with/colon", ModelName("./folder:with/colon")),
        (r"C:\models\ear", ModelName(r"C:\models\ear")),
    ],
)
def test_a_name_is_taken_apart(text: str, expected: ModelName) -> None:
    assert ModelName.parse(text, BACKENDS) == expected


def test_a_folder_that_exists_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "openai:odd@name"
    folder.mkdir()
    assert ModelName.parse(str(folder), BACKENDS) == ModelName(str(folder))
    assert find(ModelName(str(folder))) == folder
    behind = f"transformers:{folder}"
    assert ModelName.parse(behind, BACKENDS) == ModelName(str(folder), "transformers")


def test_an_unknown_backend_names_the_known() -> None:
    with pytest.raises(HubError, match="unknown backend 'onnx' in 'onnx:x': known is native, transformers, openai"):
        ModelName.parse("onnx:x", BACKENDS)


@pytest.mark.parametrize("text", ["", "native:", "@main", "native:@main"])
def test_a_name_without_a_name(text: str) -> None:
    with pytest.raises(HubError, match=r"names no model: spell it \[backend:\]name\[@revision\]"):
        ModelName.parse(text, BACKENDS)


# --- what is at hand


def test_built_in_models_need_nothing() -> None:
    for name in BUILT_IN:
        assert find(ModelName(name)).parts[-2:] == ("assets", name)


def test_a_built_in_model_is_not_hidden_by_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find(ModelName.parse("tiny", BACKENDS)).parts[-2] == "assets"
    assert find(ModelName.parse("./tiny", BACKENDS)) == Path("./tiny")


def test_a_built_in_model_has_no_revisions() -> None:
    assert "tiny is built in and has no revisions: leave out @v2" in message("tiny@v2")


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ear").mkdir()
    assert find(ModelName("~/ear")) == tmp_path / "ear"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(CheckpointError, match="it is a file; name the folder it lies in"):
        find(ModelName.parse(str(file), BACKENDS))


@pytest.mark.parametrize("name", ["tyni", "./nowhere", "/nowhere", "~/nowhere", "a/b/c", "no spaces/please", "a/b?c"])
def test_what_can_not_be_a_name(name: str) -> None:
    text = message(name)
    assert text.startswith(f"no model {name!r}: it is not built in (tiny")
    assert "not a hub name such as google/gemma-4-E2B-it" in text


@pytest.mark.parametrize("name", ["a/b..c", "a/--b", "-a/b", "a/b.git"])
def test_what_the_hub_would_not_take_as_a_name(name: str) -> None:
    assert name in message(name)


# --- the hub's cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _cache_manager

    folder = tmp_path / "hub"
    folder.mkdir()
    for module in (constants, _cache_manager):  # which has a name of its own for it
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def put(cache: Path, name: str, files: dict[str, bytes], revision: str = "main") -> Path:
    """Files in the cache, laid out as the library does. Returns the folder of the snapshot."""
    repo = cache / f"models--{name.replace('/', '--')}"
    snapshot = repo / "snapshots" / COMMIT
    for folder in (repo / "refs", snapshot, repo / "blobs"):
        folder.mkdir(parents=True, exist_ok=True)
    (repo / "refs" / revision).write_text(COMMIT)
    for file, content in files.items():
        (snapshot / file).write_bytes(content)
    return snapshot


def test_without_network_a_name_is_one_line(cache: Path) -> None:
    text = message("google/gemma-4-E2B-it")
    assert text.startswith("google/gemma-4-E2B-it is not in the cache and the hub can't be reached: connect to")
    assert text.endswith("give a local folder, or a built-in model (--model tiny; tiny-audiolm makes sound)")


def test_without_downloads_it_says_how_to_fetch(cache: Path) -> None:
    assert "auricle models pull acme/ear" in message("acme/ear", download=False)


def test_what_is_in_the_cache_is_found(cache: Path) -> None:
    snapshot = put(cache, "acme/ear", SMALL_FILES)
    assert find(ModelName("acme/ear")) == snapshot
    assert find(ModelName("acme/ear"), download=False) == snapshot
    assert find(ModelName("acme/ear", revision="main")) == snapshot
    assert find(ModelName("acme/ear", revision=COMMIT)) == snapshot


def test_another_revision_is_not(cache: Path) -> None:
    put(cache, "acme/ear", SMALL_FILES)
    assert "not in the cache" in message("acme/ear@v2")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_an_interrupted_download_is_not_taken_for_a_model(cache: Path, missing: str) -> None:
    put(cache, "acme/ear", {name: content for name, content in SMALL_FILES.items() if name != missing})
    message("acme/ear")


def test_an_interrupted_download_of_shards_is_not_taken_for_a_model(cache: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    files = {
        "config.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-00001-of-00002.safetensors": b"x",
    }
    put(cache, "acme/ear", files)
    message("acme/ear")
    snapshot = put(cache, "acme/ear", {"model-00002-of-00002.safetensors": b"x"})
    assert find(ModelName("acme/ear")) == snapshot


def test_cached_models_are_listed(cache: Path) -> None:
    assert list(cached_models()) == []
    snapshot = put(cache, "acme/ear", SMALL_FILES)
    put(cache, "acme/words-only", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    (cache / "models--acme--interrupted" / "blobs").mkdir(parents=True)
    [(name, folder, size)] = list(cached_models())
    assert (name, folder) == ("acme/ear", snapshot)
    assert size >= len(SMALL_FILES["model.safetensors"])


def test_without_a_cache_none_are_listed(cache: Path) -> None:
    shutil.rmtree(cache)
    assert list(cached_models()) == []


# --- a hub. Its address is read when huggingface_hub is imported: hence a process of its own.


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "served"
    folder.mkdir()
    for name, content in {**SMALL_FILES, **USELESS_FILES}.items():
        (folder / name).write_bytes(content)
    with serving(Hub("acme/ear", folder)) as running:
        yield running


def find_online(hub: Hub, name: str, home: Path, function: str = "find") -> str:
    """The folder, or the error's class and text, as a process gets it that has this hub and an empty home."""
    program = f"""
import sys
from auricle.errors import AuricleError
from auricle.hub import ModelName, find, pull
try:
    print({function}(ModelName.parse(sys.argv[1], ("native",))))
except AuricleError as error:
    print(type(error).__name__, error)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment |= {"HF_HUB_DOWNLOAD_TIMEOUT": "5", "HF_HUB_ETAG_TIMEOUT": "5", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", program, name], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_model_is_downloaded_once(hub: Hub, tmp_path: Path) -> None:
    folder = Path(find_online(hub, "acme/ear", tmp_path / "home"))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == SMALL_FILES  # no pickles, nothing useless
    hub.asked.clear()
    assert find_online(hub, "acme/ear", tmp_path / "home") == str(folder)
    assert not hub.asked  # what is in the cache needs no hub


def test_a_revision_is_asked_for(hub: Hub, tmp_path: Path) -> None:
    hub.revisions = ("main", "v2")
    assert find_online(hub, "acme/ear@v2", tmp_path / "home").endswith(COMMIT)
    assert hub.asked[0].startswith("GET /api/models/acme/ear/revision/v2")


@pytest.mark.parametrize(
    ("name", "refusal", "expected"),
    [
        ("acme/nose", None, "HubError the hub has no model 'acme/nose', or it is private: check the name"),
        ("acme/ear@v9", None, "HubError acme/ear has no revision 'v9' on the hub"),
        ("acme/ear", (403, "GatedRepo"), "HubError acme/ear is gated: accept its licence on the hub, then log in"),
        ("acme/ear", (500, ""), "HubError acme/ear is not in the cache and the hub can't be reached"),
    ],
)
def test_what_the_hub_refuses(
    hub: Hub, tmp_path: Path, name: str, refusal: tuple[int, str] | None, expected: str
) -> None:
    hub.refusal = refusal
    answer = find_online(hub, name, tmp_path / "home")
    assert answer.startswith(expected)
    assert "\n" not in answer


def test_a_hub_that_does_not_answer(tmp_path: Path) -> None:
    nobody = Hub("acme/ear", tmp_path, url="http://127.0.0.1:9")
    assert "the hub can't be reached" in find_online(nobody, "acme/ear", tmp_path / "home")


def test_a_download_that_breaks_is_one_line_and_goes_on_the_next_time(hub: Hub, tmp_path: Path) -> None:
    hub.breaks = {"model.safetensors"}
    answer = find_online(hub, "acme/ear", tmp_path / "home")
    assert answer.startswith("HubError acme/ear")
    assert "\n" not in answer
    hub.breaks = set()
    folder = Path(find_online(hub, "acme/ear", tmp_path / "home"))
    assert (folder / "model.safetensors").read_bytes() == SMALL_FILES["model.safetensors"]


def test_a_repository_without_weights_is_no_model(hub: Hub, tmp_path: Path) -> None:
    (hub.folder / "model.safetensors").unlink()
    answer = find_online(hub, "acme/ear", tmp_path / "home")
    assert answer.startswith("HubError acme/ear")
    assert "safetensors" in answer


def test_pull_brings_what_is_new(hub: Hub, tmp_path: Path) -> None:
    find_online(hub, "acme/ear", tmp_path / "home")
    hub.asked.clear()
    find_online(hub, "acme/ear", tmp_path / "home", "pull")
    assert hub.asked  # unlike find, it looks


def test_a_model_on_a_server_has_no_folder() -> None:
    with pytest.raises(HubError, match=r"openai:x is a model on a server, which shows no files"):
        find(ModelName("x", "openai"))
