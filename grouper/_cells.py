"""Columns as they were given → columns of the schema.

Each kind of column has a fast path, one Arrow cast over the whole column, and a careful path that
runs only when the cast fails and looks at each distinct text once.

The surprise: text money is never a float. It is cast to a decimal, and the decimal's 128-bit words
are divided into fen as integers.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Chunks: TypeAlias = Any  # a pa.ChunkedArray: pyarrow ships no types
Bools: TypeAlias = NDArray[np.bool_]


class Unfit(Exception):
    """A column is of a type that its kind cannot be read from, or as the text says."""


def is_utf8(data: bytes) -> bool:
    """Tell whether bytes are UTF-8."""
    if data.isascii():
        return True
    decoder, step = codecs.getincrementaldecoder("utf-8")(), 1 << 24
    try:
        for at in range(0, len(data), step):
            decoder.decode(data[at : at + step], at + step >= len(data))
    except UnicodeDecodeError:
        return False
    return True


class Cells(NamedTuple):
    """A column of the schema; `counts` what was normalised; `faults` the (rows, texts) refused."""

    column: Chunks
    counts: Counter[str]
    faults: tuple[NDArray[np.int64], list[str]] | None = None


LOST = {"not a whole number", "out of range", "not a date", "not a flag"}
"""Notes of cells that became null without being blank; those of money are in `SAYS`."""


def read_column(
    kind: str,
    column: Chunks,
    header: str,
    *,
    separator: str = "|",
    words: Mapping[str, int] | None = None,
    in_fen: bool = False,
) -> Cells:
    """Read a column as its kind (see `Column.kind`), and count what was normalised.

    Parameters
    ----------
    kind : text, whole, day, flag, codes or money. column : as given. header : its name there.
    separator : between codes in text. words : texts that stand for numbers. in_fen : money is fen.

    Raises
    ------
    Unfit : the type of the column holds no such thing.
    """
    if kind == "money":
        cells = read_money(column, header, in_fen=in_fen)
    elif kind == "whole":
        cells = read_whole(column, words or {})
    elif kind == "codes":
        cells = read_codes(column, separator)
    else:
        cells = {"text": read_text, "day": read_day, "flag": read_flag}[kind](column)
    lost = sum(cells.counts[note] for note in (*LOST, *SAYS.values()))
    cells.counts["blank"] += cells.column.null_count - lost
    return cells


Reader: TypeAlias = Callable[[str], tuple[Any, Iterable[str]]]
FULL_WIDTH = {**{k: k - 0xFEE0 for k in range(0xFF01, 0xFF5F)}, 0x3000: 0x20}


def as_text(column: Chunks) -> Chunks:
    """Return a column as strings.

    Raises
    ------
    Unfit : the type has no plain text, such as a list.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if kind == pa.string():
        return column
    if pa.types.is_floating(kind):
        return _float_text(column)
    if pa.types.is_nested(kind) or pa.types.is_duration(kind):
        raise Unfit
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise Unfit from None


def _float_text(column: Chunks) -> Chunks:
    wide = column.cast(pa.float64())
    whole = pc.and_(pc.equal(wide, pc.floor(wide)), pc.less(pc.abs(wide), 2.0**53))
    whole = pc.fill_null(whole, False)
    numbers = pc.if_else(whole, wide, pa.scalar(None, pa.float64())).cast(pa.int64())
    return pc.if_else(whole, numbers.cast(pa.string()), column.cast(pa.string()))


def tidy(column: Chunks) -> tuple[Chunks, int]:
    """Trim blanks around strings and make empty ones null; return also how many were trimmed.

    Raises
    ------
    Unfit : the bytes are not UTF-8, as a foreign writer of Parquet may leave them.
    """
    trimmed = 0
    for chunk in column.chunks:
        _check_utf8(chunk)
    if any(_may_hold_blanks(chunk) for chunk in column.chunks):
        plain = pc.utf8_trim_whitespace(column)
        trimmed = pc.sum(pc.not_equal(plain, column)).as_py() or 0
        column = plain if trimmed else column
    shortest = pc.min(pc.binary_length(column)).as_py()
    if shortest == 0:
        blank = pc.equal(pc.binary_length(column), 0)
        column = pc.if_else(blank, pa.scalar(None, column.type), column)
    return column, trimmed


