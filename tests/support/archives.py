"""Archives for tests, made by the standard library and lz4, so that nothing of ours makes what ours reads."""

import gzip
import io
import tarfile
import zipfile

import lz4.frame


def tar_of(files: dict[str, bytes]) -> bytes:
    """A tar of these files."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


def archive_of(extension: str, files: dict[str, bytes]) -> bytes:
    """An archive of the kind that the extension names: `.tar`, `.tgz`, `.tar.gz`, `.tar.lz4`, `.zip`."""
    if extension == ".zip":
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return target.getvalue()
    tar = tar_of(files)
    if extension == ".tar.lz4":
        compressed: bytes = lz4.frame.compress(tar)
        return compressed
    return tar if extension == ".tar" else gzip.compress(tar)
