import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import BadRequest
from aisle.rules.huggingface import (
    HubFile,
    Repository,
    RepositoryFile,
    Source,
    batches,
    hub_link,
    original_files,
    parquet_files,
    parse_source,
    repository,
    selected,
)

SQUAD = Repository("dataset", "rajpurkar/squad")
GPT2 = Repository("model", "gpt2")
COMMIT = "7b6d24c440a36b6815f21b70d25016731768db1f"


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("hf://datasets/rajpurkar/squad", Source(SQUAD)),
        ("hf://datasets/rajpurkar/squad/", Source(SQUAD)),
        ("hf://datasets/rajpurkar/squad/a/b c.txt", Source(SQUAD, "", "a/b c.txt")),
        ("hf://datasets/rajpurkar/squad@v1.0/a", Source(SQUAD, "v1.0", "a")),
        ("hf://datasets/rajpurkar/squad@feature%2Fx/a", Source(SQUAD, "feature/x", "a")),
        ("hf://datasets/rajpurkar/squad@refs/pr/3/a/b", Source(SQUAD, "refs/pr/3", "a/b")),
        ("hf://datasets/rajpurkar/squad@refs%2Fpr%2F3/a", Source(SQUAD, "refs/pr/3", "a")),
        ("hf://datasets/rajpurkar/squad@~parquet/c/s", Source(SQUAD, "refs/convert/parquet", "c/s")),
        ("hf://datasets/rajpurkar/squad@refs/convert/parquet", Source(SQUAD, "refs/convert/parquet")),
        ("hf://gpt2@main/config.json", Source(GPT2, "main", "config.json")),
        ("hf://gpt2", Source(GPT2)),
        ("hf://models/gpt2", Source(GPT2)),
        ("hf://openai/gpt2/x@y.json", Source(Repository("model", "openai/gpt2"), "", "x@y.json")),
        ("hf://datasets/squad@main/a/b@c", Source(Repository("dataset", "squad"), "main", "a/b@c")),
    ],
)
def test_addresses_are_read(address: str, source: Source) -> None:
    assert parse_source(address) == source


@pytest.mark.parametrize(
    "address",
    [
        "https://huggingface.co/gpt2",
        "hf://",
        "hf://datasets/",
        "hf://spaces/a/b",
        "hf://buckets/a/b",
        "hf://a b/c",
        "hf://../etc/passwd",
        "hf://datasets/a/..",
        "hf://gpt2@",
        "hf://gpt2@/config.json",
        "hf://gpt2@a..b/config.json",
        "hf://gpt2@a%0Ab/config.json",
        "hf://" + "a" * 97,
    ],
)
def test_what_can_be_no_address_is_refused(address: str) -> None:
    with pytest.raises(BadRequest):
        parse_source(address)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        source = parse_source(f"hf://{text}")
    except BadRequest:
        return
    assert text.endswith(source.path)


@pytest.mark.parametrize(
    ("address", "link"),
    [
        (
            "hf://datasets/rajpurkar/squad@v1/a b#c?d%20.txt",
            "https://huggingface.co/datasets/rajpurkar/squad/resolve/v1/a%20b%23c%3Fd%2520.txt",
        ),
        ("hf://openai/gpt2/config.json", "https://huggingface.co/openai/gpt2/resolve/main/config.json"),
        (
            "hf://datasets/squad@~parquet/plain_text/train/0000.parquet",
            "https://huggingface.co/datasets/squad/resolve/refs%2Fconvert%2Fparquet/plain_text/train/0000.parquet",
        ),
    ],
)
def test_addresses_of_files_become_links(address: str, link: str) -> None:
    assert hub_link(address) == link


def test_a_mirror_takes_the_place_of_the_hub() -> None:
    assert hub_link("hf://gpt2@main/a", "https://mirror/hub/") == "https://mirror/hub/gpt2/resolve/main/a"


@pytest.mark.parametrize(
    "address",
    [
        "hf://openai/gpt2",
        "hf://openai/gpt2/dir/",
        "hf://datasets/squad/x",
        "hf://openai/gpt2/../../api/whoami",
        "hf://openai/gpt2/a//b",
    ],
)
def test_addresses_of_no_file_become_no_link(address: str) -> None:
    with pytest.raises(BadRequest, match="names no file"):
        hub_link(address)


@pytest.mark.parametrize("name", ["", "a/b/c", "a/", "/a", "-a", "a b", "a--b", "a/..b", "a?b"])
def test_names_of_no_repository_are_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="NAME or OWNER/NAME"):
        repository("dataset", name)


NAMES = [".gitattributes", "README.md", "data/a.csv", "data/deep/b.csv", "x.bin"]


