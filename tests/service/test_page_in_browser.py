"""The page in a real browser, as a coder works: the keyboard, a day's file, a scheme, a narrow screen.

Screenshots are kept in `screenshots/` beside this file, for a person to look at.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import KEY, Served
from shared import program

import grouper
from grouper._case_model import EXAMPLE
from grouper._what_if import price_of
from grouper._worklist import COLUMNS, worklist

pytestmark = pytest.mark.big
sync_api = pytest.importorskip("playwright.sync_api")
SHOTS = Path(__file__).parent / "screenshots"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
DAY = "2024-05-01"
CASE = {**EXAMPLE, "hospital_level": "三级", "insurance": "310"}


@pytest.fixture(scope="module")
def service() -> Iterator[Served]:
    found = Served()
    yield found
    found.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = program("chromium", "chromium-browser")
    with sync_api.sync_playwright() as p:
        found = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, service: Served) -> Iterator[Any]:
    """A page whose console must stay silent and that asks nobody else."""
    context = browser.new_context(viewport=WIDE, locale="zh-CN", accept_downloads=True)
    found = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    found.on("console", lambda m: said.append(m.text))
    found.on("pageerror", lambda e: said.append(str(e)))
    found.on("request", lambda r: asked.append(r.url))
    found.set_default_timeout(15_000)
    yield found
    context.close()
    assert [t for t in said if t != getattr(found, "refusal", None)] == []
    assert all(u.startswith(("http://127.0.0.1", "blob:", "data:")) for u in asked), asked


def shoot(page: Any, name: str) -> None:
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def add(page: Any, kind: str, text: str) -> None:
    """Type a code and take it, as hands on a keyboard do."""
    box = page.locator(f"#add-{kind}")
    box.focus()
    page.keyboard.type(text)
    page.wait_for_selector(f"#list-{kind} li")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#list-{kind}", state="hidden")


def ready(page: Any) -> None:
    sync_api.expect(page.locator("[name=scheme]")).to_have_value("chs-drg-1.1")


def settled(page: Any) -> None:
    page.wait_for_timeout(200)
    page.wait_for_selector("#result:not(.stale)")


def enter_case(page: Any, service: Served, lang: str = "zh") -> None:
    page.goto(f"http://127.0.0.1:{service.port}/?lang={lang}")
    ready(page)
    page.fill("[name=age]", "66")
    page.fill("[name=los]", "7")
    for kind in ("diagnoses", "procedures"):
        for code in CASE[kind]:
            add(page, kind, code)
    settled(page)


def test_a_case_is_typed_and_answered_at_once(page: Any, service: Served) -> None:
    enter_case(page, service)
    wanted = grouper.explain(CASE, "chs-drg-1.1")
    said = page.inner_text("#result .group")
    for text in (wanted.mdc, wanted.adrg, wanted.group, wanted.group_name):
        assert text in said
    marks = page.locator("[data-kind=diagnoses] .rows li .row-marks").all_inner_texts()
    assert [m.strip() for m in marks] == [t.level for t in wanted.codes[:3]]
    assert "cc.csv" in page.inner_text("#result .marks")
    assert page.locator("#result .near > li").count() == 5
    assert page.locator("#result details").count() > 10
    page.locator("#result .trace > section > details > summary").first.click()
    shoot(page, "case")
    # its search by initials of pinyin finds the same code
    page.keyboard.press("Escape")
    page.locator("#add-diagnoses").focus()
    page.keyboard.type("jxqbxjgs")
    sync_api.expect(page.locator("#list-diagnoses")).to_contain_text("急性前壁心肌梗死")
    shoot(page, "search")
    page.keyboard.press("Escape")


def test_the_keyboard_alone_is_enough(page: Any, service: Served) -> None:
    page.goto(f"http://127.0.0.1:{service.port}/")
    ready(page)

    def tab_to(selector: str, most: int = 60) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches('{selector}')"):
                return
        raise AssertionError(f"no way to {selector} by Tab")

    tab_to("[name=age]")
    page.keyboard.type("66")
    tab_to("#add-diagnoses")
    for code in ("I50.900x002", "I21.001"):
        page.keyboard.type(code)
        page.wait_for_selector("#list-diagnoses li")
        page.keyboard.press("Enter")
        page.wait_for_selector("#list-diagnoses", state="hidden")
    settled(page)
    before = page.inner_text("#result .group")
    page.keyboard.press("Shift+Tab")  # × of the second code
    page.keyboard.press("Shift+Tab")  # make it principal
    assert page.evaluate("document.activeElement.className") == "principal"
    page.keyboard.press("Enter")
    settled(page)
    codes = page.locator("[data-kind=diagnoses] .rows code").all_inner_texts()
    assert codes == ["I21.001", "I50.900x002"]
    wanted = grouper.explain({**CASE, "diagnoses": codes, "procedures": []}, "chs-drg-1.1")
    said = page.inner_text("#result .group")
    assert wanted.group in said
    assert said != before
    page.keyboard.press("Enter")  # the focus is on × of the code that was moved
    settled(page)
    assert page.locator("[data-kind=diagnoses] .rows code").all_inner_texts() == ["I50.900x002"]


def test_weights_are_asked_for_newborns_only(page: Any, service: Served) -> None:
    page.goto(f"http://127.0.0.1:{service.port}/#age=0&age_days=3&birth_weight=1800&d=P07.300x021")
    settled(page)
    assert page.is_visible("[name=birth_weight]")
    case = {"case_id": "1", "sex": 1, "age": 0, "age_days": 3, "birth_weight": 1800}
    case |= {"diagnoses": ["P07.300x021"], "procedures": []}
    assert grouper.explain(case, "chs-drg-1.1").group in page.inner_text("#result .group")
    page.fill("[name=age]", "40")
    page.wait_for_selector("[name=birth_weight]", state="hidden")


def test_price_bar_and_two_editions(page: Any, service: Served) -> None:
    enter_case(page, service)
    page.select_option("[name=policy]", "example-rate")
    page.select_option("[name=other]", "chs-drg-1.1-qy")
    page.fill("[name=hospital_level]", CASE["hospital_level"])
    page.fill("[name=insurance]", CASE["insurance"])
    page.fill("[name=discharge_date]", DAY)
    case = {**CASE, "discharge_date": grouper_day()}
    group = grouper.explain(CASE, "chs-drg-1.1").group
    price = price_of(grouper.load_policy("example-rate"), case, "grouped", group)
    assert float(price.low_edge) < float(price.standard) < float(price.high_edge)
    for cost, band in (
        (float(price.low_edge) - 1, "低倍率"),
        (float(price.standard), "正常"),
        (float(price.high_edge) + 1, "高倍率"),
    ):
        page.fill("[name=cost]", f"{cost:.2f}")
        said = page.locator("#result figcaption")
        sync_api.expect(said).to_contain_text(f"{cost:.2f} 元 = {band}")
    settled(page)
    told = page.inner_text("#result .price")
    for text in (price.weight, price.standard, price.low_edge, price.high_edge):
        assert text in told
    heads = page.locator("#result .sides thead th").all_inner_texts()
    assert heads[1:] == ["chs-drg-1.1", "chs-drg-1.1-qy"]
    shoot(page, "price")


def grouper_day() -> Any:
    from datetime import date

    return date.fromisoformat(DAY)


def test_a_case_is_a_link_without_anything_of_a_person(page: Any, service: Served) -> None:
    enter_case(page, service)
    page.fill("[name=cost]", "4321.09")
    page.fill("[name=department]", "心内科")
    page.fill("[name=discharge_date]", DAY)
    settled(page)
    said, link = page.inner_text("#result .group"), page.url
    for kept_out in ("4321", "2024", "%E5", "cost", "department"):
        assert kept_out not in link.split("#")[1]
    page.goto("about:blank")
    page.goto(link)
    settled(page)
    page.wait_for_selector("#result .group")
    assert page.inner_text("#result .group") == said
    page.click("#other-lang")
    page.wait_for_selector("#result .group")
    assert "grouped" in page.inner_text("#result .group")
    assert page.inner_text("html").count("主要诊断") == 0
    shoot(page, "case-en")


def a_day(folder: Path) -> tuple[Path, Path]:
    """Write a day's lists and their front pages: 40 cases, some of each kind of trouble."""
    head = ["case_id", "sex", "age", "diagnoses", "procedures", "department", "coder_id"]
    head += ["total_cost", "hospital_level", "insurance", "discharge_date"]
    rows = []
    for k in range(40):
        diagnoses = "I21.001|I50.900x002" if k % 4 else "J18.900"
        diagnoses = {5: "Q99.999", 6: ""}.get(k, diagnoses)
        cost = {7: "10.00", 8: "999999.99"}.get(k, "30000.00")
        last = ["三级", "310", DAY]
        rows.append([f"L{k:03}", 1, 60, diagnoses, "", f"科{k % 3}", f"c{k % 2}", cost, *last])
    front = [list(r) for r in rows if r[0] != "L039"]
    front[9][3] = "I21.401"
    paths = folder / "lists.csv", folder / "front.csv"
    for path, told in zip(paths, (rows, front), strict=True):
        with path.open("w", encoding="utf-8", newline="") as f:
            csv.writer(f).writerows([head, *told])
    return paths


