"""Image of a candidate: `image.py build IMAGE_DIR` and `image.py revision IMAGE_DIR`.

An image here is a copy of the checkout that `build` is started in, with a file `label` beside it that
holds ORCH_REVISION; both appear by one rename. `revision` prints that label, or nothing when no image
was built yet. `builds.log` has a line for each start of a build, for people who look for reasons.
"""

import fcntl
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path


def build(home):
    """Exit 0 when the image carries the wanted revision."""
    revision = os.environ.get("ORCH_REVISION", "").strip()
    if not revision:
        sys.stderr.write("image: ORCH_REVISION is not set\n")
        return 2
    home.mkdir(parents=True, exist_ok=True)
    with open(home / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(home / "builds.log", "a", encoding="utf-8") as out:
            out.write(f"{revision} {time.time():.3f} {os.getpid()}\n")
        part = Path(tempfile.mkdtemp(prefix=".image-", dir=home))
        try:
            shutil.copytree(Path.cwd(), part / "tree", ignore=shutil.ignore_patterns(".git"))
            (part / "label").write_text(revision + "\n", encoding="utf-8")
            old = home / "image"
            if old.exists():
                os.rename(old, part / "old")
            os.rename(part, home / "image")
            shutil.rmtree(home / "image/old", ignore_errors=True)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return 0


def revision_of(home):
    """Exit 0 with the label, or with nothing."""
    try:
        sys.stdout.write((home / "image/label").read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    return 0


if __name__ == "__main__":
    VERB = {"build": build, "revision": revision_of}.get(sys.argv[1] if len(sys.argv) == 3 else "")
    if VERB is None:
        sys.stderr.write("image: `image.py build IMAGE_DIR` or `image.py revision IMAGE_DIR`\n")
        sys.exit(2)
    sys.exit(VERB(Path(sys.argv[2])))
