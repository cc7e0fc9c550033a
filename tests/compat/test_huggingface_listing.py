"""What `ais download` makes of repositories of Hugging Face: the real library, a stand-in for the hub."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import click
import msgspec
import pytest

from aisle.cli.download_options import JobOptions, job_options, taken
from aisle.cli.download_order import Order
from aisle.cli.huggingface import HubOptions, hub_options, hub_orders
from aisle.cli.huggingface_listing import Hub as HubClient
from aisle.cli.locations import Location
from aisle.errors import Denied, NotFound, SourceFailed, Unsupported
from aisle.model.names import parse_bucket
from aisle.rules.huggingface import Repository
from support.hub import Hub, git_blob, running_hub


@click.command()
@hub_options
@job_options
def _nothing_said(**_given: Any) -> None:
    pass


DEFAULTS = _nothing_said.make_context("ais", []).params
JOB, OWN = taken(DEFAULTS, JobOptions), taken(DEFAULTS, HubOptions)
LARGE = bytes(range(256)) * 20
MODEL = {
    ".gitattributes": b"*.bin",
    "config.json": b"{}",
    "onnx/a b#1.bin": LARGE,
    "onnx/deep/x%41.txt": b"x",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def hub(server: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """An empty hub that the command is pointed at, without a token."""
    server.repositories.clear()
    server.renamed.clear()
    server.tokens.clear()
    server.asked.clear()
    server.refusals.clear()
    server.page_size = 1000
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return server


def orders(place: str = "", source: str = "", *, recursive: bool = False, **own: Any) -> list[Order]:
    destination = Location(parse_bucket("b"), place)
    return hub_orders(source, destination, JOB, OWN._replace(**own), recursive=recursive)


def lines(found: list[Order]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for order in found for line in order.lines or ()]


def names(found: list[Order]) -> list[str]:
    return [line["name"] for line in lines(found)]


def test_a_model_comes_with_all_its_files_at_one_commit(hub: Hub) -> None:
    model = hub.add("models", "openai/gpt2", MODEL)
    found = orders("p/", hf_model="openai/gpt2")
    base = f"{hub.url}/openai/gpt2/resolve/{model.revisions['main']}"
    assert lines(found) == [
        {
            "link": f"{base}/config.json",
            "name": "p/config.json",
            "checksum": f"gitblob:{git_blob(b'{}')}",
            "size": 2,
        },
        {
            "link": f"{base}/onnx/a%20b%231.bin",
            "name": "p/onnx/a b#1.bin",
            "checksum": f"sha256:{hashlib.sha256(LARGE).hexdigest()}",
            "size": len(LARGE),
        },
        {
            "link": f"{base}/onnx/deep/x%2541.txt",
            "name": "p/onnx/deep/x%41.txt",
            "checksum": f"gitblob:{git_blob(b'x')}",
            "size": 1,
        },
    ]
    assert found[0].found == "Found 3 files in model 'openai/gpt2'"
    assert found[0].request.description == f"hf://openai/gpt2@{model.revisions['main'][:12]} -> ais://b/p/"


def test_a_tree_comes_in_pages(hub: Hub) -> None:
    hub.page_size = 7
    hub.add("models", "o/m", {f"dir/{number:03}": b"%d" % number for number in range(50)})
    assert names(orders(hf_model="o/m")) == [f"dir/{number:03}" for number in range(50)]
    assert hub.times("/tree/") == 8  # 50 files and a folder


def test_a_dataset_comes_as_its_conversion_under_its_present_name(hub: Hub) -> None:
    squad = hub.add("datasets", "rajpurkar/squad", {"README.md": b"old"})
    commit = squad.convert({"plain_text": {"train": [LARGE], "validation": [LARGE[1:]]}})
    hub.renamed["datasets", "squad"] = "rajpurkar/squad"
    found = orders("squad/", hf_dataset="squad")
    assert found[0].found == "Found 2 parquet files in dataset 'squad'"
    base = f"{hub.url}/datasets/rajpurkar/squad/resolve/{commit}/plain_text"
    assert [(line["name"], line["link"], line["size"]) for line in lines(found)] == [
        ("squad/train/0.parquet", f"{base}/train/0000.parquet", len(LARGE)),
        ("squad/validation/0.parquet", f"{base}/validation/0000.parquet", len(LARGE) - 1),
    ]
    assert lines(found)[0]["checksum"] == f"sha256:{hashlib.sha256(LARGE).hexdigest()}"


def test_configs_of_a_dataset_do_not_collide(hub: Hub) -> None:
    glue = hub.add("datasets", "nyu/glue", {"README.md": b"x"})
    glue.convert({"cola": {"train": [b"1"]}, "sst2": {"train": [b"2", b"3"]}})
    assert names(orders(hf_dataset="nyu/glue")) == [
        "cola/train/0.parquet",
        "sst2/train/0.parquet",
        "sst2/train/1.parquet",
    ]
    assert names(orders(hf_dataset="nyu/glue", hf_include=("sst2/",))) == [
        "sst2/train/0.parquet",
        "sst2/train/1.parquet",
    ]


def test_half_a_conversion_is_told(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    large = hub.add("datasets", "o/large", {"README.md": b"x"})
    large.convert({"default": {"train": [b"1"]}}, partial=True)
    assert names(orders(hf_dataset="o/large")) == ["train/0.parquet"]
    assert "of default/train the hub has converted only the beginning" in capsys.readouterr().err


def test_without_a_conversion_the_original_files_are_taken(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add("datasets", "o/d", {"data.csv": b"1"})
    assert names(orders(hf_dataset="o/d")) == ["data.csv"]
    assert "no Parquet conversion" in capsys.readouterr().err
    with pytest.raises(NotFound, match="--hf-files original"):
        orders(hf_dataset="o/d", hf_files="parquet")


def test_original_files_and_revisions_are_chosen(hub: Hub) -> None:
    dataset = hub.add("datasets", "o/d", {"data.csv": b"new"})
    dataset.convert({"default": {"train": [b"1"]}})
    old = dataset.commit({"old.csv": b"old"}, "refs/pr/1")
    assert names(orders(hf_dataset="o/d", hf_files="original")) == ["data.csv"]
    for revision in ("refs/pr/1", old):
        found = orders(hf_dataset="o/d", hf_revision=revision)
        assert names(found) == ["old.csv"]
        assert f"/resolve/{old}/" in lines(found)[0]["link"]
    with pytest.raises(NotFound, match="'o/d' has no revision 'v9'"):
        orders(hf_dataset="o/d", hf_revision="v9")


@pytest.mark.parametrize(
    ("place", "name"),
    [("", "onnx/a b#1.bin"), ("p/", "p/onnx/a b#1.bin"), ("as.bin", "as.bin")],
)
def test_one_file_keeps_its_path_or_takes_the_given_name(hub: Hub, place: str, name: str) -> None:
    hub.add("models", "o/m", MODEL)
    found = orders(place, hf_model="o/m", hf_file="onnx/a b#1.bin")
    assert names(found) == [name]
    assert lines(found)[0]["checksum"].startswith("sha256:")


@pytest.mark.parametrize("path", ["missing.bin", "onnx"])
def test_what_is_no_file_is_told(hub: Hub, path: str) -> None:
    hub.add("models", "o/m", MODEL)
    with pytest.raises(NotFound, match=path):
        orders(hf_model="o/m", hf_file=path)


def test_addresses_name_files_folders_and_repositories(hub: Hub) -> None:
    hub.add("models", "o/m", MODEL)
    assert names(orders("p/", "hf://o/m/onnx/deep/x%41.txt")) == ["p/x%41.txt"]
    for address, recursive in (("hf://o/m@main/onnx/", False), ("hf://o/m/onnx", True)):
        found = orders("p", address, recursive=recursive)
        assert names(found) == ["p/a b#1.bin", "p/deep/x%41.txt"]
    assert names(orders("", "hf://o/m")) == ["config.json", "onnx/a b#1.bin", "onnx/deep/x%41.txt"]
    dataset = hub.add("datasets", "o/d", {"data.csv": b"1"})
    dataset.convert({"default": {"train": [b"1"]}})
    assert names(orders("", "hf://datasets/o/d")) == ["data.csv"]
    assert names(orders("", "hf://datasets/o/d@~parquet/default/")) == ["train/0000.parquet"]
    with pytest.raises(NotFound, match="no such file or folder"):
        orders("", "hf://o/m/nothing", recursive=True)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("hf://o/m/onnx/*.bin", ["a b#1.bin"]),
        ("hf://o/m@main/*.txt", ["onnx/deep/x%41.txt"]),
        ("hf://o/m/*/deep/*", ["onnx/deep/x%41.txt"]),
        ("hf://o/m/o*", ["onnx/a b#1.bin", "onnx/deep/x%41.txt"]),
    ],
)
def test_an_address_may_have_a_glob(hub: Hub, address: str, expected: list[str]) -> None:
    hub.add("models", "o/m", MODEL)
    assert names(orders("", address)) == expected


def test_what_no_glob_chooses_is_told_with_what_there_is(hub: Hub) -> None:
    hub.add("models", "o/m", MODEL)
    with pytest.raises(NotFound, match=r"it has \.gitattributes, config\.json, onnx/a b#1\.bin"):
        orders(hf_model="o/m", hf_include=("*.safetensors",))


def test_large_files_get_jobs_of_their_own(hub: Hub) -> None:
    hub.add("models", "o/m", MODEL)
    found = orders(hf_model="o/m", blob_threshold=1024)
    assert [[line["name"] for line in lines([order])] for order in found] == [
        ["config.json", "onnx/deep/x%41.txt"],
        ["onnx/a b#1.bin"],
    ]
    assert [order.found for order in found] == [
        "Found 3 files in model 'o/m'\nCreated 1 individual job for files >= 1.00KiB",
        "",
    ]


def test_a_missing_library_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(Unsupported, match=r"pip install '\.\[hf\]'"):
        orders(hf_model="o/m")
    assert hub.asked == []


# Who may have what.


def test_a_private_repository_wants_a_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("models", "o/secret", MODEL, private=True)
    hub.tokens = {"good": {"o/secret"}, "other": set()}
    with pytest.raises(
        NotFound, match=r"does not exist at .*, or is private: give a token with --hf-auth or HF_TOKEN"
    ):
        orders(hf_model="o/secret")
    with pytest.raises(NotFound, match="this token may not see it"):
        orders(hf_model="o/secret", hf_auth="other")
    with pytest.raises(Denied, match="refuses this token"):
        orders(hf_model="o/secret", hf_auth="wrong")
    monkeypatch.setenv("HF_TOKEN", "good")
    assert orders(hf_model="o/secret")[0].request.headers == {"Authorization": ["Bearer good"]}


def test_a_gated_repository_wants_its_terms_accepted(hub: Hub) -> None:
    hub.add("models", "meta/llama", MODEL, gated=True)
    hub.tokens = {"good": {"meta/llama"}, "other": set()}
    page = f"{hub.url}/meta/llama"
    with pytest.raises(Denied, match=f"is gated: accept its terms at {page}, then give a token"):
        orders(hf_model="meta/llama")
    with pytest.raises(Denied, match=f"this token has no access to it: accept its terms at {page}"):
        orders(hf_model="meta/llama", hf_auth="other")
    assert orders(hf_model="meta/llama", hf_auth="good")[0].request.headers == {
        "Authorization": ["Bearer good"]
    }


def test_the_node_gets_a_token_only_where_it_is_needed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("models", "o/open", MODEL)
    hub.tokens = {"good": set()}
    monkeypatch.setenv("HF_TOKEN", "good")
    assert orders(hf_model="o/open")[0].request.headers == {}
    assert {asked.token for asked in hub.asked} == {"good"}
    assert orders(hf_model="o/open", hf_auth="good")[0].request.headers == {"Authorization": ["Bearer good"]}


def test_a_login_of_other_tools_is_not_used(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # The library reads where it is when it is imported: only a process of its own shows it.
    home = tmp_path_factory.mktemp("home")
    (home / "token").write_text("stored")
    monkeypatch.setenv("HF_HOME", str(home))
    hub.add("models", "o/open", MODEL)
    program = (
        "from aisle.cli.huggingface_listing import Hub; from aisle.rules.huggingface import Repository; "
        f"print(Hub(endpoint={hub.url!r}).resolve(Repository('model', 'o/open'), 'main').commit)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() in hub.repositories["models", "o/open"].commits
    assert {asked.token for asked in hub.asked} == {""}


def test_a_repository_that_does_not_exist_is_told(hub: Hub) -> None:
    hub.tokens = {"good": set()}
    with pytest.raises(NotFound, match="dataset 'o/none' does not exist"):
        orders(hf_dataset="o/none")
    with pytest.raises(NotFound, match="model 'o/none' does not exist"):
        orders(hf_model="o/none", hf_auth="good")


@pytest.mark.parametrize("token", ["with blank", "line\nbreak", "ünicode"])
def test_a_token_that_can_be_none_is_not_sent_and_not_shown(hub: Hub, token: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        orders(hf_model="o/m", hf_auth=token)
    assert token not in str(refused.value)
    assert hub.asked == []


# A hub that has other things to do.


def test_a_hub_that_asks_to_wait_is_asked_again(hub: Hub) -> None:
    hub.add("models", "o/m", MODEL)
    hub.refuse("/api/models/o/m", 429, Retry_After="7")
    hub.refuse("/api/models/o/m", 429, RateLimit='"api";r=0;t=9', RateLimit_Policy='"api";q=500;w=300')
    hub.refuse("/tree/", 503, 1)
    told: list[str] = []
    slept: list[float] = []
    client = HubClient(endpoint=hub.url, tell=told.append, sleep=slept.append)
    revision = client.resolve(Repository("model", "o/m"), "main")
    assert len(client.files(revision.repository, revision.commit)) == len(MODEL)
    assert slept[:2] == [7, 9]
    assert "slow down (429); it is more patient with a token; asking again in 7 s" in told[0]


def test_a_hub_that_never_answers_is_given_up(hub: Hub) -> None:
    hub.add("models", "o/m", MODEL)
    hub.refuse("/api/models/o/m", 500, 100)
    slept: list[float] = []
    client = HubClient(endpoint=hub.url, sleep=slept.append)
    with pytest.raises(SourceFailed, match="failed for model 'o/m': status 500"):
        client.resolve(Repository("model", "o/m"), "main")
    assert slept == [1, 2, 4, 8, 16, 32, 60]


def test_a_dead_hub_is_told() -> None:
    client = HubClient(endpoint="http://127.0.0.1:1", sleep=lambda _: None)
    with pytest.raises(SourceFailed, match=r"cannot reach the hub at http://127\.0\.0\.1:1: "):
        client.resolve(Repository("model", "o/m"), "main")
