"""Says what an image must be, after its maker's signature was checked; runs on the controller.

``check_release.py IMAGE KEY``: IMAGE is a compressed disk (``.img.zst``) beside the ``SHA256SUMS``,
``SHA256SUMS.sig`` and ``.sizes.json`` of its release; it need not be there itself. KEY is a file
with the maker's public key in 64 hexadecimal digits. The format is in docs/image-format.md. Python
of ansible-core is enough, since it brings ``cryptography``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SUMS = "SHA256SUMS"
SUFFIX = ".img.zst"
PURPOSE = b"maculaos signature 1\n"
BYTES_MAX = 16 << 20
_SIGNATURE = re.compile(
    rb"maculaos signature 1\nkey ([0-9a-f]{16})\ned25519 ([A-Za-z0-9+/]{86}==)\n"
)


class Refused(Exception):
    """One line for people."""


def main() -> int:
    """Print what the image must be, as JSON; or one line, and exit 1."""
    try:
        _, image, key = sys.argv
        found = check(Path(image), Path(key))
    except ValueError:
        sys.stderr.write("check_release: give an image and a key\n")
        return 2
    except (Refused, OSError) as error:
        sys.stderr.write(f"check_release: {error}\n")
        return 1
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def check(image: Path, key: Path) -> dict[str, str | int]:
    """Digests and size that the signed list gives; raises ``Refused`` and ``OSError``."""
    if not image.name.endswith(SUFFIX):
        raise Refused(f"{image.name} does not end with {SUFFIX}")
    content = _read(image.with_name(SUMS))
    _check_signature(content, _read(image.with_name(f"{SUMS}.sig")), _read(key))
    pairs = (line.split("  ", 1) for line in content.decode("ascii", "replace").splitlines())
    sums = {pair[1]: pair[0] for pair in pairs if len(pair) == 2}
    stem = image.name.removesuffix(SUFFIX)
    names = (image.name, f"{stem}.img", f"{stem}.sizes.json")
    missing = [name for name in names if name not in sums]
    if missing:
        raise Refused(f"{SUMS} does not name {missing[0]}: is this the folder of one release?")
    sizes = _read(image.with_name(names[2]))
    if hashlib.sha256(sizes).hexdigest() != sums[names[2]]:
        raise Refused(f"{names[2]} is not as its maker left it: fetch it again")
    size = json.loads(sizes)["files"][names[1]]
    return {"packed_sha256": sums[names[0]], "disk_sha256": sums[names[1]], "disk_bytes": size}


def _check_signature(content: bytes, signature: bytes, key: bytes) -> None:
    text = key.decode("ascii", "replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise Refused("the key file holds no public key: 64 hexadecimal digits")
    found = _SIGNATURE.fullmatch(signature)
    if found is None:
        raise Refused(f"{SUMS}.sig is no signature: fetch it again")
    try:
        raw = Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
        raw.verify(base64.b64decode(found[2]), PURPOSE + content)
    except InvalidSignature as error:
        raise Refused(f"the signature of {SUMS} is not good: nothing may be installed") from error


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(BYTES_MAX + 1)
    if len(content) > BYTES_MAX:
        raise Refused(f"{path} is larger than {BYTES_MAX} bytes")
    return content


if __name__ == "__main__":
    sys.exit(main())