def test_a_day_becomes_a_worklist(page: Any, service: Served, tmp_path: Path) -> None:
    lists, front = a_day(tmp_path)
    page.goto(f"http://127.0.0.1:{service.port}/worklist")
    ready(page)
    page.set_input_files("[name=cases]", lists)
    page.set_input_files("[name=front_page]", front)
    page.select_option("[name=policy]", "example-rate")
    page.click("#upload button")
    page.wait_for_selector("table.list tbody tr")
    wanted = worklist(
        lists,
        grouper.load_scheme("chs-drg-1.1"),
        policy=grouper.load_policy("example-rate"),
        front_page=front,
    )
    shown = page.locator("table.list tbody tr td:first-child").all_inner_texts()
    assert shown == [e.case["case_id"] for e in wanted.entries]
    assert {"returned", "differs", "high", "low"} <= set(wanted.counts)
    shoot(page, "worklist")
    page.select_option("[data-filter=needs]", "returned")
    page.select_option("[data-filter=department]", "科2")
    kept = [
        e
        for e in wanted.entries
        if e.case["department"] == "科2" and "returned" in {n.kind for n in e.needs}
    ]
    assert kept
    assert page.locator("table.list tbody tr:visible").count() == len(kept)
    with page.expect_download() as waiting:
        page.click("[data-download=csv]")
    with open(waiting.value.path(), encoding="utf-8", newline="") as f:
        read = list(csv.DictReader(f))
    assert [r["case_id"] for r in read] == [e.case["case_id"] for e in kept]
    assert list(read[0]) == COLUMNS.names
    with page.expect_download() as waiting:
        page.click("[data-download=xlsx]")
    assert waiting.value.suggested_filename == "worklist.xlsx"
    assert Path(waiting.value.path()).read_bytes()[:2] == b"PK"
    page.select_option("[data-filter=needs]", "")
    page.locator("table.list a").first.click()
    page.wait_for_selector("#result .group")
    first = wanted.entries[[e.case["department"] for e in wanted.entries].index("科2")]
    codes = page.locator("[data-kind=diagnoses] .rows code").all_inner_texts()
    assert codes == [c for c in first.case["diagnoses"] if c]


