"""How much a client may send, and how much the server keeps."""

from __future__ import annotations

from dataclasses import dataclass

MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What is refused, and when the oldest sample makes room.

    Attributes:
        file_bytes: of one uploaded file, and of one member of a zip once unpacked.
        request_bytes: of the body of one request; counted while it arrives.
        request_files: in one request.
        sample_cells: in one sample.
        sample_bytes: of the images of one sample, in the card's size and dtype, on disk.
        zip_bytes: of all members of a zip once unpacked.
        zip_members: files in a zip.
        zip_ratio: unpacked over packed bytes of a zip; beyond it is no archive of images.
        decoded_bytes: of the pixels that one file declares.
        pages: of one TIFF.
        side: px of the longer side of a crop.
        samples: kept at once; the one not asked for longest is dropped.
        store_bytes: of the images of all samples, on disk.
        uploads: requests that send files at the same time; more are told to come again.
        body_seconds: that a request may take to arrive, besides what ``body_rate`` gives it.
        body_rate: bytes a second that it must come at after that.
    """

    file_bytes: int = 200 * MB
    request_bytes: int = 200 * MB
    request_files: int = 500
    sample_cells: int = 50_000
    sample_bytes: int = 1000 * MB
    zip_bytes: int = 500 * MB
    zip_members: int = 50_000
    zip_ratio: int = 100
    decoded_bytes: int = 200 * MB
    pages: int = 10_000
    side: int = 4096
    samples: int = 32
    store_bytes: int = 4000 * MB
    uploads: int = 8
    body_seconds: int = 30
    body_rate: int = 50_000


DEFAULT = Limits()


def size(count: int) -> str:
    """``200 MB``, for people."""
    for unit, scale in (("GB", 1000 * MB), ("MB", MB), ("kB", 1000)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} bytes"
