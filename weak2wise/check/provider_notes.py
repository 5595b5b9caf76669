"""What ``check`` knows of a provider without asking it: retired names, refused and ignored parameters, old prices."""

from collections.abc import Iterator, Mapping
from datetime import date

from weak2wise.check.batches import batch_notes
from weak2wise.config import Config, OpenAIEndpoint
from weak2wise.presets import STALE_DAYS, KnownModel, Preset, lane_for, preset_for

SENT = ("temperature", "seed", "max_tokens")
"""The parameters that a request has of itself."""


def provider_notes(name: str, config: Config, today: date) -> Iterator[str]:
    """Warnings about one endpoint, in words.

    Args:
        name: what the config calls it.
        config: the run's.
        today: the date that retirements and prices are compared with.
    """
    settings = config.endpoints[name]
    if not isinstance(settings, OpenAIEndpoint):
        return
    if (as_of := settings.prices.as_of) and (today - as_of).days > STALE_DAYS:
        yield f"prices are of {as_of}: look them up again, then change prices.as_of (model_endpoints.{name}.prices)"
    if settings.lane and (lane := lane_for(settings.base_url, settings.lane)):
        for fact in lane.unverified:
            yield f"not verified, of lane {settings.lane}: {fact}"
    yield from batch_notes(name, config, settings)
    preset = preset_for(settings.base_url)
    if preset is None or settings.base_urls:
        return
    known = preset.known(settings.model)
    if retired := _retired(preset, settings.model, today):
        yield retired
    if known is None:
        return
    yield from _parameters(name, settings, known, traces=name in config.models.mstrong)
    if known.prices and settings.cost(1, 0, 1) is None:
        prices = known.prices
        yield (
            f"no prices are set, so its calls count as free; on {preset.looked_up} they were "
            f"{prices.input:g} for input and {prices.output:g} for output (model_endpoints.{name}.prices)"
        )
    for fact in known.unverified:
        yield f"not verified on {preset.looked_up}: {fact}"


def shutdown_notes(name: str, model: str, offers: Mapping[str, date | None], today: date) -> Iterator[str]:
    """Warnings from the list of models that an endpoint itself offers.

    Args:
        name: what the config calls the endpoint.
        model: the model that the config names.
        offers: every model of the list, with the day on which it is switched off, if that is set.
        today: the date to compare with.
    """
    if ends := offers.get(model):
        yield f"its own list says that {model} {_when(ends, today)} (model_endpoints.{name}.model_id)"


def _retired(preset: Preset, model: str, today: date) -> str | None:
    ends = preset.retired.get(model)
    if ends is None:
        return None
    return f"{model} {_when(ends, today)}, as looked up on {preset.looked_up}; there is {preset.strong.model} now"


def _when(ends: date, today: date) -> str:
    return f"is switched off on {ends}" if ends > today else f"was switched off on {ends}"


def _parameters(name: str, settings: OpenAIEndpoint, known: KnownModel, *, traces: bool) -> Iterator[str]:
    body = settings.extra_body
    sent = [parameter for parameter in SENT if body.get(parameter, "") is not None]
    for parameter in sent:
        if parameter in known.refuses or parameter in known.renames:
            instead = f" and {known.renames[parameter]} takes its place" if parameter in known.renames else ""
            yield (
                f"{known.model} refuses {parameter}{instead}: "
                f"set model_endpoints.{name}.extra_body: {{{parameter}: null}}"
            )
        elif parameter in known.ignores and traces:
            yield f"{known.model} ignores {parameter} while it thinks, so params.gen_{parameter} has no effect"
    if known.stream and not settings.stream:
        yield f"{known.model} thinks only where the answer is streamed: set model_endpoints.{name}.stream: true"