def test_a_wrong_file_is_refused_in_words(page: Any, service: Served, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("case,sexx\n1,2\n")
    page.goto(f"http://127.0.0.1:{service.port}/worklist")
    ready(page)
    page.set_input_files("[name=cases]", wrong)
    page.refusal = (
        "Failed to load resource: the server responded with a status of 422 (Unprocessable Entity)"
    )
    with page.expect_response(lambda r: "/page/worklist" in r.url) as waiting:
        page.click("#upload button")
    assert waiting.value.status == 422
    page.wait_for_selector("#result .fault")
    assert "diagnoses" in page.inner_text("#result .fault")


def test_a_scheme_is_browsed_to_its_rules_and_sets(page: Any, service: Served) -> None:
    page.goto(f"http://127.0.0.1:{service.port}/scheme?scheme=chs-drg-1.1")
    page.wait_for_selector("details.part")
    scheme = grouper.load_drg("chs-drg-1.1")
    assert page.locator("details.part").count() == len(scheme.mdcs)
    page.select_option("[name=policy]", "example-rate")
    page.fill("[name=on]", DAY)
    settled(page)
    page.locator("details.part", has_text="MDCF").locator("> summary").click()
    page.wait_for_selector("details.branch")
    branch = page.locator("details.branch", has_text="FM1").first
    branch.locator("> summary").click()
    assert "FM19" in branch.inner_text()
    row = grouper.load_policy("example-rate").weights_on(grouper_day())["FM19"]
    assert row.weight is not None
    assert str(float(row.weight)).rstrip("0") in branch.inner_text()
    branch.locator("details.set > summary").first.click()
    branch.locator("ul.codes li").first.wait_for()
    shoot(page, "scheme")
    page.fill("[name=q]", "心肌梗死")
    settled(page)
    found = page.locator(".leaf > b").all_inner_texts()
    names = {d.code: d.name or scheme.adrgs[d.parent].name for d in scheme.drgs}
    assert found == [c for c, n in names.items() if "心肌梗死" in n]
    page.goto(f"http://127.0.0.1:{service.port}/scheme?scheme=dip-demo&lang=en")
    page.wait_for_selector("details.part")
    page.locator("details.part > summary").first.click()
    page.wait_for_selector(".leaf")
    shoot(page, "catalogue")


def test_a_narrow_screen_and_paper(page: Any, service: Served) -> None:
    page.set_viewport_size(NARROW)
    enter_case(page, service, "en")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(page, "narrow")
    for path in ("worklist", "scheme"):
        page.goto(f"http://127.0.0.1:{service.port}/{path}?lang=en")
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page.set_viewport_size(WIDE)
    enter_case(page, service)
    page.emulate_media(media="print")
    assert not page.is_visible("header")
    assert page.is_visible("#result .group")
    SHOTS.mkdir(exist_ok=True)
    page.pdf(path=SHOTS / "printed.pdf", format="A4")


def test_a_key_is_asked_for_once(browser: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    service = Served("--api-key-file", str(keys))
    try:
        context = browser.new_context(viewport=WIDE)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{service.port}/?lang=en")
        page.wait_for_selector("#ask-key[open]")
        assert page.locator("[name=scheme] option").count() == 0
        page.keyboard.type("wrong but long enough")
        page.keyboard.press("Enter")
        page.wait_for_selector("#ask-key[open]")
        page.fill("#key", KEY)
        page.keyboard.press("Enter")
        ready(page)
        add(page, "diagnoses", "I21.001")
        page.wait_for_selector("#result .group")
        context.close()
    finally:
        service.kill()
