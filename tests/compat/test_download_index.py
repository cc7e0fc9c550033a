"""Folders of web servers, brought in by walking through the pages that list them."""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from aisle.api.native.download_status import wire_job
from aisle.jobs import crawl
from aisle.jobs.board import JobStatus
from aisle.model.names import parse_bucket
from aisle.rules.egress import EgressPolicy
from support.apache import running_apache
from support.downloads import Rig, with_rig
from support.listings import Site, running_http_server, running_site
from support.nginx import running_nginx

FILES = {
    "a.bin": os.urandom(1000),
    "sub/b.bin": os.urandom(20_000),
    "sub/deeper/c [x] 100%.txt": b"c",
    "sub/ä ö.txt": "ü".encode(),
    "sub/q?a#b;c&d'e\"f+g:h@i=j~k <l> {m} \\n.txt": b"q",
    "sub/.hidden": b"h",
    "empty": b"",
    "other/d.txt": b"d",
}


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Readable for nginx, whose worker is another user.
    with tempfile.TemporaryDirectory(prefix="listed-") as name:
        root = Path(name)
        root.chmod(0o755)
        for path, content in FILES.items():
            file = root / "data" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        (root / "outside.txt").write_bytes(b"outside")
        yield root


def stored(rig: Rig) -> dict[str, bytes | None]:
    bucket = rig.buckets.find(parse_bucket("b"))
    entries = rig.engine.scan(bucket.number, prefix=b"", limit=10_000).entries
    return {entry.key.decode(): rig.content(entry.key.decode()) for entry in entries}


async def walked(rig: Rig, link: str, **more: object) -> JobStatus:
    return await rig.ended(await rig.submit(type="index", link=link, **more), within_s=40)


def links(*hrefs: str) -> str:
    return (
        "<html><body><pre>" + "".join(f'<a href="{href}">x</a>\n' for href in hrefs) + "</pre></body></html>"
    )


@with_rig()
async def test_a_folder_of_pythons_own_server(rig: Rig, folder: Path) -> None:
    with running_http_server(folder) as url:
        status = await walked(rig, f"{url}/data", subdir="in/here/")
    assert (status.progress.total, status.progress.finished, status.progress.failed) == (8, 8, 0)
    assert stored(rig) == {f"in/here/{path}": content for path, content in FILES.items()}


@pytest.mark.program("nginx")
@with_rig()
async def test_a_folder_of_nginx(rig: Rig, folder: Path) -> None:
    with running_nginx(folder, extra="location / { autoindex on; }") as server:
        status = await walked(rig, f"{server.url}/data/", include=["*.txt", "*.bin"], exclude=["other/*"])
    # nginx lists no hidden files.
    wanted = {path: content for path, content in FILES.items() if path.startswith(("a", "sub"))}
    del wanted["sub/.hidden"]
    assert stored(rig) == wanted
    assert status.progress.failed == 0


@pytest.mark.program("apache2")
@pytest.mark.parametrize(
    "options", ["FancyIndexing VersionSort HTMLTable", "FancyIndexing NameWidth=*", "None"]
)
@with_rig()
async def test_a_folder_of_apache(rig: Rig, folder: Path, options: str) -> None:
    with running_apache(folder, options=options) as url:
        status = await walked(rig, f"{url}/data/")
    # Apache lists no hidden files either.
    assert stored(rig) == {path: content for path, content in FILES.items() if path != "sub/.hidden"}
    assert status.progress.failed == 0


@with_rig()
async def test_links_that_are_not_encoded_are_followed(rig: Rig, site: Site) -> None:
    names = ("a b", "\u00e4 \u20ac", "100%", "q'uo\u00a0te")
    site.pages = {"/d/": links(*names, "f \u00e9/"), "/d/f%20%C3%A9/": links("x y")}
    site.pages |= {"/d/" + quote(name, safe="%'"): name.encode() for name in names}
    site.pages["/d/f%20%C3%A9/x%20y"] = b"x"
    status = await walked(rig, f"{site.url}/d/")
    assert status.progress.errors == ()
    assert stored(rig) == {name: name.encode() for name in names} | {"f \u00e9/x y": b"x"}


