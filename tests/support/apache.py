"""A real Apache for tests: folders with their listings, on a free port of 127.0.0.1."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.nginx import web_server

# What Debian's package switches on for listings, but for the icons.
_CONFIG = """
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
ErrorLog /dev/stderr
LogLevel warn
DefaultRuntimeDir {folder}
Mutex file:{folder}
User nobody
Group nogroup
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule mime_module {modules}/mod_mime.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule autoindex_module {modules}/mod_autoindex.so
TypesConfig {types}
DocumentRoot {root}
IndexOptions {options}
IndexIgnore .??* *~ *# HEADER* README* RCS CVS *,v *,t
<Directory {root}>
    Options Indexes
    Require all granted
</Directory>
"""
_MODULES = Path("/usr/lib/apache2/modules")


@contextmanager
def running_apache(root: Path, *, options: str = "FancyIndexing VersionSort HTMLTable") -> Iterator[str]:
    """Serve a folder, whose files must be readable for all, with `IndexOptions`; its URL."""
    program = shutil.which("apache2") or "/usr/sbin/apache2"

    def command(folder: Path, port: int) -> list[str]:
        types = folder / "mime.types"
        types.write_text("text/plain txt\n")
        config = folder / "apache.conf"
        config.write_text(
            _CONFIG.format(
                folder=folder, port=port, root=root, modules=_MODULES, types=types, options=options
            )
        )
        return [program, "-f", str(config), "-DFOREGROUND"]

    with web_server(command) as port:
        yield f"http://127.0.0.1:{port}"
