"""The list of the image's packages: what is locked, what is installed and their licences."""

import json
import re
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.sbom import PAGE, ROOT, licences_of, require_allowed, sbom, with_table
from shared.errors import OperationFailed

DIRECT = (ROOT / "requirements.in").read_text()
LOCK = (ROOT / "requirements.txt").read_text()


@pytest.fixture(scope="module")
def document() -> Any:
    return sbom(DIRECT, LOCK)


def test_the_tests_run_with_the_versions_of_the_image() -> None:
    tools = (ROOT / "requirements-dev.txt").read_text()

    locked = re.findall(r"^[a-zA-Z0-9].*==\S+", LOCK, re.MULTILINE)
    assert len(locked) > 30
    assert [each for each in locked if f"\n{each} " not in f"\n{tools}"] == []


def test_it_is_a_cyclonedx_document(document: Any) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)

    assert validator.validate_str(json.dumps(document)) is None


def test_it_has_the_packages_of_the_image_and_not_the_tools(document: Any) -> None:
    versions = {each["name"]: each["version"] for each in document["components"]}

    assert versions["pika"].startswith("1.4.")
    assert {"SQLAlchemy", "psycopg", "MarkupSafe"} <= versions.keys()
    assert not {"pytest", "ruff", "pip", "setuptools", "past-tense"} & versions.keys()


def test_it_says_which_package_needs_which(document: Any) -> None:
    needs = {each["ref"].partition("==")[0]: each["dependsOn"] for each in document["dependencies"]}

    assert any(each.startswith("pika==") for each in needs["root-component"])
    assert [each.partition("==")[0] for each in needs["Jinja2"]] == ["MarkupSafe"]


def test_a_package_that_is_not_installed_in_its_locked_version_is_an_error() -> None:
    with pytest.raises(OperationFailed, match=r"pika 0\.1 is locked, 1\..* is installed"):
        sbom("", "pika==0.1 \\\n    --hash=sha256:0\n")


def test_every_licence_is_allowed_and_the_page_lists_it(document: Any) -> None:
    licences = licences_of(document)
    page = PAGE.read_text()

    require_allowed(licences)
    assert with_table(page, licences) == page, "make sbom"
    assert "| pika | BSD-3-Clause |" in page


@pytest.mark.parametrize(
    "licence",
    [
        pytest.param("", id="unknown"),
        pytest.param("AGPL-3.0-only", id="not-allowed"),
        pytest.param("MIT AND AGPL-3.0-only", id="one-of-two"),
    ],
)
def test_a_licence_that_is_not_allowed_is_refused_with_its_package(licence: str) -> None:
    with pytest.raises(OperationFailed, match=r"not allowed: bad \("):
        require_allowed({"good": "MIT OR Apache-2.0", "bad": licence})