@pytest.mark.parametrize(
    ("include", "exclude", "chosen"),
    [
        ([], [], {"README.md", "data/a.csv", "data/deep/b.csv", "x.bin"}),
        (["*.csv"], [], {"data/a.csv", "data/deep/b.csv"}),
        (["data/"], ["*/deep/*"], {"data/a.csv"}),
        ([], ["*.md", "data/"], {"x.bin"}),
        ([".git*"], [], {".gitattributes"}),
        (["*.CSV"], [], set()),
        (["README.md", "x.bin"], ["x.*"], {"README.md"}),
    ],
)
def test_globs_choose(include: list[str], exclude: list[str], chosen: set[str]) -> None:
    assert selected(NAMES, include=include, exclude=exclude) == chosen


def test_original_files_keep_their_paths_and_their_commit() -> None:
    files = original_files(GPT2, COMMIT, [RepositoryFile("a/b c", 3, "sha256:00")], "http://hub")
    assert files == [HubFile("a/b c", f"http://hub/gpt2/resolve/{COMMIT}/a/b%20c", 3, "sha256:00")]


def listing(splits: dict[str, dict[str, int]]) -> dict[str, dict[str, list[str]]]:
    return {
        config: {
            split: [f"https://huggingface.co/x/{number}.parquet" for number in range(many)]
            for split, many in found.items()
        }
        for config, found in splits.items()
    }


def test_a_conversion_of_one_config_is_named_by_its_splits() -> None:
    tree = [
        RepositoryFile("plain_text/validation/0000.parquet", 20, "sha256:22"),
        RepositoryFile("plain_text/train/0000.parquet", 10, "sha256:11"),
        RepositoryFile("README.md", 1, "gitblob:33"),
    ]
    plan = parquet_files(
        SQUAD, COMMIT, listing=listing({"plain_text": {"train": 1, "validation": 1}}), tree=tree
    )
    base = f"https://huggingface.co/datasets/rajpurkar/squad/resolve/{COMMIT}/plain_text"
    assert plan.files == [
        HubFile("train/0.parquet", f"{base}/train/0000.parquet", 10, "sha256:11"),
        HubFile("validation/0.parquet", f"{base}/validation/0000.parquet", 20, "sha256:22"),
    ]
    assert plan.partial == ()


def test_configs_with_equal_splits_do_not_collide() -> None:
    plan = parquet_files(
        SQUAD, COMMIT, listing=listing({"cola": {"train": 1}, "mnli": {"train": 2, "test": 1}}), tree=[]
    )
    assert [file.name for file in plan.files] == [
        "cola/train/0.parquet",
        "mnli/train/0.parquet",
        "mnli/train/1.parquet",
        "mnli/test/0.parquet",
    ]


def test_shards_keep_their_order_beyond_four_digits() -> None:
    tree = [RepositoryFile(f"c/train/{number:04}.parquet", number) for number in range(10_002)]
    plan = parquet_files(SQUAD, COMMIT, listing=listing({"c": {"train": 10_002}}), tree=tree)
    assert [file.size for file in plan.files] == list(range(10_002))
    assert plan.files[10_000].link.endswith("/c/train/10000.parquet")


def test_a_conversion_of_the_beginning_is_told() -> None:
    tree = [RepositoryFile("c/partial-train/0000.parquet", 5, "sha256:aa")]
    plan = parquet_files(SQUAD, COMMIT, listing=listing({"c": {"train": 1}}), tree=tree)
    assert plan.partial == ("c/train",)
    assert plan.files[0].name == "train/0.parquet"
    assert plan.files[0].checksum == "sha256:aa"


def test_where_listing_and_tree_differ_nothing_is_assumed_of_the_bytes() -> None:
    tree = [RepositoryFile("c/train/0000.parquet", 5, "sha256:aa")]
    plan = parquet_files(SQUAD, COMMIT, listing=listing({"c": {"train": 2}}), tree=tree, endpoint="http://h/")
    assert plan.files == [
        HubFile(
            f"train/{number}.parquet",
            f"http://h/api/datasets/rajpurkar/squad/parquet/c/train/{number}.parquet",
        )
        for number in range(2)
    ]


def test_large_files_get_jobs_of_their_own() -> None:
    small, large, unknown = HubFile("s", "l", 9), HubFile("b", "l", 10), HubFile("u", "l")
    assert batches([small, large, unknown], 10) == [[small, unknown], [large]]
    assert batches([small, large, unknown], 0) == [[small, large, unknown]]
    assert batches([large], 10) == [[large]]
    assert batches([], 10) == []
