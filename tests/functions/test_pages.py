"""The pages of the service: what they load, and their headers."""

import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient

from functions.api.app import app
from oddsound.aws import uploads
from oddsound.errors import StorageError
from oddsound.http import assets, ui
from tests.cloud import Cloud
from tests.functions.test_api import failed

PAGES = ["/docs", "/ui", "/ui/machines", "/ui/machine"]


@pytest.fixture
def client(configured: Path) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


def policy_of(client: TestClient, path: str) -> dict[str, str]:
    """The directives of a page's Content-Security-Policy."""
    header = client.get(path).headers["content-security-policy"]
    directives = (directive.strip().partition(" ") for directive in header.split(";"))
    return {name: sources for name, _, sources in directives}


def links(html: str) -> list[str]:
    """Every URL that a page loads or links to."""
    return re.findall(r'(?:src|href|action)="([^"]*)"', html)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_from_another_host(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    found = [link for link in links(answer.text) if not link.startswith("data:")]
    assert len(found) >= 3
    for link in found:
        assert not re.match(r"/|\w+:", link), "links are relative: they contain the stage"
        url = urljoin(path, link)
        answer = client.get(url)
        assert answer.status_code == 200, link
        if url in PAGES:
            continue
        assert answer.headers["content-type"] in (
            "text/javascript; charset=utf-8",
            "text/css; charset=utf-8",
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "max-age" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_a_strict_policy_and_no_inline_script(client: TestClient, path: str) -> None:
    policy = policy_of(client, path)
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert not any("unsafe" in sources for sources in policy.values())
    for directive in ("base-uri", "form-action", "frame-ancestors"):
        assert policy[directive] == "'none'"
    text = client.get(path).text
    assert re.findall(r"<script(?![^>]* src=)", text) == []
    assert re.findall(r"\son\w+=", text) == []


def test_docs_uses_the_title_of_the_service(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TITLE", "Fans & <pumps>")
    assert "<title>Fans &amp; &lt;pumps&gt; - API</title>" in client.get("/docs").text


@pytest.mark.parametrize("name", ["docs", "ui"])
def test_a_path_with_a_slash_leads_to_the_page(client: TestClient, name: str) -> None:
    answer = client.get(f"/{name}/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, f"../{name}")


@pytest.mark.parametrize(
    "path",
    [
        "/docs/x.js",
        "/docs/../app.py",
        "/docs/docs.html",
        "/redoc",
        "/ui/docs.js",
        "/ui/ui.html",
        "/ui/machine.html",
    ],
)
def test_no_other_file_is_served(client: TestClient, path: str) -> None:
    failed(client.get(path), 404, "NotFound")


def test_a_missing_package_names_the_extra(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "find_spec", lambda _: None)
    answer = client.get("/docs/swagger-ui.css")
    failed(answer, 501, "NotConfiguredError", "swagger-ui.css", "pip install 'oddsound[serve]'")
    answer = client.get("/ui")
    failed(answer, 501, "NotConfiguredError", "wavesurfer", "pip install 'oddsound[ui]'")


def test_swagger_ui_supports_the_version_of_the_schema(client: TestClient) -> None:
    """OpenAPI 3.1 needs Swagger UI 5; older versions show nothing but an error."""
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
    path = assets.file_of("fastapi_offline", "static/swagger-ui-bundle.js", "serve")
    assert re.search(r'PACKAGE_VERSION:"5\.', path.read_text(encoding="utf-8"))


def test_the_modules_of_the_page_import_each_other_by_relative_urls(client: TestClient) -> None:
    imported = re.findall(r'from "([^"]+)"', client.get("/ui/app.js").text)
    assert {"./api.js", "./player.js", "./sound.js", "./view.js"} == set(imported)
    for name in ui.FILES:
        text = client.get(f"/ui/{name}").text
        assert text
        if name in (*ui.OWN, *ui.OF_MACHINES):
            assert set(re.findall(r'from "\./([^"]+)"', text)) <= set(ui.FILES)
            assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == [], name
            assert "innerHTML" not in text


def test_every_answer_has_its_own_nonce(client: TestClient) -> None:
    nonces = set()
    for _ in range(2):
        answer = client.get("/ui")
        (nonce,) = re.findall(r'data-nonce="([^"]{16,})"', answer.text)
        assert f"style-src 'self' 'nonce-{nonce}';" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-cache"
        nonces.add(nonce)
    assert len(nonces) == 2


def test_the_page_may_use_the_microphone_and_only_this_service(client: TestClient) -> None:
    policy = policy_of(client, "/ui")
    assert policy["connect-src"] == "'self'"
    assert policy["media-src"] == "'self' blob:"
    assert client.get("/ui").headers["permissions-policy"].startswith("microphone=(self)")
    assert 'data-max-object-bytes="0"' in client.get("/ui").text


def test_the_page_may_upload_to_the_input_bucket(cloud: Cloud) -> None:
    client = TestClient(app)
    url = client.post("/uploads", json={"filename": "fan.wav"}).json()["url"]
    assert policy_of(client, "/ui")["connect-src"] == f"'self' {url.rstrip('/')}"
    assert 'data-max-object-bytes="200000000"' in client.get("/ui").text


def test_without_credentials_the_page_takes_no_large_files(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise StorageError("there are no AWS credentials to sign the upload with")

    monkeypatch.setattr(uploads, "presign", refused)
    client = TestClient(app)
    assert policy_of(client, "/ui")["connect-src"] == "'self'"
    assert 'data-max-object-bytes="0"' in client.get("/ui").text
