"""The page without a browser: what it shows is what the library says, escaped, in two languages."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from serving import asked

import grouper
from grouper import load_scheme

pytest.importorskip("httpx")
pytest.importorskip("fastapi")

from grouper import _page
from grouper._case_model import EXAMPLE
from grouper._page_words import _WORDS, IN_SCRIPT, words
from grouper._service import ServiceSettings, create_app

SCHEME = "chs-drg-1.1"
SHELLS = ("/", "/worklist", "/scheme")


@pytest.fixture(scope="module")
def app() -> Any:
    return create_app(ServiceSettings())


def result(app: Any, case: dict[str, Any], **more: Any) -> str:
    said = asked(app, "POST", "/page/case", json={"scheme": SCHEME, "case": case, **more})
    assert said.status_code == 200, said.text
    return str(said.text)


def test_shells_speak_two_languages_and_load_nothing_from_elsewhere(app: Any) -> None:
    for path in SHELLS:
        zh = asked(app, "GET", path, headers={"accept-language": "fr, zh-CN;q=0.9, en;q=0.8"})
        en = asked(app, "GET", f"{path}?lang=en")
        assert 'lang="zh-CN"' in zh.text
        assert 'lang="en"' in en.text
        for said in (zh, en):
            assert said.status_code == 200
            assert "built-in" not in said.text
            assert not re.search(r"(src|href)=\"(https?:)?//", said.text)
            assert "default-src 'none'" in said.headers["content-security-policy"]
    for name in _page.KINDS:
        assert asked(app, "GET", f"/assets/{name}").status_code == 200
    for name in ("../_page.py", "..%2f_page.py", "case.html", "nothing"):
        assert asked(app, "GET", f"/assets/{name}").status_code == 404


def test_every_word_is_there_twice_and_is_no_method_of_a_dict() -> None:
    for name, both in _WORDS.items():
        assert len(both) == 2, name
        assert all(both), name
        assert not hasattr(dict, name), f"{name}: a template would call it"
    assert set(words("zh")) == set(words("en"))
    used = {
        name
        for path in _page.FOLDER.glob("*.html")
        for name in re.findall(r"\bw\.([a-z_]+)\b(?!\()", path.read_text("utf-8"))
    }
    assert used <= set(words("zh"))
    script = (_page.FOLDER / "page.js").read_text("utf-8")
    assert set(re.findall(r"\bwords\.([a-z_]+)\b", script)) <= set(IN_SCRIPT)


def test_a_result_is_what_explain_says(app: Any) -> None:
    trace = grouper.explain(EXAMPLE, SCHEME, near=5)
    text = unescape(result(app, EXAMPLE, lang="en"))
    for said in (trace.group, trace.group_name, trace.rule, *(n.group for n in trace.near_misses)):
        assert said in text
    for c in trace.codes:
        assert c.name in text
    dip = unescape(result(app, EXAMPLE, scheme="dip-demo"))
    code = grouper.explain(EXAMPLE, "dip-demo").group
    assert code in dip
    (group,) = (g for g in grouper.load_catalogue("dip-demo").groups if g.code == code)
    assert group.score is not None
    assert f"分值 {float(group.score):g}" in dip


def test_marks_name_the_table_that_made_them(app: Any) -> None:
    scheme = load_scheme(SCHEME)
    assert isinstance(scheme, grouper.DrgScheme)
    code, table = next(
        (c, t) for c, t in scheme.mcc.items() if "I21.001" in scheme.exclusions.get(t, ())
    )
    assert scheme.code_list is not None
    grey = next(iter(scheme.code_list.grey_diagnoses))
    case = {**EXAMPLE, "diagnoses": ["I21.001", code, grey, "nonsense", "I50.900x002"]}
    text = result(app, case, lang="en")
    assert f"exclusions.csv {table}" in text
    marks = re.findall(r'<span class="mark ([a-z]+)" title="([^"]*)"', text)
    assert ("excluded", f"exclusions.csv {table}") in marks
    assert ("grey", "codes-nhsa-2.0") in marks
    assert ("unknown", "codes-nhsa-2.0") in marks
    assert ("mcc", "cc.csv") in marks


def test_what_is_typed_is_escaped(app: Any) -> None:
    hostile = '<script>alert(1)</script>"&'
    text = result(app, {**EXAMPLE, "diagnoses": [hostile, hostile], "department": hostile})
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    said = asked(app, "GET", "/page/scheme", params={"scheme": SCHEME, "q": hostile})
    assert said.status_code == 200
    assert "<script>" not in said.text


def test_a_draft_is_answered_and_a_policy_that_refuses_hides_nothing(app: Any) -> None:
    text = result(app, {**EXAMPLE, "diagnoses": []})
    assert words("zh")["means_no_principal_diagnosis"] in text
    text = result(app, EXAMPLE, policy="qingdao-2023", on="1999-01-01")
    assert "FM19" in text
    assert "1999-01-01" in text
    said = asked(app, "POST", "/page/case", json={"scheme": "nothing", "case": EXAMPLE})
    assert said.status_code == 404


def upload(app: Any, name: str, data: bytes, **more: str) -> Any:
    return asked(
        app,
        "POST",
        "/page/worklist",
        files={"cases": (name, data)},
        data={"scheme": SCHEME, **more},
    )


def test_uploads_are_refused_in_words_and_leave_nothing(
    app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    head = b"case_id,sex,age,diagnoses,procedures\n"
    rows = b"".join(b"%d,1,50,I21.001,\n" % k for k in range(10_001))
    for name, data, word in (
        ("day.exe", head, ".csv, .xlsx"),
        ("day.csv", b"a,b\n1,2\n", "diagnoses"),
        ("day.xlsx", b"PK nonsense", "day"),
        ("../../day.csv", head + rows, "at most 10,000"),
    ):
        said = upload(app, name, data)
        assert said.status_code == 422, (name, said.text[:200])
        assert word in said.json()["error"]["message"]
    said = upload(app, "day.csv", head + b"1,1,50,I21.001,\n")
    assert said.status_code == 200
    assert "#s=chs-drg-1.1&amp;sex=1&amp;age=50&amp;d=I21.001" in said.text
    assert list(tmp_path.iterdir()) == []


def test_the_page_needs_a_key_for_all_but_its_shells() -> None:
    import hashlib

    app = create_app(ServiceSettings(keys=(hashlib.sha256(b"k" * 20).digest(),), warm=()))
    for path in (*SHELLS, "/assets/page.js"):
        assert asked(app, "GET", path).status_code == 200
    assert asked(app, "POST", "/page/case", json={}).status_code == 401
    for path in ("/page/scheme?scheme=x", "/page/part", "/page/set", "/page/worklist", "/nothing"):
        assert asked(app, "GET", path).status_code == 401


def test_a_scheme_in_parts(app: Any) -> None:
    scheme = grouper.load_drg(SCHEME)
    seen: list[str] = []
    for k, mdc in enumerate(scheme.mdcs):
        said = asked(app, "GET", f"/page/part?scheme={SCHEME}&part={k}")
        if said.status_code == 404:  # an MDC without groups
            assert all(a.parent != k for a in scheme.adrgs), mdc
            continue
        seen += re.findall(r'<div class="leaf"><b>([^<]+)</b>', said.text)
    assert sorted(seen) == sorted(d.code for d in scheme.drgs)
    catalogue = grouper.load_catalogue("dip-demo")
    letters = {g.code[:1] for g in catalogue.groups}
    seen = []
    for letter in letters:
        said = asked(app, "GET", f"/page/part?scheme=dip-demo&part={letter}")
        seen += re.findall(r'<div class="leaf"><b>([^<]+)</b>', said.text)
    assert sorted(map(unescape, seen)) == sorted(g.code for g in catalogue.groups)
    said = asked(app, "GET", f"/page/set?scheme={SCHEME}&name=OP_FM1")
    codes = re.findall(r"<code>([^<]+)</code>", said.text)
    assert codes == sorted(scheme.set_codes["OP_FM1"])
    assert asked(app, "GET", f"/page/set?scheme={SCHEME}&name=none").status_code == 404