def _may_hold_blanks(chunk: Any) -> bool:
    """Tell if the bytes hold a blank: ASCII, or one of the first bytes of the others."""
    data = _bytes(chunk)
    return bool((data <= 0x20).any() or _holds_any(data, b"\xc2\xe1\xe2\xe3"))


def _holds(column: Chunks, letters: bytes) -> bool:
    return any(_holds_any(_bytes(c), letters) for c in column.chunks)


def _holds_any(data: NDArray[np.uint8], letters: bytes) -> bool:
    return any((data == letter).any() for letter in letters)


def _bytes(chunk: Any) -> NDArray[np.uint8]:
    _, offsets, data = chunk.buffers()
    if offsets is None or data is None or len(chunk) == 0:
        return np.zeros(0, np.uint8)
    width = np.int64 if chunk.type == pa.large_string() else np.int32
    ends = np.frombuffer(offsets, width, chunk.offset + len(chunk) + 1)[[chunk.offset, -1]]
    return np.frombuffer(data, np.uint8)[ends[0] : ends[1]]


def _check_utf8(chunk: Any) -> None:
    data = _bytes(chunk)
    if data.size and data.max() > 0x7F and not is_utf8(data.tobytes()):
        raise Unfit("holds bytes that are not UTF-8")


def _by_distinct(column: Chunks, read: Reader, kind: pa.DataType) -> tuple[Chunks, Counter[str]]:
    """Read each distinct text once; `read` returns its value and what was done to it."""
    encoded = column.dictionary_encode().unify_dictionaries()
    distinct = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
    read_out = [read(text) for text in distinct]
    times = np.zeros(len(distinct), np.int64)
    for chunk in encoded.chunks:
        times += np.bincount(chunk.indices.drop_null().to_numpy(), minlength=len(distinct))
    counts: Counter[str] = Counter()
    for (_, notes), n in zip(read_out, times, strict=True):
        for note in notes:
            counts[note] += int(n)
    values = pa.array([value for value, _ in read_out], kind)
    return pa.chunked_array([values.take(c.indices) for c in encoded.chunks], kind), counts


