"""What AIStore's documents on s3cmd and on S3 compatibility show, command by command, on one node.

Left out is what needs a cloud (buckets of Amazon, presigned requests that are passed on to it) or several
nodes, TensorFlow, and two commands that never were (`s3cmd … s3 mb`, `s3cmd … s3 ls`). Times, host names and
sizes of example files aside, each answer is what the document shows; where ours is better on purpose, the
test says so.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support import ais as ais_program
from support.content import payload
from support.node import RunningNode, running_node
from support.s3 import Clients, Endpoint, program

README_BYTES, LICENSE_BYTES = 10_689, 1_075
PROGRAM_BYTES = 53_452_800
DATE = r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}"


class Desk:
    """A user at a prompt: a folder with the files of the documents, and the programs they use."""

    def __init__(self, node: RunningNode, folder: Path) -> None:
        self.node = node
        self.folder = folder
        self.address = f"localhost:{node.port}"
        self.clients = Clients(Endpoint("localhost", node.port), folder)
        for name, size in (("README.md", README_BYTES), ("LICENSE", LICENSE_BYTES)):
            (folder / name).write_bytes(payload(name, 1, size))
        # The document's second way: the endpoint in the configuration, once and for all.
        self.clients.write_s3cfg(
            host_base=f"{self.address}/s3", host_bucket=f"{self.address}/s3", use_https="False"
        )

    def ais(self, command: str) -> str:
        run = ais_program.ais(self.node.url, *command.split(), cwd=self.folder)
        assert run.code == 0, (command, run)
        return run.text

    def s3cmd(self, command: str) -> str:
        return self.clients.s3cmd_bare(*command.split()).out

    def aws(self, command: str) -> str:
        """With the endpoint wherever the document has it."""
        words = command.replace("localhost:8080", self.address).split()
        return self.clients.run([program("aws"), *words]).out


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with running_node(workers=2) as node:
        yield Desk(node, tmp_path)


def rows(table: str) -> list[list[str]]:
    """A table's words, without its headings."""
    return [line.split() for line in table.splitlines() if line.strip()]


# The document on s3cmd


def test_s3cmd_quick_example(desk: Desk) -> None:
    # The address that the message points to is ours.
    assert desk.ais("create ais://abc").startswith('"ais://abc" created')
    told = desk.ais("bucket props set ais://abc checksum.type=md5").splitlines()
    assert told[0] == "Bucket props successfully updated"
    assert re.fullmatch(r'"checksum.type" set to: "md5" \(was: "xxhash2?"\)', told[1]), told
    told = desk.s3cmd("put README.md s3://abc")
    assert re.match(r"upload: 'README.md' -> 's3://abc/README.md' .*\[1 of 1\]\n", told)
    assert rows(desk.ais("ls ais://abc"))[-1] == ["README.md", "10.44KiB"]
    assert desk.s3cmd("rm s3://abc/README.md") == "delete: 's3://abc/README.md'\n"
    assert desk.s3cmd("ls s3://abc") == ""


def test_s3cmd_needs_no_special_bucket(desk: Desk) -> None:
    """The documents advise `checksum.type=md5`; here the ETag is the MD5 whatever the bucket's checksum."""
    desk.ais("create ais://nnn")
    desk.s3cmd("put README.md s3://nnn")
    assert f"MD5 sum:   {md5(desk, 'README.md')}" in desk.s3cmd("info s3://nnn/README.md")


def test_s3cmd_told_the_endpoint_by_flags(desk: Desk) -> None:
    (desk.clients.home / ".s3cfg").unlink()
    desk.clients.write_s3cfg()
    for host_bucket in (f"{desk.address}/s3", f"{desk.address}/s3/%(bucket)"):
        flags = f"--no-ssl --host={desk.address}/s3 --host-bucket={host_bucket}"
        if host_bucket.endswith("/s3"):
            assert desk.s3cmd(f"mb s3://mmm {flags}") == "Bucket 's3://mmm/' created\n"
        desk.s3cmd(f"put README.md s3://mmm/saved-readme.md {flags}")
        desk.s3cmd(f"get --force s3://mmm/saved-readme.md copied-readme.md {flags}")
        assert same(desk, "copied-readme.md", "README.md")
        assert desk.s3cmd(f"ls {flags}").endswith("s3://mmm\n")


