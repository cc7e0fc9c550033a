"""A small image dataset from what scikit-learn brings along, as WebDataset shards.

A shard is a tar file in which files of the same stem belong together: `00042.png` is a picture,
`00042.cls` its label. The pictures are the 1,797 handwritten digits, and windows cut from the two
photographs. The same bytes come out on every run.
"""

import io
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

SHARDS = 8
DIGIT_SCALE = 8
WINDOWS_PER_PHOTOGRAPH = 800
WINDOW_PIXELS = 256

Sample = dict[str, bytes]
"""Contents by file name ending."""


def build_shards(folder: Path) -> list[Path]:
    """Write the shards; their paths in order."""
    samples = list(_digits()) + list(_photograph_windows())
    random.Random(2026).shuffle(samples)  # training wants neighbours to differ
    paths = []
    for shard in range(SHARDS):
        paths.append(folder / f"train-{shard:04}.tar")
        with tarfile.open(paths[-1], "w", format=tarfile.USTAR_FORMAT) as tar:
            for number in range(shard, len(samples), SHARDS):
                for ending, content in samples[number].items():
                    member = tarfile.TarInfo(f"{number:05}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return paths


def _digits() -> Iterator[Sample]:
    digits = load_digits()
    for pixels, label in zip(digits.images, digits.target, strict=True):
        image = Image.fromarray((pixels * 15.9375).astype("uint8"))
        size = (image.width * DIGIT_SCALE, image.height * DIGIT_SCALE)
        yield {"png": _encoded(image.resize(size), "PNG"), "cls": str(label).encode()}


def _photograph_windows() -> Iterator[Sample]:
    photographs = load_sample_images()
    chance = random.Random(1797)
    for pixels, name in zip(photographs.images, photographs.filenames, strict=True):
        image = Image.fromarray(pixels)
        for _ in range(WINDOWS_PER_PHOTOGRAPH):
            left = chance.randrange(image.width - WINDOW_PIXELS)
            top = chance.randrange(image.height - WINDOW_PIXELS)
            window = image.crop((left, top, left + WINDOW_PIXELS, top + WINDOW_PIXELS))
            yield {"jpg": _encoded(window, "JPEG"), "cls": Path(name).stem.encode()}


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return buffer.getvalue()
