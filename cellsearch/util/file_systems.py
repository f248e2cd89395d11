"""Whether a folder lies on this machine, or on another that several machines share."""

from __future__ import annotations

from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
_FUSE = ("beegfs", "ceph", "glusterfs", "juicefs", "s3fs", "sshfs", "weka")
NETWORK = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "virtiofs"),
        "wekafs",
        *(f"fuse.{name}" for name in _FUSE),
    }
)


def is_on_network(path: Path, *, mounts: Path = MOUNTS) -> bool:
    """Whether a path lies on a network file system; False where that cannot be known.

    Args:
        path: of a file or folder, which need not be there.
        mounts: what is mounted where, as Linux tells it.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    place = path.absolute().resolve()
    found = (0, "")
    for line in lines:
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        # Spaces of a name are written as \040.
        mounted = Path(parts[1].encode().decode("unicode_escape", errors="replace"))
        # Of two mounts at one place the later one is seen.
        if place.is_relative_to(mounted) and len(mounted.parts) >= found[0]:
            found = (len(mounted.parts), parts[2])
    return found[1] in NETWORK