def test_cluster_knobs_that_concern_s3cmd(desk: Desk) -> None:
    assert rows(desk.ais("config cluster net.http.use_https"))[1] == ["net.http.use_https", "false"]
    assert rows(desk.ais("config cluster checksum.type"))[1][0] == "checksum.type"
    shown = rows(desk.ais("config cluster net.http"))
    assert {"net.http.server_crt", "net.http.use_https", "net.http.skip_verify"} <= {row[0] for row in shown}
    assert json.loads(desk.ais("config cluster checksum.type=md5")) == {"checksum.type": "md5"}
    assert rows(desk.ais("config cluster checksum.type"))[1] == ["checksum.type", "md5"]


def test_s3cmd_makes_buckets_and_moves_objects(desk: Desk) -> None:
    assert desk.s3cmd("mb s3://mmm --no-ssl") == "Bucket 's3://mmm/' created\n"
    listed = desk.ais("ls ais:").splitlines()
    assert listed[0] == "AIS Buckets (1)"
    assert listed[1].split()[0] == "ais://mmm"
    desk.ais("bucket props set ais://mmm checksum.type=md5")
    desk.s3cmd("put README.md s3://mmm/saved-readme.md --no-ssl")
    told = desk.s3cmd("get s3://mmm/saved-readme.md copied-readme.md --no-ssl")
    assert told.startswith(
        f"download: 's3://mmm/saved-readme.md' -> 'copied-readme.md' ({README_BYTES} bytes"
    )
    assert same(desk, "copied-readme.md", "README.md")


def test_s3cmd_multipart_upload(desk: Desk) -> None:
    body = payload("aisnode", 1, PROGRAM_BYTES)
    (desk.folder / "aisnode").write_bytes(body)
    desk.ais("create ais://abc")
    # At a terminal, s3cmd does by itself what `--progress` asks for.
    told = desk.s3cmd("put aisnode s3://abc --multipart-chunk-size-mb=5 --progress")
    assert "upload: 'aisnode' -> 's3://abc/aisnode'  [part 1 of 11, 5MB] [1 of 1]" in told
    assert rows(desk.ais("ls ais://abc"))[-1] == ["aisnode", "50.98MiB"]
    assert re.fullmatch(rf"{DATE} +53452800 +s3://abc/aisnode\n", desk.s3cmd("ls s3://abc"))
    assert "aisnode" not in desk.s3cmd("multipart s3://abc")
    desk.s3cmd("get s3://abc/aisnode back")
    assert same(desk, "back", "aisnode")


# The document on S3 compatibility


def test_aws_quick_example(desk: Desk) -> None:
    endpoint = "--endpoint-url http://localhost:8080/s3"
    assert desk.aws(f"{endpoint} s3 mb s3://abc") == "make_bucket: abc\n"
    desk.ais("put README.md ais://abc")
    desk.aws(f"{endpoint} s3api put-object --bucket abc --key LICENSE --body LICENSE")
    assert rows(desk.ais("ls ais://abc"))[-2:] == [["LICENSE", "1.05KiB"], ["README.md", "10.44KiB"]]
    got = json.loads(desk.aws(f"{endpoint} s3api get-object --bucket abc --key README.md readme"))
    assert (got["ContentLength"], got["Metadata"]) == (README_BYTES, {})
    assert same(desk, "readme", "README.md")
    head = json.loads(desk.aws(f"s3api {endpoint} head-object --bucket abc --key LICENSE"))
    assert (head["ContentLength"], head["Metadata"]) == (LICENSE_BYTES, {})
    # Quoted, as S3 has it; the document's old server left the quotes out.
    assert head["ETag"] == f'"{md5(desk, "LICENSE")}"'
    assert "LastModified" in head


