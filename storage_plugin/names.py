"""Names of storages, folders and files: as disks compare them, and as people read them. No I/O."""

import re
import unicodedata

# Control characters, line and paragraph separators, and surrogates.
UNSEEN = re.compile(r"[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def normal(name: str) -> str:
    """Return a name in a form that does not depend on macOS or Linux."""
    return unicodedata.normalize("NFC", name)


def place(path: str) -> str:
    """Return a form of a path that is equal for all paths that may be one place on a disk.

    Disks on macOS and Windows ignore case, and Windows ignores dots and spaces at a name's end.

    https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
    """
    names = [name.rstrip(". ") for name in path.replace("\\", "/").split("/")]
    return normal(normal("/".join(filter(None, names))).casefold())


def visible(text: str) -> str:
    """Return a text with an escape in place of each character that nobody sees."""
    return UNSEEN.sub(lambda match: repr(match[0])[1:-1], text)
