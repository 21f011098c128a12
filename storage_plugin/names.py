"""Names of storages, folders and files: as disks compare them, and as people read them. No I/O."""

import unicodedata

UNSEEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, surrogates, and line and paragraph separators."""


def normal(name: str) -> str:
    """Return a name in a form that does not depend on macOS or Linux."""
    return unicodedata.normalize("NFC", name)


def place(path: str) -> str:
    """Return a form of a path that is equal for all paths that may be one place on a disk.

    Disks on macOS and Windows ignore case, and Windows also ignores dots and spaces at the end of a
    name, so two paths that iconik distinguishes may be one file.

    https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
    """
    names = (name.rstrip(". ") for name in path.replace("\\", "/").split("/"))
    return normal(normal("/".join(filter(None, names))).casefold())


def visible(text: str) -> str:
    """Return a text with an escape in place of each character that nobody sees."""
    if text.isprintable():
        return text
    return "".join(
        repr(char)[1:-1] if unicodedata.category(char) in UNSEEN else char for char in text
    )