def test_a_browser_lists_the_buckets(desk: Desk) -> None:
    import requests

    for name in ("bucket-111", "bucket-222"):
        desk.ais(f"create ais://{name}")
    answer = requests.get(f"http://{desk.address}/s3", timeout=20)
    assert answer.headers["content-type"].startswith("application/xml")
    root = ElementTree.fromstring(answer.content)
    space = root.tag.partition("}")[0] + "}"
    # S3's own name for the document; the old server's was that of another one.
    assert root.tag == f"{space}ListAllMyBucketsResult"
    assert [child.tag.removeprefix(space) for child in root] == ["Owner", "Buckets"]
    found = [
        {child.tag.removeprefix(space): child.text for child in bucket}
        for bucket in root.iter(f"{space}Bucket")
    ]
    assert [bucket["Name"] for bucket in found] == ["bucket-111", "bucket-222"]
    assert {bucket["String"] for bucket in found} == {"Provider: ais"}
    assert all(re.match(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}", bucket["CreationDate"]) for bucket in found)


def test_md5_checksums_of_a_bucket(desk: Desk) -> None:
    assert desk.ais("create ais://bck --props=checksum.type=md5").startswith('"ais://bck" created')
    assert "md5" in "".join(
        line for line in desk.ais("show bucket ais://bck").splitlines() if "hecksum" in line
    )
    desk.ais("create ais://other")
    told = desk.ais("bucket props ais://other checksum.type=md5").splitlines()
    assert told[0] == "Bucket props successfully updated"
    assert told[1].startswith('"checksum.type" set to: "md5" (was: "xxhash')


def test_last_modification_is_the_time_of_the_write(desk: Desk) -> None:
    desk.ais("create ais://bck --props=checksum.type=md5")
    desk.ais("put LICENSE ais://bck/obj-ais")
    flags = f"--host={desk.address} --host-bucket={desk.address}/s3/%(bucket)"
    # The host without /s3: the root serves S3 too.
    desk.s3cmd(f"put LICENSE s3://bck/obj-aws {flags}")
    listed = desk.ais("ls ais://bck --props checksum,size,atime").splitlines()
    assert listed[0].split() == ["NAME", "CHECKSUM", "SIZE", "ATIME"]
    sum_ = md5(desk, "LICENSE")
    assert [line.split()[:3] for line in listed[1:3]] == [
        ["obj-ais", sum_, "1.05KiB"],
        ["obj-aws", sum_, "1.05KiB"],
    ]
    for line in desk.s3cmd(f"ls s3://bck {flags}").splitlines():
        # Not 1969, which the document shows for objects never accessed.
        assert re.fullmatch(rf"20\d\d-.* +{LICENSE_BYTES} +s3://bck/obj-(ais|aws)", line)


def test_multipart_upload_using_aws(desk: Desk) -> None:
    desk.ais("create ais://abc")
    desk.ais("bucket props set ais://abc checksum.type=md5")
    endpoint = "--endpoint-url http://localhost:8080/s3"
    which = f"{endpoint} --bucket abc --key large-test-file"
    begun = json.loads(desk.aws(f"s3api create-multipart-upload {which}"))
    assert (begun["Key"], begun["Bucket"]) == ("large-test-file", "abc")
    upload = begun["UploadId"]
    for number, name in ((1, "README.md"), (2, "LICENSE")):
        told = json.loads(
            desk.aws(f"s3api upload-part {which} --part-number {number} --body {name} --upload-id {upload}")
        )
        assert told["ETag"] == f'"{md5(desk, name)}"'
    shown = json.loads(desk.aws(f"s3api list-parts {which} --upload-id {upload}"))
    parts = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in shown["Parts"]]
    assert parts == [
        {"PartNumber": 1, "ETag": f'"{md5(desk, "README.md")}"'},
        {"PartNumber": 2, "ETag": f'"{md5(desk, "LICENSE")}"'},
    ]
    assert [part["Size"] for part in shown["Parts"]] == [README_BYTES, LICENSE_BYTES]
    (desk.folder / "up.json").write_text(json.dumps({"Parts": parts}))
    done = json.loads(
        desk.aws(
            f"s3api complete-multipart-upload {which} --multipart-upload file://up.json --upload-id {upload}"
        )
    )
    # Parts this small are accepted, as the document shows. Its ETag came of the hexadecimal digests;
    # Amazon's rule, and ours, takes the binary ones.
    joined = b"".join(
        hashlib.md5((desk.folder / name).read_bytes()).digest() for name in ("README.md", "LICENSE")
    )
    assert done["ETag"] == f'"{hashlib.md5(joined).hexdigest()}-2"'
    assert (done["Key"], done["Bucket"]) == ("large-test-file", "abc")
    size = README_BYTES + LICENSE_BYTES
    assert re.fullmatch(rf"{DATE} +{size} +s3://abc/large-test-file\n", desk.s3cmd("ls s3://abc"))


