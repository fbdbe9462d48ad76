"""The page (页面) that the service serves: one case, a coder's worklist, a scheme to browse.

The three pages are shells that hold nothing; what they show comes from `/page/…`, behind the same guard as
the interface, as HTML that templates escape. Templates, style and script are in the package (`page/`):
nothing is loaded from elsewhere, and the browser is told to refuse it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from datetime import date
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import FastAPI, File, Form, Query, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import Field

from grouper import _page_scheme
from grouper._case_model import case_of
from grouper._page_case import Wanted, answer
from grouper._page_scheme import Weights
from grouper._page_words import IN_SCRIPT, words
from grouper._service_models import MOST_CASES, Priced
from grouper._worklist import Entry, Worklist, worklist
from grouper._writing import write_table
from grouper._yuan import fen_of, yuan
from grouper.errors import CaseFileError
from grouper.io import read_cases
from grouper.tables import domain_names

FOLDER = Path(__file__).parent / "page"
PATHS = {"case": ".", "worklist": "worklist", "scheme_view": "scheme"}
"""The views and where they stand, seen from each other: the service may stand below any path."""

KINDS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
ENDINGS = (".csv", ".xlsx", ".parquet", ".arrow")
MOST_SHOWN = 2_000
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
)
HEADERS = {
    "content-security-policy": POLICY
    + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}
Lang: TypeAlias = Literal["zh", "en"]
Shelf: TypeAlias = Any
IN_LINK = (
    *("sex", "age", "age_days", "birth_weight", "admission_weight", "los"),
    *("discharge_mode", "icu_hours", "ventilator_hours"),
)


class CaseAsked(Priced):
    """A case as the page asks about it: also a second edition and a cost in yuan."""

    other: Annotated[str, Field(max_length=64)] | None = None
    cost: Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,2})?$")] | None = None
    lang: Lang = "zh"


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _html(template: str, lang: str, **given: Any) -> Response:
    text = _templates().get_template(template).render(w=words(lang), lang=lang, **given)
    return Response(text.encode(), media_type="text/html; charset=utf-8", headers=HEADERS)


def add_pages(app: FastAPI, shelf: Shelf) -> None:
    """Add the shells, their assets, and what they ask for."""
    for view, path in PATHS.items():
        app.add_api_route(f"/{path.strip('.')}", _shell(view), include_in_schema=False)

    @app.get("/assets/{name}", include_in_schema=False)
    def asset(name: str) -> Response:
        if name not in KINDS:
            return Response(status_code=404)
        return Response((FOLDER / name).read_bytes(), media_type=KINDS[name], headers=HEADERS)

    _add_case(app, shelf)
    _add_worklist(app, shelf)
    _add_scheme(app, shelf)


def _shell(view: str) -> Callable[..., Response]:
    def shell(request: Request, lang: Lang | None = None) -> Response:
        speech = lang or spoken(request.headers.get("accept-language", ""))
        w = words(speech)
        said = {k: w[k] for k in IN_SCRIPT}
        template = "scheme.html" if view == "scheme_view" else f"{view}.html"
        modes = domain_names("dscg_way").items()
        return _html(template, speech, view=view, paths=PATHS, said=said, modes=modes)

    return shell


def spoken(accepted: str) -> Lang:
    """Choose a language by what a browser accepts: the first of zh and en, else zh."""
    for part in accepted.split(","):
        name = part.strip().lower()
        if name.startswith("zh"):
            return "zh"
        if name.startswith("en"):
            return "en"
    return "zh"


# ---------------------------------------------------------------------------------------- one case


def _add_case(app: FastAPI, shelf: Shelf) -> None:
    @app.post("/page/case", include_in_schema=False)
    async def case(asked: CaseAsked) -> Response:
        wanted = Wanted(
            case_of(asked.case),
            shelf.scheme(asked.scheme),
            shelf.scheme(asked.other) if asked.other else None,
            shelf.policy(asked.policy) if asked.policy else None,
            Fraction(asked.point_value) if asked.point_value else None,
            fen_of(asked.cost) if asked.cost else None,
            asked.on,
            asked.codes,
        )
        w = words(asked.lang)
        found = await run_in_threadpool(answer, wanted, w)
        return _html("result.html", asked.lang, **found)


# ---------------------------------------------------------------------------------------- worklist


def _add_worklist(app: FastAPI, shelf: Shelf) -> None:
    @app.post("/page/worklist", include_in_schema=False)
    def day(
        cases: Annotated[UploadFile, File()],
        scheme: Annotated[str, Form(max_length=64)],
        front_page: Annotated[UploadFile | None, File()] = None,
        policy: Annotated[str | None, Form(max_length=64)] = None,
        point_value: Annotated[str | None, Form(pattern=r"^[0-9]{1,9}(\.[0-9]{1,8})?$")] = None,
        on: Annotated[date | None, Form()] = None,
        lang: Annotated[Lang, Form()] = "zh",
        as_: Annotated[Literal["html", "csv", "xlsx"], Form(alias="as")] = "html",
        only_needs: Annotated[str, Form(max_length=64)] = "",
        only_department: Annotated[str, Form(max_length=64)] = "",
        only_coder: Annotated[str, Form(max_length=64)] = "",
    ) -> Response:
        with tempfile.TemporaryDirectory(prefix="grouper-") as name:
            folder = Path(name)
            found = worklist(
                _received(cases, folder, "lists"),
                shelf.scheme(scheme),
                policy=shelf.policy(policy) if policy else None,
                point_value=Fraction(point_value) if point_value else None,
                front_page=_received(front_page, folder, "front") if front_page else None,
                on=on,
                lang=lang,
            )
            if as_ == "html":
                return _html("entries.html", lang, **_shown(found, scheme))
            only = (only_needs, only_department, only_coder)
            kept = tuple(e for e in found.entries if _fits(e, *only))
            path = folder / f"worklist.{as_}"
            write_table(Worklist(kept, found.counts).to_arrow(), path)
            return Response(path.read_bytes(), media_type="application/octet-stream")


def _received(file: UploadFile, folder: Path, stem: str) -> Path:
    """Put an upload into a folder, under its own name where that is a plain one.

    Raises
    ------
    CaseFileError : its ending is not known, or it holds more cases than one answer.
    """
    given = Path(file.filename or "")
    ending = given.suffix.lower()
    if ending not in ENDINGS:
        raise CaseFileError(f"upload a file of {', '.join(ENDINGS)}", file=given.name[-80:])
    (folder / stem).mkdir()
    plain = re.fullmatch(r"[\w().-]{1,80}", given.name)
    path = folder / stem / (given.name if plain else f"{stem}{ending}")
    with path.open("wb") as out:
        while piece := file.file.read(1 << 20):
            out.write(piece)
    n = len(read_cases(path))
    if n > MOST_CASES:
        raise CaseFileError(f"{n:,} cases; at most {MOST_CASES:,} at once", file=given.name[-80:])
    return path


def _fits(e: Entry, need: str, department: str, coder: str) -> bool:
    told = _told(e)
    return (
        (not need or need in told["kinds"])
        and department in ("", told["department"])
        and coder in ("", told["coder"])
    )


def _told(e: Entry) -> dict[str, Any]:
    cost = e.case.get("total_cost_fen")
    return {
        "case_id": e.case.get("case_id") or "",
        "kinds": list(dict.fromkeys(n.kind for n in e.needs)),
        "needs": e.needs,
        "deadline": e.deadline,
        "group": e.result.get("group") or "",
        "group_name": e.result.get("group_name") or "",
        "cost": "" if cost is None else yuan(cost),
        "standard": e.price.standard,
        "department": e.case.get("department") or "",
        "coder": e.case.get("coder_id") or "",
    }


def _shown(found: Worklist, scheme: str) -> dict[str, Any]:
    entries = [{**_told(e), "link": _link(e, scheme)} for e in found.entries]

    def each(name: str) -> list[str]:
        return sorted({e[name] for e in entries if e[name]})

    return {
        "total": len(entries),
        "shown": min(len(entries), MOST_SHOWN),
        "entries": entries[:MOST_SHOWN],
        "counts": found.counts,
        "notes": found.notes,
        "departments": each("department"),
        "coders": each("coder"),
    }


def _link(e: Entry, scheme: str) -> dict[str, str]:
    """Return what a link to the first view holds: codes and what grouping reads."""
    parts = {"s": scheme}
    parts |= {n: str(e.case[n]) for n in IN_LINK if e.case.get(n) is not None}
    for short, name in (("d", "diagnoses"), ("p", "procedures")):
        codes = [c for c in e.case.get(name) or () if c]
        parts |= {short: "|".join(codes)} if codes else {}
    return parts


# ------------------------------------------------------------------------------------------ scheme

_Id = Annotated[str, Query(max_length=64)]


def _add_scheme(app: FastAPI, shelf: Shelf) -> None:
    def weights(policy: str, on: date | None) -> Weights:
        return Weights(shelf.policy(policy) if policy else None, on or date.today())

    def tree(lang: str, found: dict[str, Any]) -> Response:
        blank: dict[str, Any] = dict.fromkeys(("title", "problem", "more", "none", "fingerprint"))
        blank |= {k: () for k in ("notes", "parts", "branches", "leaves")}
        return _html("tree.html", lang, **(blank | found))

    @app.get("/page/scheme", include_in_schema=False)
    def scheme_tree(
        scheme: _Id, policy: _Id = "", on: date | None = None, q: _Id = "", lang: Lang = "zh"
    ) -> Response:
        query = {"policy": policy, "on": "" if on is None else on.isoformat()}
        kept = {"scheme": scheme, "lang": lang, **{k: v for k, v in query.items() if v}}
        held = weights(policy, on)
        return tree(lang, _page_scheme.overview(shelf.scheme(scheme), held, q.strip(), kept))

    @app.get("/page/part", include_in_schema=False)
    def scheme_part(
        scheme: _Id, part: _Id, policy: _Id = "", on: date | None = None, lang: Lang = "zh"
    ) -> Response:
        return tree(lang, _page_scheme.part(shelf.scheme(scheme), part, weights(policy, on)))

    @app.get("/page/set", include_in_schema=False)
    def scheme_set(scheme: _Id, name: _Id, lang: Lang = "zh") -> Response:
        return _html("set.html", lang, **_page_scheme.codes_of_set(shelf.scheme(scheme), name))
