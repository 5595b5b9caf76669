"""HTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured, and a proxy's password is in no message."""

import base64

import pytest

from tests.loopback.fixed import saying
from tests.loopback.replies import http
from weak2wise.config import OpenAIEndpoint
from weak2wise.errors import ConfigError
from weak2wise.llm.endpoint import HostParts
from weak2wise.llm.errors import Transient, Unusable
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.http.proxy import proxies_for
from weak2wise.llm.model import Completion, Message, Prompt

PROMPT = Prompt(messages=(Message("user", "What is 2 + 2?"),), temperature=0.6, seed=5)
WHOLE = http(b'{"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]}')
SECRET = "pass/word-1234567"
USER_INFO = "me:pass%2Fword-1234567"


async def ask(base_url: str, env: dict[str, str]) -> Completion:
    async with OpenAIModel("e", OpenAIEndpoint(base_url=base_url, model_id="m"), HostParts(env=env)) as model:
        return await model.complete(PROMPT)


async def test_a_request_goes_through_the_proxy_with_its_password() -> None:
    async with saying(WHOLE) as proxy:
        env = {"HTTP_PROXY": proxy.url.replace("http://", f"http://{USER_INFO}@").removesuffix("/v1")}
        assert (await ask("http://api.example/v1", env)).text == "4"
    (head,) = proxy.heads
    assert head.startswith("POST http://api.example/v1/chat/completions HTTP/1.1")
    assert f"Proxy-Authorization: Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}" in head


async def test_https_goes_through_a_tunnel_that_alone_gets_the_password() -> None:
    async with saying(http(b"", status=403)) as proxy:
        env = {"https_proxy": proxy.url.replace("http://", f"{USER_INFO}@").removesuffix("/v1")}
        with pytest.raises(Unusable, match="the proxy answers HTTP 403") as caught:
            await ask("https://api.example/v1", env)
    assert "HTTPS_PROXY" in caught.value.hint
    (head,) = proxy.heads
    assert head.startswith("CONNECT api.example:443 HTTP/1.1")
    assert "Proxy-Authorization: Basic " in head
    assert "Authorization: Bearer" not in head


async def test_a_proxy_that_repeats_its_password_is_not_quoted() -> None:
    sent = base64.b64encode(f"me:{SECRET}".encode()).decode()
    body = f'{{"error": {{"message": "no: {SECRET} {USER_INFO} {sent}"}}}}'.encode()
    async with saying(http(body, status=407)) as proxy:
        env = {"HTTP_PROXY": proxy.url.replace("http://", f"http://{USER_INFO}@").removesuffix("/v1")}
        with pytest.raises(Unusable, match="407") as caught:
            await ask("http://api.example/v1", env)
    assert "HTTP_PROXY" in caught.value.hint
    for part in (SECRET, "pass%2Fword", sent):
        assert part not in str(caught.value)


@pytest.mark.parametrize("status", [408, 429, 502, 503])
async def test_a_proxy_that_cannot_connect_now_is_tried_again(status: int) -> None:
    async with saying(http(b"", status=status)) as proxy:
        with pytest.raises(Transient, match=f"the proxy answers HTTP {status}"):
            await ask("https://api.example/v1", {"HTTPS_PROXY": proxy.url.removesuffix("/v1")})


async def test_a_proxy_that_is_not_there_is_named() -> None:
    env = {"HTTPS_PROXY": f"http://{USER_INFO}@127.0.0.1:9"}
    with pytest.raises(Transient, match=r"cannot connect to the proxy 127\.0\.0\.1") as caught:
        await ask("https://api.example/v1", env)
    assert "pass" not in str(caught.value)


PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("https://api.example/v1", "", False),
        ("https://api.example/v1", "*", True),
        ("https://api.example/v1", "other.example, .example", True),
        ("https://api.example/v1", "example", True),
        ("https://api.example:8443/v1", "api.example:8443", True),
        ("https://api.example/v1", "pi.example", False),
        ("https://10.0.0.7/v1", "10.0.0.7", True),
        ("http://127.0.0.1:8000/v1", "", True),
        ("http://localhost:8000/v1", "", True),
        ("http://[::1]:8000/v1", "", True),
    ],
)
def test_no_proxy_and_this_machine_are_reached_directly(url: str, no_proxy: str, direct: bool) -> None:
    env = {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, "NO_PROXY": no_proxy}
    assert (proxies_for([url], env) == {}) is direct


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1080", "http://", "http://[", "ftp://x"])
def test_a_proxy_of_another_kind_is_refused_in_words(address: str) -> None:
    settings = OpenAIEndpoint(base_url="https://api.example/v1", model_id="m")
    with pytest.raises(ConfigError, match="HTTPS_PROXY: expected the address of an HTTP proxy"):
        OpenAIModel("e", settings, HostParts(env={"HTTPS_PROXY": address}))


async def test_a_query_in_the_base_url_stays_at_the_end() -> None:
    async with saying(WHOLE) as server:
        assert (await ask(f"{server.url}/deployments/d/?api-version=2024-10-21&x=a/b", {})).text == "4"
    assert server.heads[0].startswith("POST /v1/deployments/d/chat/completions?api-version=2024-10-21&x=a/b HTTP/1.1")
