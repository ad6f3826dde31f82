"""The software bill of materials of an image: an SPDX 2.3 document in JSON (spdx.github.io).

Two builds of one commit write the same bytes: the time is the commit's, and every id comes from
content. It says what was put in, not what may be done with it: licences are as their origin
declares them where that is an SPDX expression, and otherwise told in a comment.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagebuilder.packages.catalogue import Package

COMPONENTS_MAX: Final = 20_000
SPDX_VERSION: Final = "SPDX-2.3"
# SPDX requires a licence for its own data, and allows this one only.
DATA_LICENCE: Final = "CC0-1.0"
UNKNOWN: Final = "NOASSERTION"
DOCUMENT_ID: Final = "SPDXRef-DOCUMENT"
IMAGE_ID: Final = "SPDXRef-Image"
NAMESPACE: Final = "https://spdx.org/spdxdocs"

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# How the ports tree names the licences that most ports have (Mk/bsd.licenses.db.mk).
_LICENCES: Final = {
    "APACHE20": "Apache-2.0",
    "ART10": "Artistic-1.0",
    "BSD2CLAUSE": "BSD-2-Clause",
    "BSD3CLAUSE": "BSD-3-Clause",
    "GPLv2": "GPL-2.0-only",
    "GPLv2+": "GPL-2.0-or-later",
    "GPLv3": "GPL-3.0-only",
    "GPLv3+": "GPL-3.0-or-later",
    "ISCL": "ISC",
    "LGPL21": "LGPL-2.1-only",
    "LGPL21+": "LGPL-2.1-or-later",
    "LGPL3": "LGPL-3.0-only",
    "LGPL3+": "LGPL-3.0-or-later",
    "MIT": "MIT",
    "MPL20": "MPL-2.0",
    "PSFL": "PSF-2.0",
    "PD": "",
    "ZLIB": "Zlib",
}
_JOINS: Final = {"or": " OR ", "dual": " OR ", "and": " AND ", "multi": " AND ", "single": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One thing that went into the image: a set, a package, or a wheel."""

    # set, package or wheel: a word for people, and part of the id.
    kind: str
    name: str
    version: str
    # Of the file it came in, in hexadecimal.
    sha256: str
    # Where that file came from: a URL, or NOASSERTION for a file of the build host.
    location: str = UNKNOWN
    # An SPDX expression, if its origin declares one.
    licence: str = UNKNOWN
    # The licence in the origin's own words, where they are no SPDX expression.
    licence_words: str = ""
    # Package URL (github.com/package-url), by which databases of faults know it.
    purl: str = ""
    homepage: str = UNKNOWN

    @property
    def spdx_id(self) -> str:
        """An id that only content makes: kind, name and version for people, and all of it."""
        words = re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.kind}-{self.name}-{self.version}")
        whole = "\0".join((self.kind, self.name, self.version, self.sha256))
        return f"SPDXRef-{words[:100]}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What the document is about."""

    name: str
    version: str
    # Seconds since the epoch: the time of the commit that the image is built from.
    created_s: int


