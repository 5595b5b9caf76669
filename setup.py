"""What a package index shows of README: its links lead to the repository, or are plain words while there is no address.

In the repository README's links are relative, so that they hold in every clone and branch. A package index shows README
without the files beside it. Once the project has a public address, `project.urls.Repository` in pyproject.toml is the
one place to write it.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup  # type: ignore[import-untyped]

_RELATIVE_LINK = re.compile(r"(!?)\[([^\]\n]*)\]\((?![a-z]+:)([^)\s]+)\)")


def outside(readme: str, repository: str | None) -> str:
    """README for readers who do not have the repository."""

    def link(found: re.Match[str]) -> str:
        picture, words, path = found.groups()
        if repository is None:
            return f"*{words}*" if picture else words
        return f"{picture}[{words}]({repository.rstrip('/')}/{'raw' if picture else 'blob'}/main/{path})"

    return _RELATIVE_LINK.sub(link, readme)


here = Path(__file__).parent
project = tomllib.loads((here / "pyproject.toml").read_text(encoding="utf-8"))["project"]
setup(
    long_description=outside(
        (here / "README.md").read_text(encoding="utf-8"), project.get("urls", {}).get("Repository")
    ),
    long_description_content_type="text/markdown",
)
