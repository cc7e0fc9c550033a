"""Reading a download request: `POST /v1/download`'s body to a checked specification.

Everything that can be known without asking the source is checked before a job is accepted. Texts
of errors are AIStore's where clients or people may know them (recorded, and ais-native-api.md §13.1).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from aisle.errors import BadRequest, Unsupported
from aisle.model.job import PRIORITY_MAX, DownloadSpec, Headers
from aisle.model.names import Bucket, parse_bucket
from aisle.rules.download_headers import read_headers
from aisle.rules.download_list import folder_prefix
from aisle.rules.download_names import base_name, object_key, public_link
from aisle.rules.huggingface import ENDPOINT, web_link
from aisle.rules.index_pages import StartFolder, checked_patterns
from aisle.rules.provider_links import (
    SOURCES_MAX,
    Reaches,
    Remembering,
    anywhere,
    is_provider_link,
    normal_source,
    parse_provider_link,
    provider_prefix,
    reached,
    reached_template,
)
from aisle.rules.range_names import RangeNames
from aisle.rules.templates import Template, parse_template

_FORMATS = "input does not match any of the supported formats (single, range, multi, backend)"
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_NUMBER_MAX = 2**63 - 1
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class WireNamespace(msgspec.Struct):
    """A bucket's namespace as JSON carries it."""

    uuid: str = ""
    name: str = ""


class WireBucket(msgspec.Struct):
    """A bucket as JSON carries it."""

    name: str = ""
    provider: str = ""
    namespace: WireNamespace | None = None


class WireLimits(msgspec.Struct):
    """Limits of a job as JSON carries them."""

    connections: int = 0
    bytes_per_hour: int = 0


class WireRequest(msgspec.Struct):
    """The body of `POST /v1/download`, all types in one."""

    type: str = ""
    bucket: WireBucket = msgspec.field(default_factory=WireBucket)
    description: str = ""
    timeout: str = ""
    progress_interval: str = ""
    limits: WireLimits | None = None
    link: str = ""
    object_name: str = ""
    template: str = ""
    subdir: str = ""
    objects: dict[str, msgspec.Raw] | list[msgspec.Raw] | None = None
    headers: Mapping[str, str | list[str]] | None = None
    etl_name: str = ""
    include: list[str] = []
    exclude: list[str] = []
    extract: bool = False
    priority: int = 0
    prefix: str = ""
    suffix: str = ""
    sync: bool = False
    synchronize: bool = False


class Submission(NamedTuple):
    """A job that is asked for: what may be kept and shown, and what may not."""

    spec: DownloadSpec
    headers: Headers = ()
    """To be sent with the job's requests; perhaps credentials."""
    priority: int = 0
    sources: frozenset[Bucket] = frozenset()
    """The remote buckets that links lead to: whoever asks must be allowed to read them."""


_decode = msgspec.json.Decoder(WireRequest).decode


def read_request(body: bytes, *, hub: str = ENDPOINT, reaches: Reaches = anywhere) -> Submission:
    """What a request's body asks for; `hf://` addresses in it become links to the hub at that URL.

    `reaches` says which remote buckets can be asked for through their providers. Raises BadRequest for a body
    that is wrong in any way, Unsupported for what is not built or cannot be reached.
    """
    try:
        wire = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"failed to unmarshal the download request: {error}") from error
    if not wire.bucket.name:
        raise BadRequest("bucket name is missing")
    parse_duration(wire.progress_interval, what="progress interval")
    try:
        _lead_to(hub, wire, Remembering(reaches))
        spec = _specification(wire, _bucket(wire.bucket))
        headers, priority = read_headers(wire.headers or {}), checked_priority(wire.priority)
        sources = frozenset(_sources(spec))
        if len(sources) > SOURCES_MAX:
            raise BadRequest(f"links lead to more than {SOURCES_MAX} remote buckets")
        return Submission(spec, headers, priority, sources)
    except BadRequest as error:
        raise BadRequest(f"Error starting download: {error}") from error


def checked_priority(priority: int) -> int:
    """The priority, if it can be one. Raises BadRequest."""
    if abs(priority) > PRIORITY_MAX:
        raise BadRequest(f"'priority' must lie between -{PRIORITY_MAX} and {PRIORITY_MAX} (got: {priority})")
    return priority


