"""Options of a calibration, from TOML or Python."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from grouper._statistics import Trim
from grouper.kernels import calibrate as kernels
from grouper.tables._files import Settings, read_settings


def _exact(value: object) -> object:
    return Decimal(str(value)) if isinstance(value, int | float | str) else value


Exact = Annotated[Decimal, BeforeValidator(_exact)]
Rule = Literal["expert", "parent", "neighbour"]


class DipOptions(Settings):
    """Options of a calibration; see `docs/dip-calibration.md`."""

    threshold: int = Field(default=15, gt=0)
    coverage: Annotated[Exact, Field(gt=0, le=1)] | None = None
    related_rise: Annotated[Exact, Field(ge=0, le=1000)] = Decimal(10)
    mixed: bool | None = None
    supplement: bool = False
    mixed_threshold: int | None = Field(default=None, gt=0)
    trim: Literal["percentile", "iqr", "mean_sd", "none"] = "percentile"
    trim_value: Annotated[Exact, Field(ge=0, le=50)] | None = None
    year_by: Literal["discharge_date", "settlement_date"] = "discharge_date"
    year_weights: list[Annotated[int, Field(gt=0, le=1000)]] = Field(
        default=[1, 2, 7], min_length=1, max_length=kernels.YEARS
    )
    score_scale: Literal[0, 100, 1000] = 1000
    score_decimals: int = Field(default=4, ge=0, le=6)
    profile: str = "national-3.0"
    code_list: str = ""
    exclusions: str = ""
    procedure_class: str = ""
    least: int = Field(default=6, gt=0)
    small: list[Rule] = ["expert", "parent", "neighbour"]
    expert: str = ""
    edits: str = ""

    @property
    def trimming(self) -> Trim:
        """Return how costs are trimmed."""
        default = {"percentile": "2.5", "iqr": "1.5", "mean_sd": "3", "none": "0"}[self.trim]
        return Trim(self.trim, Decimal(default) if self.trim_value is None else self.trim_value)


def load_options(path: Path | str) -> DipOptions:
    """Read options from TOML; files they name are taken relative to it.

    Raises
    ------
    TableError : an option is unknown or of another kind; names them all.
    """
    path = Path(path)
    options = read_settings(path, DipOptions)
    files = {
        name: str(path.parent / given)
        for name in ("exclusions", "procedure_class", "expert", "edits")
        if (given := getattr(options, name))
    }
    return options.model_copy(update=files)