@with_rig()
async def test_what_robots_txt_forbids_is_not_asked_for(rig: Rig, site: Site) -> None:
    site.pages = {
        "/robots.txt": b"User-agent: *\nDisallow: /d/private/\nDisallow: /d/secret.txt\n",
        "/d/": links("a", "private/", "secret.txt"),
        "/d/a": b"a",
        "/d/private/": links("x"),
        "/d/secret.txt": b"s",
    }
    await walked(rig, f"{site.url}/d/")
    assert stored(rig) == {"a": b"a"}
    assert not [path for path in site.asked if "private" in path or "secret" in path]


@with_rig()
async def test_of_the_rules_in_robots_txt_the_longest_decides_and_stars_count(rig: Rig, site: Site) -> None:
    site.pages = {
        "/robots.txt": b"User-agent: *\nDisallow: /\nAllow: /d/\nDisallow: /d/*.zip$\n",
        "/d/": links("a", "s/", "x.zip"),
        "/d/s/": links("b", "y.zip"),
        "/d/a": b"a",
        "/d/s/b": b"b",
    }
    status = await walked(rig, f"{site.url}/d/")
    assert (stored(rig), status.progress.error) == ({"a": b"a", "s/b": b"b"}, "")
    assert status.progress.errors == ()
    assert not [path for path in site.asked if path.endswith(".zip")]


@with_rig()
async def test_a_server_that_forbids_everything_is_left_alone(rig: Rig, site: Site) -> None:
    site.pages = {"/robots.txt": b"User-agent: aisle\nDisallow: /\n", "/d/": links("a"), "/d/a": b"a"}
    status = await walked(rig, f"{site.url}/d/")
    assert "robots.txt" in status.progress.error
    assert site.asked == ["/robots.txt"]


@with_rig()
async def test_rules_that_cannot_be_had_forbid_everything(
    rig: Rig, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crawl, "delay_s", lambda *_, **__: 0.0)
    site.pages = {"/robots.txt": (503, {}), "/d/": links("a"), "/d/a": b"a"}
    status = await walked(rig, f"{site.url}/d/")
    assert "robots.txt" in status.progress.error
    assert set(site.asked) == {"/robots.txt"}


@with_rig()
async def test_rules_that_cannot_be_read_forbid_everything(rig: Rig, site: Site) -> None:
    robots = "User-agent: *\nCrawl-delay: \u00b2\n".encode()
    site.pages = {"/robots.txt": robots, "/d/": links("a"), "/d/a": b"a"}
    status = await walked(rig, f"{site.url}/d/")
    assert "robots.txt cannot be read" in status.progress.error