def parse_duration(text: str, *, what: str) -> float:
    """Seconds that a duration in Go's notation stands for (`1h30m`, `250ms`); empty is 0.

    Raises BadRequest, calling the value by `what` it is; as in Go, also for more than 292 years.
    """
    if text in ("", "0"):
        return 0.0
    pieces = _DURATION.findall(text)
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in pieces)
    if "".join(number + unit for number, unit in pieces) != text or seconds * 1e9 > _NUMBER_MAX:
        raise BadRequest(f'invalid {what} "{text}": time: invalid duration "{text}"')
    return seconds


def range_template(text: str) -> Template:
    """The template of a range download.

    Raises BadRequest if it cannot be read or has no range in it.
    """
    template = parse_template(text)
    if not template.groups:
        raise BadRequest(f"not a 'bash' template: \"{text}\" has no range such as {{0001..0100}}")
    return template


def _lead_to(hub: str, wire: WireRequest, reaches: Reaches) -> None:
    """Put links that can be asked for in the place of `hf://` addresses and those to remote buckets."""

    def led(raw: msgspec.Raw) -> msgspec.Raw:
        if bytes(raw)[:5].lower() == b'"http':
            return raw
        value = msgspec.json.decode(raw)
        if not isinstance(value, str):
            return raw
        return msgspec.Raw(msgspec.json.encode(reached(web_link(value, hub), reaches)))

    wire.link = web_link(wire.link, hub)
    if wire.type == "single":
        wire.link = reached(wire.link, reaches)
    wire.template = web_link(wire.template, hub, is_template=True)
    if is_provider_link(wire.template):
        template = range_template(wire.template)
        bucket, _ = parse_provider_link(first := template.name(0))
        if not template.prefix.lower().startswith(provider_prefix(first)):
            raise BadRequest(f'template "{wire.template}": numbers may stand in names, not in {bucket.cname}')
        wire.template = reached_template(wire.template, first, reaches)
    if isinstance(wire.objects, dict):
        wire.objects = {name: led(raw) for name, raw in wire.objects.items()}
    elif wire.objects:
        wire.objects = [led(raw) for raw in wire.objects]


def _specification(wire: WireRequest, bucket: Bucket) -> DownloadSpec:
    reader = _READERS.get(wire.type)
    if reader is None:
        raise BadRequest(_FORMATS if wire.type else "'type' field is empty")
    if wire.etl_name:
        raise Unsupported("transforming what is downloaded (etl_name) is not supported")
    limits = wire.limits or WireLimits()
    _check_limit("connections", limits.connections)
    _check_limit("bytes_per_hour", limits.bytes_per_hour)
    try:
        timeout_s = parse_duration(wire.timeout, what="timeout")
    except BadRequest as error:
        raise BadRequest(f"failed to parse timeout field: {error}") from error
    return msgspec.structs.replace(
        reader(wire, bucket),
        timeout_s=timeout_s,
        extract=wire.extract,
        connections=limits.connections,
        bytes_per_hour=limits.bytes_per_hour,
    )


def _check_limit(name: str, value: int) -> None:
    if value < 0:
        raise BadRequest(f"'limit.{name}' must be non-negative (got: {value})")
    if value > _NUMBER_MAX:
        raise BadRequest(f"'limit.{name}' may be {_NUMBER_MAX} at most (got: {value})")


def _single(wire: WireRequest, bucket: Bucket) -> DownloadSpec:
    if not wire.link:
        raise BadRequest("missing 'link' in the request body")
    link = normal_source(wire.link)
    name = object_key(wire.object_name or base_name(link)).decode()
    return DownloadSpec(
        kind="single",
        bucket=bucket,
        link=link,
        object_name=name,
        description=wire.description or f"{public_link(wire.link)} -> {bucket.cname}/{name}",
    )


def _range(wire: WireRequest, bucket: Bucket) -> DownloadSpec:
    if not wire.template:
        raise BadRequest("missing 'template' in the request body")
    template = range_template(wire.template)
    names = RangeNames(template, wire.subdir)
    names.refuse_equal(wire.template)
    for index in (0, template.count - 1):
        object_key(names.name(normal_source(template.name(index))))
    return DownloadSpec(
        kind="range",
        bucket=bucket,
        template=wire.template,
        subdir=wire.subdir,
        description=wire.description or f"{public_link(wire.template)} -> {bucket.cname}",
    )