def document(image: Image, components: Sequence[Component]) -> str:
    """The SPDX document, as the text of a file; the order of ``components`` does not matter.

    Raises ``UsageError`` for two components that are one, and for a hash that is none.
    """
    if len(components) > COMPONENTS_MAX:
        raise UsageError(f"more than {COMPONENTS_MAX} components")
    ordered = sorted(components, key=lambda component: component.spdx_id)
    ids = [component.spdx_id for component in ordered]
    if len(set(ids)) != len(ids):
        twice = next(one for one, other in pairwise(ids) if one == other)
        raise UsageError(f"{twice} is in the image twice")
    packages = [_image_package(image), *(_package(component) for component in ordered)]
    content = {
        "spdxVersion": SPDX_VERSION,
        "dataLicense": DATA_LICENCE,
        "SPDXID": DOCUMENT_ID,
        "name": f"{image.name}-{image.version}",
        "documentNamespace": _namespace(image, packages),
        "creationInfo": {
            "created": datetime.fromtimestamp(image.created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Tool: imagebuilder"],
        },
        "documentDescribes": [IMAGE_ID],
        "packages": packages,
        "relationships": [
            _relationship(DOCUMENT_ID, "DESCRIBES", IMAGE_ID),
            *(_relationship(IMAGE_ID, "CONTAINS", spdx_id) for spdx_id in ids),
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def of_package(package: Package, repository: str) -> Component:
    """A package of a FreeBSD repository; ``repository`` is its URL or NOASSERTION."""
    licence = licence_of(package.licenses, package.licenselogic)
    known = repository != UNKNOWN
    return Component(
        kind="package",
        name=package.name,
        version=str(package.version),
        sha256=package.sha256,
        location=f"{repository.rstrip('/')}/{package.location}" if known else UNKNOWN,
        licence=licence,
        licence_words=" ".join(package.licenses) if licence == UNKNOWN else "",
        purl=_purl(f"generic/freebsd/{package.name}", str(package.version)),
        homepage=package.www.split()[0] if package.www.split() else UNKNOWN,
    )


def of_wheel(name: str, version: str, sha256: str) -> Component:
    """A Python distribution that came in a wheel."""
    return Component(
        kind="wheel", name=name, version=version, sha256=sha256, purl=_purl(f"pypi/{name}", version)
    )


def of_set(name: str, release: str, sha256: str, location: str = UNKNOWN) -> Component:
    """A set of a FreeBSD release, such as ``base``."""
    return Component(
        kind="set",
        name=name,
        version=release,
        sha256=sha256,
        location=location,
        purl=_purl(f"generic/freebsd/{name}", release),
    )


def _purl(path: str, version: str) -> str:
    """A package URL; a version may hold characters that have a meaning in one."""
    return f"pkg:{quote(path, safe='/')}@{quote(version, safe='')}"


def licence_of(names: Sequence[str], logic: str) -> str:
    """The licences of a port as one SPDX expression; NOASSERTION when one is not known here."""
    known = [_LICENCES.get(name, "") for name in sorted(set(names))]
    join = _JOINS.get(logic, "")
    if not known or not all(known) or (len(known) > 1 and not join):
        return UNKNOWN
    return join.join(known)


def _image_package(image: Image) -> dict[str, object]:
    return {
        "SPDXID": IMAGE_ID,
        "name": image.name,
        "versionInfo": image.version,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": False,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
    }


def _package(component: Component) -> dict[str, object]:
    if not _SHA256.fullmatch(component.sha256):
        raise UsageError(f"{component.name}: {component.sha256!r} is no SHA-256")
    said: dict[str, object] = {
        "SPDXID": component.spdx_id,
        "name": component.name,
        "versionInfo": component.version,
        "comment": component.kind,
        "downloadLocation": component.location,
        "filesAnalyzed": False,
        "checksums": [{"algorithm": "SHA256", "checksumValue": component.sha256}],
        "homepage": component.homepage,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": component.licence,
        "copyrightText": UNKNOWN,
    }
    if component.licence_words:
        said["licenseComments"] = f"declared as: {component.licence_words}"
    if component.purl:
        said["externalRefs"] = [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": component.purl,
            }
        ]
    return said


def _relationship(one: str, how: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": how, "relatedSpdxElement": other}


def _namespace(image: Image, packages: Sequence[dict[str, object]]) -> str:
    """A URI that no other document has, unless it says the same."""
    whole = json.dumps([image.created_s, packages], sort_keys=True)
    digest = hashlib.sha256(whole.encode()).hexdigest()
    words = re.sub(r"[^A-Za-z0-9.]+", "-", f"{image.name}-{image.version}")
    return f"{NAMESPACE}/{words}-{digest[:32]}"
