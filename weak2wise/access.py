"""Why the system refuses a path to this process, and what lets it in."""

import errno
import os
from pathlib import Path


def refusal(path: Path, error: OSError) -> str:
    """The system's reason; where rights are missing, also who has them, and the command that gives them.

    ``path``: what was looked at, if the error itself does not say it. Never raises.
    """
    why = error.strerror or str(error)
    path = Path(error.filename) if isinstance(error.filename, str) else path
    advice = rights(path) if error.errno in (errno.EACCES, errno.EPERM) else ""
    return f"{why}: {advice}" if advice else why


def rights(path: Path) -> str:
    """Who has rights on the path or, of its folders, on the first that is closed; empty if that is not shown."""
    path, user = path.absolute(), os.geteuid()
    closed = next((folder for folder in reversed(path.parents) if not os.access(folder, os.X_OK)), path)
    try:
        closed = closed if closed.exists() else closed.parent
        found = closed.stat()
    except OSError:
        return ""
    change = f"chmod -R u+rwX {closed}" if found.st_uid == user else f"sudo chown -R {user} {closed}"
    return (
        f"{closed} belongs to user {found.st_uid} (mode {found.st_mode & 0o7777:o}), and this process is user {user}; "
        f"`{change}` lets it in"
    )
