"""The Info.plist of ``Lacuna.app``: ``BUNDLE(..., info_plist=INFO_PLIST)`` in the spec.

Tried on Debian 12: written and read back with plistlib. Never seen on macOS.
"""

from __future__ import annotations

from typing import Any

from engine import __version__
from engine.imageio.formats import FORMATS

IDENTIFIER = "io.github.lacuna.Lacuna"
MINIMUM_SYSTEM = "14.0"
"""The oldest macOS that the wheels run on: onnxruntime's and NumPy's for arm64, OpenCV's for x86_64."""

PROJECT_TYPE = "org.freedesktop.openraster"
"""Name for OpenRaster; Apple has none. Imported, not exported: the format is not ours."""

TYPES = {
    "TIFF": "public.tiff",
    "PNG": "public.png",
    "JPEG": "public.jpeg",
    "WebP": "org.webmproject.webp",
    "BMP": "com.microsoft.bmp",
}
"""Apple's uniform type identifiers of the picture formats, by their names in ``engine.imageio.formats``."""


def _document(name: str, identifier: str, suffixes: tuple[str, ...], role: str) -> dict[str, Any]:
    return {
        "CFBundleTypeName": name,
        "CFBundleTypeRole": role,
        "CFBundleTypeExtensions": [suffix.removeprefix(".") for suffix in suffixes],
        "LSItemContentTypes": [identifier],
        # Under Open With, and never the default.
        "LSHandlerRank": "Alternate",
    }


DOCUMENT_TYPES = [
    *(
        _document(f"{row.name} picture", TYPES[row.name], row.suffixes, "Viewer" if row.writer is None else "Editor")
        for row in FORMATS
    ),
    _document("OpenRaster project", PROJECT_TYPE, (".ora",), "Editor"),
]

INFO_PLIST: dict[str, Any] = {
    "CFBundleIdentifier": IDENTIFIER,
    "CFBundleName": "Lacuna",
    "CFBundleDisplayName": "Lacuna",
    "CFBundleExecutable": "lacuna",
    "CFBundleVersion": __version__,
    "CFBundleShortVersionString": __version__,
    "CFBundleDevelopmentRegion": "en",
    "CFBundleDocumentTypes": DOCUMENT_TYPES,
    "UTImportedTypeDeclarations": [
        {
            "UTTypeIdentifier": PROJECT_TYPE,
            "UTTypeDescription": "OpenRaster project",
            "UTTypeConformsTo": ["public.data", "public.image", "public.composite-content"],
            "UTTypeTagSpecification": {
                "public.filename-extension": ["ora"],
                "public.mime-type": ["image/openraster"],
            },
        }
    ],
    "LSApplicationCategoryType": "public.app-category.photography",
    # PyInstaller writes True when the program it collects last is one for the console, and there would be no window.
    "LSBackgroundOnly": False,
    "LSMinimumSystemVersion": MINIMUM_SYSTEM,
    "NSHighResolutionCapable": True,
    "NSRequiresAquaSystemAppearance": False,  # dark mode
    "NSHumanReadableCopyright": "Apache-2.0",
}