def _plain(text: str) -> tuple[str, list[str]]:
    """Return the text with ASCII digits and without thousands separators, and what was done."""
    notes, plain = [], text.translate(FULL_WIDTH).strip()
    if plain != text:
        notes.append("full-width characters")
    if re.fullmatch(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?", plain):
        plain = plain.replace(",", "")
        notes.append("thousands separators")
    return plain, notes


# --------------------------------------------------------- text, numbers, days, flags, code lists


def read_text(column: Chunks) -> Cells:
    """Read strings: trimmed, blank = null."""
    counts: Counter[str] = Counter()
    if not _is_string(column.type):
        counts["read as text"] = len(column) - column.null_count
    column, counts["blanks trimmed"] = tidy(as_text(column))
    return Cells(column, counts)


def read_whole(column: Chunks, words: Mapping[str, int]) -> Cells:
    """Read whole numbers as int32; what is none is null and counted."""
    kind = column.type
    if kind == pa.int32():
        return Cells(column, Counter())
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        raise Unfit
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        try:
            return Cells(column.cast(pa.int32()), Counter())
        except pa.ArrowInvalid:
            return _careful_whole(column)
    column, trimmed = tidy(as_text(column))
    counts = Counter({"blanks trimmed": trimmed})
    try:
        if not _holds(column, b"xX"):  # Arrow reads 0x10 as 16
            return Cells(column.cast(pa.int32()), counts)
    except pa.ArrowInvalid:
        pass
    column, notes = _by_distinct(column, lambda text: _whole(text, words), pa.int32())
    return Cells(column, counts + notes)


def _careful_whole(column: Chunks) -> Cells:
    counts: Counter[str] = Counter()
    valid = pc.is_valid(column).to_numpy()
    given = pc.fill_null(column, pa.scalar(0, column.type)).to_numpy()
    if pa.types.is_floating(column.type):
        given = given.astype(np.float64)
        nan = np.isnan(given)
        valid &= ~nan
        given = np.where(nan, 0, given)
        fraction = valid & (given != np.floor(given))
        counts["not a whole number"] = int(fraction.sum())
        valid &= ~fraction
    fits = (given >= -(2.0**31)) & (given < 2.0**31)
    counts["out of range"] = int((valid & ~fits).sum())
    values = np.where(fits & valid, given, 0).astype(np.int32)
    return Cells(pa.chunked_array([pa.array(values, mask=~(fits & valid))]), counts)


def _whole(text: str, words: Mapping[str, int]) -> tuple[int | None, list[str]]:
    if text in words:
        return words[text], ["words read as numbers"]
    plain, notes = _plain(text)
    found = re.fullmatch(r"([+-]?[0-9]{1,18})(\.0*)?", plain)
    if not found:
        return None, ["not a whole number"]
    value = int(found[1])
    if not -(2**31) <= value < 2**31:
        return None, ["out of range"]
    return value, [*notes, "decimal points"] if found[2] else notes


def read_day(column: Chunks) -> Cells:
    """Read dates as date32; what is none is null and counted."""
    kind = column.type
    if kind == pa.date32():
        return Cells(column, Counter())
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        column = pc.local_timestamp(column)  # the date on the wall
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Cells(column.cast(pa.date32(), safe=False), Counter())
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        raise Unfit
    column, trimmed = tidy(as_text(column))
    counts = Counter({"blanks trimmed": trimmed})
    for step in (pa.date32(), pa.timestamp("us")):
        try:
            return Cells(column.cast(step).cast(pa.date32(), safe=False), counts)
        except pa.ArrowInvalid:
            continue
    column, notes = _by_distinct(column, _day, pa.date32())
    return Cells(column, counts + notes)


_TIME = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
_DAYS = [
    re.compile(rf"(?P<y>[0-9]{{4}})-(?P<m>[0-9]{{2}})-(?P<d>[0-9]{{2}})([ T]+{_TIME})?"),
    re.compile(rf"(?P<y>[0-9]{{4}})([-/.])(?P<m>[0-9]{{1,2}})\2(?P<d>[0-9]{{1,2}})([ T]+{_TIME})?"),
    re.compile(r"(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})([ T]?([0-9]{4}){1,2}|[0-9]{6})?"),
    re.compile(rf"(?P<y>[0-9]{{4}})年(?P<m>[0-9]{{1,2}})月(?P<d>[0-9]{{1,2}})日( *{_TIME})?"),
]


def _day(text: str) -> tuple[date | None, list[str]]:
    plain = text.translate(FULL_WIDTH)
    for k, layout in enumerate(_DAYS):
        if found := layout.fullmatch(plain):
            try:
                value = date(int(found["y"]), int(found["m"]), int(found["d"]))
            except ValueError:
                break
            return value, ["other layouts of a date"] if k or plain != text else []
    return None, ["not a date"]


_CLOCK = re.compile(r"(?P<h>[0-9]{1,2}):(?P<m>[0-9]{2})(:(?P<s>[0-9]{2}))?")
_COMPACT = re.compile(r"[0-9]{8}[ T]?(?P<h>[0-9]{2})(?P<m>[0-9]{2})(?P<s>[0-9]{2})?")


def read_time(column: Chunks) -> Cells:
    """Read dates and times as timestamps in seconds; what is none is null and counted."""
    kind, seconds = column.type, pa.timestamp("s")
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        column = pc.local_timestamp(column)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Cells(
            column.cast(pa.timestamp("us"), safe=False).cast(seconds, safe=False), Counter()
        )
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        raise Unfit
    column, trimmed = tidy(as_text(column))
    counts = Counter({"blanks trimmed": trimmed})
    try:
        return Cells(column.cast(pa.timestamp("us")).cast(seconds, safe=False), counts)
    except pa.ArrowInvalid:
        column, notes = _by_distinct(column, _moment, seconds)
    return Cells(column, counts + notes)


def _moment(text: str) -> tuple[datetime | None, list[str]]:
    """Read a date and the time of day behind it, if there is one."""
    day, notes = _day(text)
    if day is None:
        return None, notes
    plain = text.translate(FULL_WIDTH)
    clock = _CLOCK.search(plain) or _COMPACT.fullmatch(plain)
    hour, minute, second = (int(clock[k] or 0) for k in "hms") if clock else (0, 0, 0)
    try:
        return datetime(day.year, day.month, day.day, hour, minute, second), notes
    except ValueError:
        return None, ["not a date"]


FLAGS = {"0": False, "1": True, "false": False, "true": True, "否": False, "是": True}


def read_flag(column: Chunks) -> Cells:
    """Read flags as bool from 0, 1, true, false, 是, 否; what is none is null and counted."""
    if pa.types.is_boolean(column.type):
        return Cells(column, Counter())
    column, trimmed = tidy(as_text(column))

    def flag(text: str) -> tuple[bool | None, list[str]]:
        value = FLAGS.get(text.translate(FULL_WIDTH).casefold())
        return value, ["not a flag"] if value is None else []

    column, notes = _by_distinct(column, flag, pa.bool_())
    return Cells(column, Counter({"blanks trimmed": trimmed}) + notes)


def read_codes(column: Chunks, separator: str) -> Cells:
    """Read lists of codes: lists stay as they are, text is split, blank text is an empty list."""
    kind = column.type
    if pa.types.is_nested(kind) and not pa.types.is_dictionary(kind):
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        inner = kind.value_type if lists else kind
        inner = inner.value_type if pa.types.is_dictionary(inner) else inner
        if not lists or not (_is_string(inner) or pa.types.is_null(inner)):
            raise Unfit
        if inner not in (pa.string(), pa.large_string()):
            column = column.cast(pa.list_(pa.string()))
        for chunk in column.chunks:
            values = chunk.flatten()
            _check_utf8(values.dictionary if pa.types.is_dictionary(values.type) else values)
        return Cells(column, Counter())
    if not _is_string(kind.value_type if pa.types.is_dictionary(kind) else kind):
        if not pa.types.is_null(kind):
            raise Unfit
    column, trimmed = tidy(as_text(column))
    counts = Counter({"blanks trimmed": trimmed, "blank": column.null_count})
    split = pc.split_pattern(column, separator)
    lists = [pa.ListArray.from_arrays(c.offsets, c.values) for c in split.chunks]  # null = empty
    return Cells(pa.chunked_array(lists, pa.list_(pa.string())), counts)


def _is_string(kind: pa.DataType) -> bool:
    strings = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(fits(kind) for fits in strings)


# -------------------------------------------------------------------------------------------- money

LIMIT = 10**13  # fen, in absolute value: a larger amount is a slip
UNITS = 10**5  # decimal units a fen; the scale of the decimal is chosen so
SLACK = 10  # units: 1e-6 yuan
ROUNDED, NO_AMOUNT, TOO_LARGE, NO_FEN, TOO_COARSE = 1, 2, 3, 4, 5
SAYS = {
    NO_AMOUNT: "no amount",
    TOO_LARGE: "10^13 fen or more",
    NO_FEN: "not a whole number of fen",
    TOO_COARSE: "too large for a float32 to tell its fen",
}
Amounts: TypeAlias = tuple[NDArray[np.int64], NDArray[np.uint8]]


def read_money(column: Chunks, header: str, *, in_fen: bool) -> Cells:
    """Read amounts as int64 fen (分); what is no amount is null and a fault of its row.

    Parameters
    ----------
    column : whole numbers, decimals, floats or text. header : its name, for the fault.
    in_fen : the numbers are fen; else yuan (元), within 1e-6 yuan of a whole fen.
    """
    kind, counts = column.type, Counter[str]()
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_float16(kind):
        raise Unfit
    if kind == pa.int64() and in_fen and _within_limit(column):
        return Cells(column, counts)
    scale = 5 if in_fen else 7
    given = column
    if pa.types.is_integer(kind) and kind != pa.uint64():
        fen, state = _of_whole(column, 1 if in_fen else 100)
    elif pa.types.is_floating(kind):
        given = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        fen, state = _of_float(given, in_fen)
    else:
        given, counts["blanks trimmed"] = tidy(as_text(column))
        fen, state, notes = _of_text(given, scale)
        counts += notes
    valid = pc.is_valid(given).to_numpy()
    counts["rounded to the fen"] = int((valid & (state == ROUNDED)).sum())
    bad = np.flatnonzero(valid & (state >= NO_AMOUNT))
    out = pa.array(fen, mask=~valid | (state >= NO_AMOUNT))
    if not len(bad):
        return Cells(pa.chunked_array([out]), counts)
    for k in SAYS:
        counts[SAYS[k]] = int((state[bad] == k).sum())
    texts = as_text(given.take(pa.array(bad))).to_pylist()
    pairs = zip(texts, state[bad].tolist(), strict=True)
    says = [f"{header}: {_short(text)!r} is {SAYS[k]}" for text, k in pairs]
    return Cells(pa.chunked_array([out]), counts, (bad, says))


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def _within_limit(column: Chunks) -> bool:
    ends = pc.min_max(column)
    low, high = ends["min"].as_py() or 0, ends["max"].as_py() or 0
    return bool(-LIMIT < low and high < LIMIT)


def _of_whole(column: Chunks, fen_each: int) -> Amounts:
    given = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    most = LIMIT // fen_each
    large = (given <= -most) | (given >= most)
    return np.where(large, 0, given) * fen_each, np.where(large, np.uint8(TOO_LARGE), np.uint8(0))


def _of_float(column: Chunks, in_fen: bool) -> Amounts:
    given = pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy()
    units = 1 if in_fen else 100
    large = ~(np.abs(given) < LIMIT / units)
    given = np.where(large, 0.0, given)
    fen = np.rint(given * units)
    nearest, slack = fen / units, 1e-6 if not in_fen else 1e-4
    if pa.types.is_float32(column.type):
        exact = nearest.astype(np.float32) == given
        coarse = ~large & (np.abs(given) >= 2.0**17 * 100 / units)
    else:
        exact, coarse = nearest == given, np.zeros(len(given), np.bool_)
    near = np.abs(nearest - given) <= slack
    state = np.select(
        [large, coarse, exact, near], [TOO_LARGE, TOO_COARSE, 0, ROUNDED], NO_FEN
    ).astype(np.uint8)
    return fen.astype(np.int64), state


def _of_text(
    column: Chunks, scale: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8], Counter[str]]:
    """Read text: one cast if all of it is plain; else the plain ones so, the others one by one."""
    wide = pa.decimal128(38, scale)
    notes: Counter[str] = Counter()
    try:
        if not _holds(column, b"eE"):  # 1.2E+05 has lost its digits
            return *_of_decimal(column.cast(wide)), notes
    except pa.ArrowInvalid:
        pass
    commas = pc.fill_null(pc.match_substring_regex(column, _COMMAS), False)
    notes["thousands separators"] = pc.sum(commas).as_py() or 0
    bare = pc.if_else(commas, pc.replace_substring(column, ",", ""), column)
    digits = rf"^[+-]?[0-9]{{1,20}}(\.[0-9]{{0,{scale}}})?$"
    plain = pc.fill_null(pc.match_substring_regex(bare, digits), False)
    fen, state = _of_decimal(pc.if_else(plain, bare, pa.scalar(None, pa.string())).cast(wide))
    odd = np.flatnonzero(pc.and_(pc.is_valid(bare), pc.invert(plain)).to_numpy())
    fen, state = fen.copy(), state.copy()
    fen_each = 1 if scale == 5 else 100
    for row, text in zip(odd, bare.take(pa.array(odd)).to_pylist(), strict=True):
        fen[row], state[row], done = _amount(text, fen_each)
        notes.update(done)
    return fen, state, notes


