"""The proxy that a request goes through, from the environment's ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``.

As in other programs, a name in lower case counts before one in upper case, and this machine itself is never asked for
through a proxy. They are read once: aiohttp would read the environment, and ~/.netrc, for every request.
"""

import ipaddress
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.request import proxy_bypass

import aiohttp
from yarl import URL

from weak2wise.errors import ConfigError
from weak2wise.llm.errors import Transient, Unusable


def proxies_for(urls: Iterable[str], env: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The arguments of aiohttp's ``request`` for each of these addresses that is behind a proxy.

    Raises:
        ConfigError: a variable does not hold the address of an HTTP proxy.
    """
    found = {}
    for text in urls:
        url = URL(text)
        address = _address(env, url.scheme)
        if address and not _is_direct(url, _variable(env, "no_proxy")):
            found[text] = _arguments(url.scheme, address)
    return found


def proxy_secrets(env: Mapping[str, str]) -> list[str]:
    """The passwords in the proxies' addresses, and the header that a proxy gets."""
    found = []
    for scheme in ("http", "https"):
        url = _url(_address(env, scheme) or "")
        if url and url.password:
            found += [url.password, url.raw_password or "", _credentials(url).removeprefix("Basic ")]
    return found


def proxy_refusal(error: aiohttp.ClientHttpProxyError, name: str) -> Transient | Unusable:
    """The error for what a proxy answers instead of connecting."""
    message = f"{name}: the proxy answers HTTP {error.status}: {error.message}"
    if 400 <= error.status < 500 and error.status not in {408, 429}:
        return Unusable(message, hint="Correct HTTPS_PROXY, or add the host to NO_PROXY, then start again.")
    return Transient("connection", message, endpoint=name)


def _variable(env: Mapping[str, str], name: str) -> str:
    return (env.get(name) or env.get(name.upper()) or "").strip()


def _address(env: Mapping[str, str], scheme: str) -> str:
    return _variable(env, f"{scheme}_proxy")


def _url(address: str) -> URL | None:
    """A proxy's URL; ``None`` if it is not one of an HTTP proxy."""
    try:
        url = URL(address if "://" in address else f"http://{address}")
    except ValueError:
        return None
    return url if url.scheme in {"http", "https"} and url.host else None


def _arguments(scheme: str, address: str) -> dict[str, Any]:
    proxy = _url(address)
    if proxy is None:
        variable = f"{scheme.upper()}_PROXY"
        raise ConfigError(f"{variable}: expected the address of an HTTP proxy, http://host:port; correct or unset it")
    arguments: dict[str, Any] = {"proxy": proxy.with_user(None)}
    if proxy.user:  # aiohttp sends the first to the proxy alone, before a tunnel through it, which only HTTPS has
        key = "proxy_headers" if scheme == "https" else "headers"
        arguments[key] = {"Proxy-Authorization": _credentials(proxy)}
    return arguments


def _credentials(url: URL) -> str:
    user_info = f"{url.user or ''}:{url.password or ''}"
    return f"Basic {b64encode(user_info.encode()).decode()}"


def _is_direct(url: URL, no_proxy: str) -> bool:
    host = url.host or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        if ipaddress.ip_address(host).is_loopback:
            return True
    except ValueError:
        pass
    return bool(no_proxy) and bool(proxy_bypass(f"{host}:{url.port}", {"no": no_proxy}))
