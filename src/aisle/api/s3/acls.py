"""Access control lists as S3 writes them: canned ones by name in a header, or as grants in XML.

A bucket has one of the four canned ACLs and nothing else; a list of grants is accepted if it says
what one of them says.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from aisle.api.s3.errors import S3Error
from aisle.api.s3.xml import Element, element, group
from aisle.model.bucket import BucketInfo
from aisle.model.principal import CANNED_ACLS

ROOT_ID: Final = "root"
"""How the owner of what nobody else owns is shown: root, and whoever uses a node without credentials."""

EXPECTED_OWNER: Final = "x-amz-expected-bucket-owner"
"""Whose bucket a client believes that it speaks to."""

_EVERYBODY: Final = "http://acs.amazonaws.com/groups/global/AllUsers"
_KNOWN: Final = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
_GRANTS: Final[Mapping[str, frozenset[tuple[str, str]]]] = {
    "private": frozenset(),
    "public-read": frozenset({(_EVERYBODY, "READ")}),
    "public-read-write": frozenset({(_EVERYBODY, "READ"), (_EVERYBODY, "WRITE")}),
    "authenticated-read": frozenset({(_KNOWN, "READ")}),
}
"""What each canned ACL grants beside everything to the owner."""
_GRANT: Final = "x-amz-grant-"
_PERMISSIONS: Final = frozenset({"READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"})
# They speak of the owner of the object, who is the bucket's here.
_SAME_AS_PRIVATE: Final = frozenset({"bucket-owner-full-control", "bucket-owner-read"})
_XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"


def owner_id(info: BucketInfo) -> str:
    """The id of a bucket's owner as S3 shows it."""
    return info.owner or ROOT_ID


def check_owner(info: BucketInfo, headers: Mapping[str, str], field: str = EXPECTED_OWNER) -> None:
    """Raise S3Error AccessDenied for a bucket that is not the one's whom a header field expects."""
    expected = headers.get(field)
    if expected is not None and expected.strip() != owner_id(info):
        raise S3Error("AccessDenied", "The bucket is not owned by the account that was expected.")


def owner_element(owner: str) -> str:
    """The owner as an element."""
    return group("Owner", [element("ID", owner), element("DisplayName", owner)])


def acl_of_headers(headers: Mapping[str, str], owner: str) -> str:
    """The canned ACL that a request names, or that says what its grants say; empty if it has neither.

    `owner` is the bucket's, as S3 shows it. Raises S3Error InvalidArgument, InvalidRequest for both at once,
    and NotImplemented for grants that no canned ACL makes.
    """
    acl = headers.get("x-amz-acl", "")
    given = {name[len(_GRANT) :]: headers[name] for name in headers if name.startswith(_GRANT)}
    if given:
        if acl:
            text = "Specifying both Canned ACLs and Header Grants is not allowed"
            raise S3Error("InvalidRequest", text)
        return _canned({grant for name in given for grant in _grants_of(name, given[name], owner)})
    if acl in _SAME_AS_PRIVATE:
        return "private"
    if acl and acl not in CANNED_ACLS:
        raise S3Error("InvalidArgument", ArgumentName="x-amz-acl", ArgumentValue=acl[:80])
    return acl


def acl_document(owner: str, acl: str) -> list[str]:
    """The elements of an AccessControlPolicy."""
    return [owner_element(owner), group("AccessControlList", _grants(owner, acl))]


def _grants(owner: str, acl: str) -> Iterator[str]:
    inner = element("ID", owner) + element("DisplayName", owner)
    grantee = f'<Grantee xmlns:xsi="{_XSI}" xsi:type="CanonicalUser">{inner}</Grantee>'
    yield group("Grant", [grantee, element("Permission", "FULL_CONTROL")])
    for uri, permission in sorted(_GRANTS.get(acl, frozenset())):
        grantee = f'<Grantee xmlns:xsi="{_XSI}" xsi:type="Group">{element("URI", uri)}</Grantee>'
        yield group("Grant", [grantee, element("Permission", permission)])


def acl_of_document(policy: Element, owner: str) -> str:
    """The canned ACL that says what a policy's grants say.

    Raises S3Error MalformedXML, and NotImplemented for grants that no canned ACL makes.
    """
    grants = policy.first("AccessControlList")
    if grants is None:
        raise S3Error("MalformedXML")
    asked: set[tuple[str, str]] = set()
    for grant in grants.every("Grant"):
        grantee, permission = grant.first("Grantee"), grant.value("Permission")
        if grantee is None or not permission:
            raise S3Error("MalformedXML")
        if grantee.value("ID") != owner:
            asked.add((grantee.value("URI"), permission))
    return _canned(asked)


def _grants_of(name: str, value: str, owner: str) -> Iterator[tuple[str, str]]:
    """What `x-amz-grant-NAME` grants to others than the owner: `uri="…", id="…"`."""
    permission = name.upper().replace("-", "_")
    if permission not in _PERMISSIONS:
        raise S3Error("InvalidArgument", ArgumentName=_GRANT + name, ArgumentValue=value[:80])
    for grantee in value.split(","):
        kind, _, who = grantee.strip().partition("=")
        who = who.strip().strip('"')
        if kind not in ("uri", "id", "emailAddress") or not who:
            raise S3Error("InvalidArgument", ArgumentName=_GRANT + name, ArgumentValue=value[:80])
        if kind != "id" or who != owner:
            yield who, permission


def _canned(asked: set[tuple[str, str]]) -> str:
    """The canned ACL that makes just these grants to others than the owner. Raises S3Error NotImplemented."""
    for acl, granted in _GRANTS.items():
        if asked == granted:
            return acl
    raise S3Error("NotImplemented", "Only what the canned ACLs grant is implemented.")