@with_rig()
async def test_a_walk_that_breaks_ends_no_other_job(
    rig: Rig, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(crawl, "page_entries", broken)
    site.pages = {"/d/": links("a"), "/d/a": b"a"}
    status = await walked(rig, f"{site.url}/d/")
    assert "a bug" in status.progress.error
    assert (await rig.download(f"{site.url}/d/a")).progress.finished == 1


@with_rig()
async def test_circles_end(rig: Rig, site: Site) -> None:
    path = "/d/"
    for _ in range(20):  # as a symbolic link to the folder itself would show
        site.pages[path] = links("a", "loop/")
        site.pages[path + "a"] = b"a"
        path += "loop/"
    status = await walked(rig, f"{site.url}/d/")
    assert sum(asked.endswith("/loop/") for asked in site.asked) < 5
    assert status.progress.failed == 1
    assert "circle" in status.progress.errors[0].error


@with_rig()
async def test_farms_of_links_end(rig: Rig, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawl, "PAGES_MAX", 50)
    for first in ("", *(f"{number}/" for number in range(30))):
        site.pages[f"/d/{first}"] = links(
            "a", *(f"{number}/" for number in range(30)), f"own{first.strip('/')}"
        )
    status = await walked(rig, f"{site.url}/d/")
    assert "more than 50 folders" in status.progress.error
    assert stored(rig) == {}
    assert len(site.asked) < 60


@with_rig()
async def test_what_is_too_deep_fails_and_concerns_nothing_else(
    rig: Rig, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crawl, "DEPTH_MAX", 3)
    path = "/d/"
    for number in range(6):
        site.pages[path] = links(f"f{number}", f"n{number}/")
        site.pages[f"{path}f{number}"] = b"f"
        path += f"n{number}/"
    status = await walked(rig, f"{site.url}/d/")
    assert list(stored(rig)) == ["f0", "n0/f1", "n0/n1/f2"]
    assert "folders deep" in status.progress.errors[0].error


@with_rig()
async def test_a_page_that_cannot_be_had_is_a_failure_of_its_own(rig: Rig, site: Site) -> None:
    site.pages = {
        "/d/": links("a", "gone/", "json/", "away/"),
        "/d/a": b"a",
        "/d/json/": b"{}",
        "/d/away/": (302, {"Location": "/elsewhere/"}),
        "/elsewhere/": links("x"),
    }
    status = await walked(rig, f"{site.url}/d/")
    assert stored(rig) == {"a": b"a"}
    told = {error.name: error.error.removeprefix(site.url) for error in status.progress.errors}
    assert told == {
        "gone/": "/d/gone/ cannot be listed: status 404",
        "json/": "/d/json/ is no page that lists files (its type is application/octet-stream)",
        "away/": f"/d/away/ leads out of the folder, to {site.url}/elsewhere/",
    }
    assert (status.progress.total, status.progress.finished, status.progress.failed) == (4, 1, 3)


@with_rig()
async def test_a_first_page_that_cannot_be_had_ends_the_job(rig: Rig, site: Site) -> None:
    site.pages = {"/empty/": links("../")}
    assert "status 404" in (await walked(rig, f"{site.url}/d/")).progress.error
    assert "lists no files" in (await walked(rig, f"{site.url}/empty/")).progress.error
    assert rig.lists.ages(0) == {}


@with_rig()
async def test_a_server_that_is_busy_is_asked_again(
    rig: Rig, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crawl, "delay_s", lambda *_, **__: site.pages.update({"/d/": links("a")}) or 0.0)
    site.pages = {"/d/": (429, {"Retry-After": "0"}), "/d/a": b"a"}
    await walked(rig, f"{site.url}/d/")
    assert stored(rig) == {"a": b"a"}


@with_rig()
async def test_the_start_may_be_somewhere_else_now(rig: Rig, site: Site) -> None:
    site.pages = {
        "/latest/": (302, {"Location": "/v2/data/"}),
        "/v2/data/": links("../", "a", "/latest/b", "/v2/c"),
        "/v2/data/a": b"a",
    }
    await walked(rig, f"{site.url}/latest")
    assert stored(rig) == {"a": b"a"}


@with_rig()
async def test_headers_are_for_the_own_host_only(rig: Rig, site: Site) -> None:
    with running_site() as other:
        other.pages = {"/d/": links("a"), "/d/a": b"a"}
        site.pages = {"/d/": (302, {"Location": f"{other.url}/d/"}), "/e/": links("a"), "/e/a": b"a"}
        secret = {"Authorization": ["Bearer secret"]}
        status = await walked(rig, f"{site.url}/d/", headers=secret)
        assert "must not see the headers" in status.progress.error
        assert not [fields for fields in other.fields if "authorization" in fields]
        await walked(rig, f"{site.url}/e/", headers=secret)
        assert stored(rig) == {"a": b"a"}
        assert all(fields["authorization"] == "Bearer secret" for fields in site.fields)


@with_rig(policy=EgressPolicy())
async def test_a_walk_goes_nowhere_where_a_download_may_not(rig: Rig, site: Site) -> None:
    site.pages = {"/d/": links("a"), "/d/a": b"a"}
    status = await walked(rig, f"{site.url}/d/")
    assert "egress" in status.progress.error
    assert site.asked == []


@with_rig()
async def test_a_walk_can_be_aborted_and_is_done_again_after_a_restart(rig: Rig, site: Site) -> None:
    site.pages = {"/d/": (429, {"Retry-After": "3600"}), "/d/a": b"a"}
    job_id = await rig.submit(type="index", link=f"{site.url}/d/")
    again = await rig.submit(type="index", link=f"{site.url}/d/")
    await asyncio.to_thread(site.wait_for, "/d/", times=2)
    await rig.stop()
    site.pages["/d/"] = links("a")
    await rig.board.abort(job_id)
    rig.start()
    assert (await rig.ended(again)).progress.finished == 1
    assert rig.board.find(job_id).is_aborted
    assert stored(rig) == {"a": b"a"}


@with_rig()
async def test_a_walk_tells_how_many_files_it_has_found(rig: Rig, site: Site) -> None:
    site.pages = {
        "/d/": links("a", "b", "s/"),
        "/d/s/": links("c"),
        "/d/a": b"a",
        "/d/b": b"b",
        "/d/s/c": b"c",
    }
    site.held = {"/d/s/"}
    job_id = await rig.submit(type="index", link=f"{site.url}/d/")
    status = await rig.until(job_id, lambda status: status.progress.scheduled == 2)
    shown = wire_job(status)
    assert (shown.total, shown.scheduled_cnt, shown.all_dispatched, shown.state) == (-1, 2, False, "running")
    site.release()
    shown = wire_job(await rig.ended(job_id))
    assert (shown.total, shown.scheduled_cnt, shown.all_dispatched) == (3, 3, True)


@with_rig()
async def test_a_walk_under_way_is_aborted_at_once(rig: Rig, site: Site) -> None:
    site.pages = {"/d/": (429, {"Retry-After": "3600"})}
    job_id = await rig.submit(type="index", link=f"{site.url}/d/")
    await asyncio.to_thread(site.wait_for, "/d/")
    await rig.board.abort(job_id)
    await rig.until(job_id, lambda status: bool(status.progress.finished_ns))
    assert rig.lists.ages(0) == {}


@with_rig()
async def test_a_walk_rests_with_its_job(rig: Rig, site: Site) -> None:
    site.pages = {"/d/": (429, {"Retry-After": "3600"}), "/d/a": b"a"}
    job_id = await rig.submit(type="index", link=f"{site.url}/d/")
    await asyncio.to_thread(site.wait_for, "/d/")
    await rig.board.pause(job_id)
    site.pages["/d/"] = links("a")
    while rig.lists.ages(0):  # what the walk was writing goes when it stops
        await rig.until(job_id, lambda status: status.is_paused)
        await asyncio.sleep(0.01)
    await rig.board.resume(job_id)
    assert (await rig.ended(job_id)).progress.finished == 1


@with_rig()
async def test_a_walk_ends_with_its_job_also_when_that_is_removed_at_once(rig: Rig, site: Site) -> None:
    site.pages = {"/d/": (429, {"Retry-After": "3600"})}
    job_id = await rig.submit(type="index", link=f"{site.url}/d/")
    await asyncio.to_thread(site.wait_for, "/d/")
    rig.board._ring = lambda: None  # the job worker hears of both at the same time
    await rig.board.abort(job_id)
    await rig.board.remove(job_id)
    rig.bell.set()
    end_s = time.monotonic() + 20
    while rig.lists.ages(0):  # what the walk was writing goes when it stops
        assert time.monotonic() < end_s
        await asyncio.sleep(0.01)
