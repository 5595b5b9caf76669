"""The kinds of endpoint by ``type``: a name in ``ENDPOINTS``, or the import path of the user's own class."""

from collections.abc import Mapping

from weak2wise.config.endpoint_settings import EndpointSettings, plugin_settings
from weak2wise.config.openai_endpoint import OpenAIEndpoint
from weak2wise.config.section import convert
from weak2wise.config.vllm_endpoint import TransformersEndpoint, VllmEndpoint
from weak2wise.errors import ConfigError

ENDPOINTS: dict[str, type[EndpointSettings]] = {
    "openai": OpenAIEndpoint,
    "vllm": VllmEndpoint,
    "transformers": TransformersEndpoint,
}
"""The built-in kinds, by ``type``."""


def decode_endpoint(value: object, key: str) -> EndpointSettings:
    """Decode one endpoint's section by its ``type``. A settings object is returned unchanged.

    Raises:
        ConfigError: it is not valid; the message uses ``key`` as the section's name.
    """
    if isinstance(value, EndpointSettings):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}: expected a mapping")
    name = value.get("type", "openai")  # the reference's default
    if isinstance(name, str) and ":" in name:
        kind = plugin_settings(name, f"{key}.type")
    elif isinstance(name, str) and name in ENDPOINTS:
        kind = ENDPOINTS[name]
    else:
        known = ", ".join(ENDPOINTS)
        raise ConfigError(f"{key}.type: expected one of {known}, or an import path module:Class, found {name!r}")
    # In the reference's config an empty `tokenizer_kwargs:` means "none".
    given = {k: v for k, v in value.items() if not (v is None and k in {"tokenizer_kwargs", "generation_kwargs"})}
    try:
        return convert({**given, "type": name}, kind, key)
    except ConfigError as error:
        # The settings object does not know its name in the file.
        raise ConfigError(str(error).replace(EndpointSettings.section, key, 1)) from None
