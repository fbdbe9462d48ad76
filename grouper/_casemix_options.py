"""Options of casemix, from TOML or Python."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field

from grouper._calibration_options import Exact
from grouper.tables._files import Settings, read_settings


class CasemixOptions(Settings):
    """Options of casemix; see `docs/casemix.md`."""

    weight_bands: Annotated[list[Annotated[Exact, Field(gt=0)]], Field(min_length=1)] = [
        Decimal("0.5"),
        Decimal(1),
        Decimal(2),
        Decimal(5),
        Decimal(10),
    ]
    least: int = Field(default=30, ge=0)
    low_risk_least: int = Field(default=100, gt=0)
    low_risk_deviations: Annotated[Exact, Field(ge=0, le=10)] = Decimal(1)
    died: str = "5"
    readmitted_within: list[Annotated[int, Field(ge=0, le=3660)]] = [15, 31]
    level_four: str = ""


def load_casemix_options(path: Path | str) -> CasemixOptions:
    """Read options from TOML; the file that `level_four` names is taken relative to it.

    Raises
    ------
    TableError : an option is unknown or of another kind; names them all.
    """
    options = read_settings(Path(path), CasemixOptions)
    if not options.level_four:
        return options
    return options.model_copy(update={"level_four": str(Path(path).parent / options.level_four)})