def test_a_large_object_by_s3cmd_and_what_info_shows(desk: Desk) -> None:
    body = payload("aisnode", 1, 9 * 8_388_608 + 5_975_140)
    (desk.folder / "aisnode").write_bytes(body)
    desk.ais("create ais://abc")
    told = desk.s3cmd("put aisnode s3://abc --multipart-chunk-size-mb=8 --progress")
    assert "[part 1 of 10, 8MB] [1 of 1]" in told
    assert "[part 10 of 10, 5MB] [1 of 1]" in told
    shown = dict(
        line.strip().split(":", 1)
        for line in desk.s3cmd("info s3://abc/aisnode").splitlines()[1:]
        if ":" in line
    )
    assert shown["File size"].strip() == "81472612"
    assert shown["Storage"].strip() == "STANDARD"
    for name in ("SSE", "Policy", "CORS"):
        assert shown[name].strip() == "none", name
    assert re.search(r"20\d\d", shown["Last mod"]), "the time of the write, not 1754"
    assert "MD5 sum" in shown
    # There it was an object of a cloud, with the cloud's version.
    table = rows(desk.ais("show object ais://abc/aisnode --all"))
    assert table[0] == ["PROPERTY", "VALUE"]
    told = {row[0]: " ".join(row[1:]) for row in table[1:]}
    assert {
        "atime",
        "checksum",
        "copies",
        "custom",
        "ec",
        "location",
        "name",
        "size",
        "version",
    } <= told.keys()
    assert (told["name"], told["size"]) == ("ais://abc/aisnode", "77.70MiB")
    assert re.match(r"t\[\w+\]:mp\[/", told["location"])


def test_the_native_column_of_the_table(desk: Desk) -> None:
    assert desk.ais("create ais://bck").startswith('"ais://bck" created')
    assert desk.ais("ls ais://") == desk.ais("ls ais:")
    assert [row[0] for row in rows(desk.ais("ls ais:"))[1:]] == ["ais://bck"]
    desk.ais("put README.md ais://bck/obj")
    desk.ais("get ais://bck/obj whole")
    assert same(desk, "whole", "README.md")
    desk.ais("get ais://bck/obj span --offset 0 --length 10")
    assert (desk.folder / "span").read_bytes() == (desk.folder / "README.md").read_bytes()[:10]
    assert ["size", "10.44KiB"] in rows(desk.ais("object show ais://bck/obj"))
    assert rows(desk.ais("ls ais://bck"))[-1] == ["obj", "10.44KiB"]
    assert "versioning" in desk.ais("bucket show ais://bck")
    desk.ais("bucket props ais://bck versioning.enabled=false")
    versioning = "--endpoint-url http://localhost:8080/s3 s3api get-bucket-versioning --bucket bck"
    assert json.loads(desk.aws(versioning))["Status"] == "Suspended"
    desk.ais("rm ais://bck/obj")
    desk.ais("bucket rm ais://bck")
    assert rows(desk.ais("ls ais:")) == [["AIS", "Buckets", "(0)"]]


def test_a_presigned_request_on_a_bucket_of_the_nodes_own(desk: Desk) -> None:
    """The document passes such requests on to Amazon; here the node itself answers them."""
    import requests

    desk.ais("create ais://bucket")
    (desk.folder / "test.txt").write_bytes(b"testing 1 2 3")
    desk.ais("put test.txt ais://bucket/test.txt")
    url = desk.aws("s3 presign s3://bucket/test.txt --endpoint-url http://localhost:8080/s3").strip()
    assert url.startswith(f"http://{desk.address}/s3/bucket/test.txt?")
    assert "Signature=" in url
    assert requests.get(url, timeout=20).content == b"testing 1 2 3"
    desk.ais("rm ais://bucket/test.txt")
    # Without credentials a node looks at no signature, not even at the method that was signed.
    assert requests.put(url, data=b"testing 1 2 3", timeout=20).status_code == 200
    assert rows(desk.ais("bucket ls ais://bucket"))[-1] == ["test.txt", "13B"]