_AMOUNT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE]-[0-9]{1,3})?")
_COMMAS = r"^[+-]?[0-9]{1,3}(,[0-9]{3}){1,6}(\.[0-9]*)?$"


def _of_decimal(column: Chunks) -> Amounts:
    """Divide decimals of 10^5 units a fen, word by word; null is 0."""
    array = pc.fill_null(column, pa.scalar(0).cast(column.type)).combine_chunks()
    n = len(array)
    words = np.frombuffer(array.buffers()[1], np.int64)[2 * array.offset : 2 * (array.offset + n)]
    low, high = words[0::2], words[1::2]
    large = (high != low >> 63) | (low <= -LIMIT * UNITS) | (low >= LIMIT * UNITS)
    units = np.where(large, 0, low)
    fen = (units + UNITS // 2) // UNITS
    rest = np.abs(units - fen * UNITS)
    state = np.select([large, rest == 0, rest <= SLACK], [TOO_LARGE, 0, ROUNDED], NO_FEN)
    return fen, state.astype(np.uint8)


def _amount(text: str, fen_each: int) -> tuple[int, int, list[str]]:
    """Read one amount exactly: (fen, state, what was done)."""
    plain, notes = _plain(text)
    if len(plain) > 80 or not _AMOUNT.fullmatch(plain):
        return 0, NO_AMOUNT, []
    exact = Fraction(plain) * fen_each
    fen = round(exact)
    if abs(exact) >= LIMIT:
        return 0, TOO_LARGE, notes
    if abs(exact - fen) * 10**4 > 1:  # 1e-6 yuan
        return 0, NO_FEN, notes
    return fen, ROUNDED if exact != fen else 0, notes
