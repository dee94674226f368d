"""A `ModelCheckpoint` whose path is a URL: Keras writes its files here, and they are sent there."""

import tempfile
from pathlib import Path
from typing import cast

from zoo.orca.files import write_bytes
from zoo.orca.frameworks.keras.types import KerasCallback, WritesCheckpoints


def send_to_url(callback: KerasCallback) -> None:
    """Let a `ModelCheckpoint` of Keras write to the URL that its path is; leave others alone."""
    url = str(getattr(callback, "filepath", ""))
    if "://" not in url or "ModelCheckpoint" not in {k.__name__ for k in type(callback).__mro__}:
        return
    writer = cast(WritesCheckpoints, callback)
    # What Keras fills in, by epoch or by results, may be a directory's name, too.
    place = url.partition("{")[0].rpartition("/")[0]
    directory = tempfile.mkdtemp(prefix="orca-checkpoint-")
    writer.filepath = f"{directory}/{url[len(place) + 1 :]}"
    save = writer._save_model
    sent: dict[str, tuple[int, int]] = {}

    def save_and_send(*arguments: object, **named: object) -> None:
        save(*arguments, **named)
        for path in sorted(Path(directory).rglob("*")):
            name, now = str(path.relative_to(directory)), path.stat()
            if path.is_file() and sent.get(name) != (now.st_mtime_ns, now.st_size):
                write_bytes(f"{place}/{name}", path.read_bytes())
                sent[name] = (now.st_mtime_ns, now.st_size)

    writer._save_model = save_and_send