def _multi(wire: WireRequest, bucket: Bucket) -> DownloadSpec:
    if not wire.objects:
        raise BadRequest("body should not be empty")
    if isinstance(wire.objects, dict):
        named = [(name, _link(raw, "map")) for name, raw in wire.objects.items()]
    else:
        links = [_link(raw, "list") for raw in wire.objects]
        named = [(base_name(link), link) for link in links]
    objects = tuple((object_key(name).decode(), link) for name, link in named)
    seen: dict[str, str] = {}
    for name, link in objects:
        # Two links for one name would overwrite each other in an order nobody chose.
        if seen.setdefault(name, link) != link:
            raise BadRequest(
                f'"{public_link(seen[name])}" and "{public_link(link)}" would both become object "{name}": '
                "give them names with a map"
            )
    return DownloadSpec(
        kind="multi",
        bucket=bucket,
        objects=tuple(seen.items()),
        description=wire.description or f"multi-download -> {bucket.cname}",
    )


def _list(wire: WireRequest, bucket: Bucket) -> DownloadSpec:
    # The items come behind the request, see `download_list`.
    folder_prefix(wire.subdir)
    return DownloadSpec(
        kind="list",
        bucket=bucket,
        subdir=wire.subdir,
        description=wire.description or f"list -> {_folder(bucket, wire.subdir)}",
    )


def _index(wire: WireRequest, bucket: Bucket) -> DownloadSpec:
    if not wire.link:
        raise BadRequest("missing 'link' in the request body")
    folder_prefix(wire.subdir)
    return DownloadSpec(
        kind="index",
        bucket=bucket,
        link=StartFolder(wire.link).link,
        subdir=wire.subdir,
        include=checked_patterns(wire.include),
        exclude=checked_patterns(wire.exclude),
        description=wire.description or f"{public_link(wire.link)} -> {_folder(bucket, wire.subdir)}",
    )


def _backend(wire: WireRequest, bucket: Bucket) -> DownloadSpec:
    # Whether a remote bucket stands behind this one is known to whoever knows buckets.
    if wire.extract:
        raise Unsupported("extract: the objects of a remote bucket stay as they are; download links to them")
    return DownloadSpec(
        kind="backend",
        bucket=bucket,
        prefix=wire.prefix,
        suffix=wire.suffix,
        synchronize=wire.sync or wire.synchronize,
        fills=True,
        description=wire.description or f"remote bucket prefetch -> {bucket.cname}",
    )


_READERS: Mapping[str, Callable[[WireRequest, Bucket], DownloadSpec]] = {
    "single": _single,
    "range": _range,
    "multi": _multi,
    "list": _list,
    "index": _index,
    "backend": _backend,
}


def _sources(spec: DownloadSpec) -> Iterator[Bucket]:
    """The remote buckets that links lead to."""
    links = [spec.link, *(link for _, link in spec.objects)]
    if spec.template:
        links.append(range_template(spec.template).name(0))
    for link in links:
        if is_provider_link(link):
            yield parse_provider_link(link)[0]


def _folder(bucket: Bucket, subdir: str) -> str:
    """Where objects go, as it is shown."""
    folder = subdir.strip("/")
    return f"{bucket.cname}/{folder}/" if folder else bucket.cname


def _link(raw: msgspec.Raw, kind: str) -> str:
    value = msgspec.json.decode(raw)
    if not isinstance(value, str):
        name = {bool: "bool", int: "float64", float: "float64", type(None): "nil"}.get(type(value), "object")
        raise BadRequest(f"values in {kind} should be strings, found: {name}")
    return normal_source(value)


def _bucket(wire: WireBucket) -> Bucket:
    space = wire.namespace or WireNamespace()
    uuid = f"@{space.uuid.removeprefix('@')}" if space.uuid else ""
    name = f"#{space.name.removeprefix('#')}" if space.name else ""
    return parse_bucket(wire.name, wire.provider, uuid + name)
