"""What a machine has for each provider of remote buckets: libraries, variables, files.

For people who ask why a bucket cannot be had. Only names are told, never what stands in a variable or file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from aisle.backends.registry import is_installed


class Requirements(NamedTuple):
    """What a provider may need."""

    modules: tuple[str, ...] = ()
    """Of the extra that has the provider's name."""
    optional_for: str = ""
    """Without what the extra is not needed; empty if it always is."""
    variables: tuple[str, ...] = ()
    """Any of them tells how to use the provider."""
    files: tuple[tuple[str, str], ...] = ()
    """The same of files: the variable that names it or its folder, if any, and where it is else."""
    advice: str = ""
    """What to set where there is none of them."""


AZURE_IDENTITY: Final = (
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
)
"""Any of them tells that the node has an identity of Azure's."""
ON_GOOGLE: Final = ("GCE_METADATA_HOST", "K_SERVICE")
"""They are set where a service of the machine has Google's tokens, although no file says so."""

REQUIREMENTS: Final[Mapping[str, Requirements]] = {
    "aws": Requirements(
        ("botocore",),
        variables=(
            *("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
            *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        ),
        files=(
            ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
            ("AWS_CONFIG_FILE", "~/.aws/config"),
        ),
        advice="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run `aws configure`; "
        "without, public buckets can be read",
    ),
    "azure": Requirements(
        ("azure.identity",),
        optional_for="tokens of identities",
        variables=(
            *("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"),
            *("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_AUTH_MODE", "AIS_AZURE_URL"),
            *AZURE_IDENTITY,
        ),
        advice="set AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or "
        "AZURE_STORAGE_CONNECTION_STRING",
    ),
    "gcp": Requirements(
        ("google.auth", "requests"),
        variables=("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST", *ON_GOOGLE),
        files=(("CLOUDSDK_CONFIG", "~/.config/gcloud/application_default_credentials.json"),),
        advice="set GOOGLE_APPLICATION_CREDENTIALS to a file, or run `gcloud auth application-default "
        "login`; without, public buckets can be read",
    ),
    "oci": Requirements(
        ("oci",),
        variables=("OCI_TENANCY_OCID", "OCI_CLI_PROFILE", "OCI_INSTANCE_PRINCIPAL_AUTH", "OCI_CLI_ENDPOINT"),
        files=(("OCI_CLI_CONFIG_FILE", "~/.oci/config"),),
        advice="run `oci setup config`, name a file in OCI_CLI_CONFIG_FILE, or set OCI_TENANCY_OCID "
        "and its like",
    ),
    "ht": Requirements(),
}


class Found(NamedTuple):
    """What there is of a provider's requirements."""

    is_installed: bool
    settings: list[str]
    """Names of the variables that are set, and of the files that are there."""


def found_settings(requirements: Requirements, environment: Mapping[str, str]) -> Found:
    """Look for what a provider may need; looks at files, so it is called in a thread."""
    settings = [name for name in requirements.variables if environment.get(name)]
    home = environment.get("HOME", "")
    for variable, usual in requirements.files:
        named = environment.get(variable, "") if variable else ""
        path = Path((named or usual).replace("~", home, 1))
        # Of a file that is named elsewhere, where that is may be nobody's business.
        if path.is_file() or (path / Path(usual).name).is_file():
            settings.append(variable if named else usual)
    return Found(all(map(is_installed, requirements.modules)), settings)
