"""Who is notified when a run ends: the optional section ``notify`` of the config."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from weak2wise.config.section import Name, Section, Url, convert
from weak2wise.errors import ConfigError


class NotifySettings(Section, frozen=True, kw_only=True):
    """Who is notified when `run`, `retry-failed` or `prove` ends, for whatever reason. No result depends on it."""

    section = "notify"

    url: Url | None = None
    """A webhook: Slack, Discord, an ntfy topic, or your own. It gets JSON by POST."""
    url_env: Name | None = None
    """The environment variable that holds the webhook's address, which is a secret; in place of ``url``."""
    command: tuple[Name, ...] = ()
    """A program and its arguments. It gets the same JSON on its standard input."""

    def __post_init__(self) -> None:
        """Check each key. Raises ``ConfigError``."""
        super().__post_init__()
        if self.url and self.url_env:
            raise ConfigError("notify.url_env: expected either url or url_env, found both")
        self._expand_user("command")

    @property
    def nobody(self) -> bool:
        """Whether nobody is notified."""
        return not (self.url or self.url_env or self.command)

    def address(self, env: Mapping[str, str]) -> str | None:
        """The webhook's address, if there is one.

        Raises:
            ConfigError: the variable is not set, or holds no address; the message never repeats its value.
        """
        if self.url_env is None:
            return self.url
        value = env.get(self.url_env)
        if not value:
            # The user may have written the address itself here: only an upper-case name is repeated in the message.
            shown = self.url_env if self.url_env.isupper() else "of that name"
            raise ConfigError(f"notify.url_env: environment variable {shown} is not set")
        try:
            return convert(value, Url, "")
        except ConfigError:
            raise ConfigError(
                f"notify.url_env: expected an address that begins with http:// or https:// in {self.url_env}"
            ) from None

    def secrets(self, env: Mapping[str, str]) -> list[str]:
        """The parts of the webhook's address that are secret: what names the channel in its path and query."""
        try:
            parts = urlsplit(self.address(env) or "")
        except ConfigError:
            return []
        *before, last = [part for part in parts.path.split("/") if part] or [""]
        # Words such as "services" are in every such address, and in other messages.
        named = [part for part in before if any(c.isdigit() for c in part)]
        return [part for part in (*named, last, *(value for _, value in parse_qsl(parts.query))) if part]
