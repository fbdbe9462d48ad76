"""Options of a calibration of DRG weights, from TOML or Python."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from grouper._calibration_options import Exact
from grouper._weights_trim import WeightTrim
from grouper.kernels import calibrate as kernels
from grouper.tables._files import Settings, read_settings

Mean = Literal["arithmetic", "geometric", "median"]
Borrow = Literal["parent", "neighbour", "previous"]


class DrgOptions(Settings):
    """Options of a calibration of weights; see `docs/drg-calibration.md`."""

    trim: Literal["percentile", "iqr", "mean_sd", "mean_log_sd", "edges", "none"] = "percentile"
    trim_value: Annotated[Exact, Field(ge=0, le=50)] | None = None
    trim_edges: list[Annotated[Exact, Field(ge=0, le=1000)]] = Field(
        default=[Decimal("0.35"), Decimal(3)], min_length=2, max_length=2
    )
    year_by: Literal["discharge_date", "settlement_date"] = "discharge_date"
    year_weights: list[Annotated[int, Field(gt=0, le=1000)]] = Field(
        default=[1, 2, 7], min_length=1, max_length=kernels.YEARS
    )
    stable: Mean = "arithmetic"
    unstable: Mean = "median"
    stable_above: int = Field(default=5, ge=1)
    stable_cv: Annotated[Exact, Field(gt=0, le=100)] = Decimal(1)
    least: int = Field(default=6, gt=0)
    small: list[Borrow] = ["neighbour", "parent", "previous"]
    keep_order: bool = True
    weight_decimals: int = Field(default=4, ge=0, le=9)
    neutral: Literal["one", "previous", "none"] = "one"
    coefficient_decimals: int = Field(default=4, ge=0, le=6)
    split_least: int = Field(default=100, gt=0)
    split_cv: Annotated[Exact, Field(gt=0, le=100)] = Decimal(1)
    merge_rise: Annotated[Exact, Field(ge=0, le=1000)] = Decimal(20)

    @property
    def trimming(self) -> WeightTrim:
        """Return how costs are trimmed."""
        usual = {"percentile": "2.5", "iqr": "1.5", "mean_sd": "3", "mean_log_sd": "3"}
        given = self.trim_value
        value = Decimal(usual.get(self.trim, "0")) if given is None else given
        return WeightTrim(self.trim, value, (self.trim_edges[0], self.trim_edges[1]))


def load_drg_options(path: Path | str) -> DrgOptions:
    """Read options from TOML.

    Raises
    ------
    TableError : an option is unknown or of another kind; names them all.
    """
    return read_settings(Path(path), DrgOptions)