@pytest.mark.parametrize("region", ["us-west-1", "eu-central-1"])
def test_s3cmd_asks_for_a_region(desk: Desk, region: str) -> None:
    told = desk.s3cmd(f"mb s3://mmm --region={region}")
    assert told == "Bucket 's3://mmm/' created\n"
    desk.s3cmd(f"put README.md s3://mmm --region={region}")
    assert desk.s3cmd(f"ls s3://mmm --region={region}").split()[2:] == [
        str(README_BYTES),
        "s3://mmm/README.md",
    ]


def test_the_table_of_supported_operations(desk: Desk) -> None:
    s3 = "--endpoint-url http://localhost:8080/s3"
    desk.s3cmd("mb s3://bck")
    desk.aws(f"{s3} s3api head-bucket --bucket bck")
    assert "s3://bck/ (bucket):" in desk.s3cmd("info s3://bck")
    assert re.fullmatch(rf"{DATE}  s3://bck\n", desk.s3cmd("ls s3://"))
    assert re.fullmatch(r"\S+ \S+ bck\n", desk.aws(f"{s3} s3 ls s3://"))
    desk.aws(f"{s3} s3 cp README.md s3://bck/README.md")
    desk.aws(f"{s3} s3api get-object --bucket bck --key README.md --range bytes=0-9 span")
    body = (desk.folder / "README.md").read_bytes()
    assert (desk.folder / "span").read_bytes() == body[:10]
    desk.aws(f"{s3} s3api copy-object --bucket bck --key copy --copy-source bck/README.md")
    desk.s3cmd("cp s3://bck/copy s3://bck/again")
    desk.s3cmd("get s3://bck/again again")
    assert same(desk, "again", "README.md")
    state = "Status=Enabled"
    desk.aws(f"{s3} s3api put-bucket-versioning --bucket bck --versioning-configuration {state}")
    assert json.loads(desk.aws(f"{s3} s3api get-bucket-versioning --bucket bck"))["Status"] == "Enabled"
    removal = '{"Objects":[{"Key":"copy"},{"Key":"again"}]}'
    deleted = json.loads(desk.aws(f"{s3} s3api delete-objects --bucket bck --delete {removal}"))
    assert sorted(entry["Key"] for entry in deleted["Deleted"]) == ["again", "copy"]
    desk.aws(f"{s3} s3 rm s3://bck/README.md")
    assert desk.aws(f"{s3} s3 rb s3://bck") == "remove_bucket: bck\n"
    desk.s3cmd("mb s3://bck2")
    assert desk.s3cmd("rb s3://bck2") == "Bucket 's3://bck2/' removed\n"
    assert desk.s3cmd("ls s3://") == ""


def test_boto3_with_and_without_aistores_patch(desk: Desk) -> None:
    """The shim makes botocore follow redirects; nothing is redirected here, and it does no harm."""
    for lines in ("", "from aistore.botocore_patch import botocore\n"):
        script = lines + (
            "import boto3\n"
            f"client = boto3.client('s3', endpoint_url='http://{desk.address}/s3')\n"
            "client.create_bucket(Bucket='boto') if not client.list_buckets()['Buckets'] else None\n"
            "client.put_object(Bucket='boto', Key='k', Body=b'12345')\n"
            "print(client.get_object(Bucket='boto', Key='k')['Body'].read())\n"
        )
        run = desk.clients.run([sys.executable, "-c", script])
        assert run.out == "b'12345'\n"


def md5(desk: Desk, name: str) -> str:
    return hashlib.md5((desk.folder / name).read_bytes()).hexdigest()


def same(desk: Desk, one: str, other: str) -> bool:
    """What the documents ask `diff`."""
    return subprocess.run(["cmp", one, other], cwd=desk.folder, check=False).returncode == 0
