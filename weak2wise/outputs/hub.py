"""Upload exports to the Hugging Face Hub."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from weak2wise.errors import FORMATS, ConfigError

_MISSING = f"--push-to-hub needs huggingface_hub: {FORMATS}"


def check_name(repo: str) -> None:
    """Check the name of a data set. Raises ``ConfigError``, also if huggingface_hub is not installed."""
    try:
        from huggingface_hub.errors import HFValidationError  # noqa: PLC0415 - an extra
        from huggingface_hub.utils import validate_repo_id  # noqa: PLC0415
    except ImportError:
        raise ConfigError(_MISSING) from None
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(f"--push-to-hub {repo}: expected user/name: {error}") from None
    if "/" not in repo:
        raise ConfigError(f"--push-to-hub {repo}: expected user/name")


def push(repo: str, files: Mapping[str, Path], *, dry_run: bool) -> Iterator[str]:
    """Upload files to a data set (a new one is private). Yields lines that say what was, or would be, done. Blocks.

    ``files``: name on the Hub to local path. The token is the one of ``hf auth login``, or ``HF_TOKEN``.

    Raises:
        ConfigError: huggingface_hub is not installed, or the Hub cannot be reached or refuses.
    """
    try:
        from huggingface_hub import CommitOperationAdd, HfApi  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError(_MISSING) from None
    if dry_run:
        yield f"Would upload to the data set {repo}, private if it is new (nothing was sent):"
        yield from (f"  {name}  {file.stat().st_size:,} bytes" for name, file in files.items())
        return
    api = HfApi(library_name="weak2wise")
    try:
        url = api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
        api.create_commit(
            repo,
            [CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in files.items()],
            repo_type="dataset",
            commit_message="Export from weak2wise",
        )
    except Exception as error:  # noqa: BLE001 - errors depend on the HTTP library that huggingface_hub uses
        message = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise ConfigError(
            f"--push-to-hub {repo}: {message}. The files are written; check the network, and HF_TOKEN or `hf auth "
            "login`, then try again"
        ) from None
    yield f"Uploaded to {url}"
