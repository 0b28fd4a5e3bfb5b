"""The version resource of the Windows programs, as PyInstaller's ``EXE(version=FILE)`` reads it.

Tried on Debian 12: read with PyInstaller's own reader. Not seen in Windows's properties of a file.
"""

from __future__ import annotations

from windows.installer import four_numbers

_TEMPLATE = """\
VSVersionInfo(
    ffi=FixedFileInfo(filevers={four}, prodvers={four}, mask=0x3F, flags=0, OS=0x40004, fileType=1, subtype=0),
    kids=[
        StringFileInfo([StringTable("040904B0", [
            {strings},
        ])]),
        VarFileInfo([VarStruct("Translation", [0x0409, 1200])]),
    ],
)
"""


def version_resource(version: str, file: str, description: str) -> str:
    """The text of a version resource.

    Args:
        version: of the program.
        file: name of the program's file.
        description: what Windows shows for it, in the task manager for example.
    """
    strings = {
        "CompanyName": "Lacuna",
        "FileDescription": description,
        "FileVersion": version,
        "InternalName": file.removesuffix(".exe"),
        "LegalCopyright": "Apache-2.0",
        "OriginalFilename": file,
        "ProductName": "Lacuna",
        "ProductVersion": version,
    }
    lines = [f"StringStruct({name!r}, {text!r})" for name, text in strings.items()]
    return _TEMPLATE.format(four=four_numbers(version), strings=",\n            ".join(lines))
