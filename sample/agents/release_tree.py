"""Laying the tree of one commit into a folder, whole or not at all, and pointing a link at it.

Both steps end in one rename, so a kill at any moment leaves the state before or after, and a second
run ends where the first was going.
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

#: Longest time that exporting a tree may take, in seconds.
EXPORT_TIMEOUT_S = 120


def lay_tree(repository, sha, folder):
    """Export `sha` of the repository into `folder`, unless it is there already."""
    folder = Path(folder)
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)
    part = Path(tempfile.mkdtemp(prefix=".laying-", dir=folder.parent))
    try:
        bundle = part / "tree.tar"
        subprocess.run(
            ["git", "archive", "--format=tar", f"--output={bundle}", f"{sha}^{{commit}}"],
            cwd=repository, check=True, capture_output=True, timeout=EXPORT_TIMEOUT_S,
        )
        tree = part / "tree"
        with tarfile.open(bundle) as opened:
            # older interpreters have no filter; the archive is git's own either way
            opened.extractall(tree, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        try:
            os.rename(tree, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def point_at(link, name):
    """Let the symbolic link `link` point at `name` beside it; True when that changed something."""
    link = Path(link)
    if current(link) == os.path.basename(name):
        return False
    part = link.with_name(f".{link.name}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(name)
    os.replace(part, link)
    return True


def current(link):
    """The name at which the link points, or None."""
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return None


def sweep(folder):
    """Remove what a killed run of this program left half laid."""
    for left in Path(folder).glob(".laying-*"):
        shutil.rmtree(left, ignore_errors=True)
