"""Bundle files: written from a repository, checked, and put where a reconciler fetches.

A tar archive of at most three members in this order: ``manifest.json``, ``manifest.json.sig`` (an
SSH signature of the manifest, optional) and ``repository.bundle`` (a Git bundle with the whole
history of one branch). It is read as a stream, with a bound on everything, and unpacked nowhere:
the one member of use is copied. Whether its commits count is decided as for any other remote.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from maculaos.host.commands import CommandFailed, SystemRunner
from maculaos.host.files import make_private_directory, sync_directory
from reconciler.bundles.manifest import (
    CONTENT_BYTES,
    MANIFEST_BYTES,
    BadBundle,
    Manifest,
    parse_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST_NAME: Final = "manifest.json"
SIGNATURE_NAME: Final = "manifest.json.sig"
CONTENT_NAME: Final = "repository.bundle"
# What a signature is for, so that one made for something else does not pass here.
NAMESPACE: Final = "maculaos-bundle"
GIT_TIMEOUT_S: Final = 600.0
_PIECE_BYTES: Final = 1 << 20


def create(
    repository: Path, branch: str, output: Path, now: float, signing_key: Path | None = None
) -> Manifest:
    """Write a bundle of that branch to ``output``; raises ``CommandFailed`` or ``OSError``."""
    git = SystemRunner(_environment(repository))
    ref = f"refs/heads/{branch}"
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".bundle-") as name:
        folder = Path(name)
        content = folder / CONTENT_NAME
        words = ("bundle", "create", "--quiet", str(content.absolute()), ref)
        git.run("git", *words, timeout_s=GIT_TIMEOUT_S)
        manifest = Manifest(
            branch=branch,
            revision=git.run("git", "rev-parse", "--verify", f"{ref}^{{commit}}").strip(),
            made_at=now,
            size=content.stat().st_size,
            sha256=_digest(content),
        )
        (folder / MANIFEST_NAME).write_bytes(manifest.as_bytes())
        if signing_key is not None:
            sign = ("ssh-keygen", "-Y", "sign", "-q", "-f", str(signing_key), "-n", NAMESPACE)
            SystemRunner().run(*sign, str(folder / MANIFEST_NAME))
        _pack(folder)
        (folder / "bundle.tar").replace(output)
    sync_directory(output.parent)
    return manifest


@contextmanager
def verified(bundle: Path, folder: Path, signers: Path | None) -> Iterator[tuple[Manifest, Path]]:
    """The manifest and a checked copy of the Git bundle, in ``folder`` while the context lasts.

    With ``signers``, an allowed-signers file of ssh-keygen(1), it must be signed by one of them.
    Raises ``BadBundle``.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".bundle-") as name:
        content = Path(name) / CONTENT_NAME
        try:
            with tarfile.open(bundle, mode="r|") as archive:
                manifest = _read(archive, content, signers)
        except (tarfile.TarError, EOFError) as error:
            raise _bad(bundle, str(error)) from error
        _check_head(content, manifest)
        yield manifest, content


def put(content: Path, destination: Path) -> None:
    """Put a checked Git bundle where a reconciler fetches, whole or not at all."""
    handle = os.open(content, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    content.chmod(0o600)
    content.replace(destination)
    sync_directory(destination.parent)


def folder_of(destination: Path) -> Path:
    """The folder of ``destination``, made if it is not there."""
    return make_private_directory(destination.parent)


def _pack(folder: Path) -> None:
    with tarfile.open(folder / "bundle.tar", mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in (MANIFEST_NAME, SIGNATURE_NAME, CONTENT_NAME):
            if (folder / name).exists():
                archive.add(folder / name, arcname=name, filter=_plain, recursive=False)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nothing of who made it, or when: the manifest says what matters."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def _read(archive: tarfile.TarFile, content: Path, signers: Path | None) -> Manifest:
    said = _small(archive, archive.next(), MANIFEST_NAME)
    manifest = parse_manifest(said)
    member = archive.next()
    signature = b""
    if member is not None and member.name == SIGNATURE_NAME:
        signature = _small(archive, member, SIGNATURE_NAME)
        member = archive.next()
    if signers is not None:
        _check_signature(said, signature, signers)
    source = _member(archive, member, CONTENT_NAME, CONTENT_BYTES)
    if _copy(source, content, manifest.size) != (manifest.size, manifest.sha256):
        raise BadBundle("the bundle is damaged: its content is not what it says", "copy it again")
    if archive.next() is not None:
        raise BadBundle("the bundle holds more than it should", "make it anew")
    return manifest


def _small(archive: tarfile.TarFile, member: tarfile.TarInfo | None, name: str) -> bytes:
    return _member(archive, member, name, MANIFEST_BYTES).read()


def _member(
    archive: tarfile.TarFile, member: tarfile.TarInfo | None, name: str, most: int
) -> IO[bytes]:
    """Open the member if it is the expected one: a regular file of moderate size."""
    if member is None or member.name != name or not member.isreg() or member.size > most:
        raise BadBundle(f"this is no bundle: it has no {name} where one belongs", "make it anew")
    return archive.extractfile(member) or io.BytesIO()


def _copy(source: IO[bytes], target: Path, most: int) -> tuple[int, str]:
    """Copy up to a little more than ``most`` bytes; how many came, and their SHA-256."""
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as file:
        while size <= most and (piece := source.read(_PIECE_BYTES)):
            file.write(piece)
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_signature(said: bytes, signature: bytes, signers: Path) -> None:
    if not signature:
        raise BadBundle("the bundle is not signed", "make it anew with --sign")
    with tempfile.NamedTemporaryFile(suffix=".sig") as file:
        file.write(signature)
        file.flush()
        run = SystemRunner().run
        common = ("-s", file.name, "-f", str(signers), "-n", NAMESPACE)
        try:
            # The status decides, and the names only say whom to check for.
            names = run("ssh-keygen", "-Y", "find-principals", *common).splitlines()
            run("ssh-keygen", "-Y", "verify", "-I", names[0], *common, stdin=said)
        except (CommandFailed, IndexError) as error:
            hint = f"see who is in {signers}"
            raise BadBundle("nobody whom this machine trusts signed the bundle", hint) from error


def _check_head(content: Path, manifest: Manifest) -> None:
    wanted = f"{manifest.revision} refs/heads/{manifest.branch}"
    git = SystemRunner(_environment(content.parent))
    try:
        found = git.run("git", "bundle", "list-heads", str(content.absolute())).strip()
    except CommandFailed as error:
        raise BadBundle("the bundle holds no Git bundle", "make it anew") from error
    if found != wanted:
        raise BadBundle("the bundle holds another commit than it says", "make it anew")


def _environment(repository: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "LC_ALL": "C",
        "GIT_DIR": str(_git_dir(repository)),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }


def _git_dir(repository: Path) -> Path:
    inner = repository.absolute() / ".git"
    return inner if inner.is_dir() else repository.absolute()


def _bad(bundle: Path, why: str) -> BadBundle:
    return BadBundle(f"{bundle} is no bundle: {why}", "copy it again, or make it anew")
