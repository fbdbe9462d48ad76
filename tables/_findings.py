"""What the linter says of a scheme or policy, and how much each finding weighs."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "note"]
"""error = the loader refuses it; warning = it may change groups or money unseen; note = good to know."""


class Finding(NamedTuple):
    """One finding: a stable code, where it is, what it is."""

    code: str
    place: str
    message: str

    @property
    def severity(self) -> Severity:
        """How much it weighs."""
        return KINDS[self.code][0]


KINDS: dict[str, tuple[Severity, str]] = {
    "L100": ("error", "the loader refuses the scheme for another reason"),
    "L101": ("warning", "a row that is never reached: an earlier one always holds"),
    "L102": ("warning", "an ADRG's diagnoses outside its MDC's list"),
    "L103": ("note", "a set no rule uses"),
    "L104": ("note", "a set known to be empty"),
    "L105": ("note", "variables used and declared differ"),
    "L106": ("note", "a code both MCC and CC"),
    "L107": ("note", "a bare ADRG as group"),
    "L108": ("error", "a set that a rule names and the set table lacks"),
    "L109": ("error", "a rule that does not parse"),
    "L110": ("error", "a row whose parent is missing, or a parent without rows"),
    "L111": ("error", "a blank code or name of a set, or a code that stands twice"),
    "L112": ("error", "an MDC's sort that is no whole number"),
    "L113": ("warning", "two MDCs of one sort"),
    "L114": ("error", "a type that is neither MCC nor CC"),
    "L115": ("error", "an exclusion table that has no rows"),
    "L116": ("note", "an exclusion table that no complication names"),
    "L117": ("warning", "codes that the code list does not know"),
    "L118": ("note", "diagnoses of an MDC that no medical ADRG takes"),
    "L119": ("warning", "a row that is never reached: an earlier one asks for less"),
    "L120": ("error", "a complication with two exclusion tables"),
    "L121": ("note", "a byte-order mark"),
    "L122": ("note", "repeated rows"),
    "L123": ("warning", "`and` and `or` mixed without brackets"),
    "L124": ("error", "a table that is missing, empty, of another width, or not UTF-8"),
    "L125": ("note", "cells that had to be cleaned"),
    "L126": ("error", "a DRG in another MDC than its ADRG"),
    "L127": ("note", "a sort that contradicts the order of the rows"),
    "L201": ("warning", "groups without a weight"),
    "L202": ("warning", "many weights of 1"),
    "L203": ("warning", "a gap between dated values"),
    "L204": ("warning", "a low edge not below every high edge"),
    "L205": ("warning", "a high edge not below every extreme edge"),
    "L206": ("warning", "two tiers of one day fit alike"),
    "L207": ("warning", "no tier for some weight"),
    "L208": ("warning", "bands of surplus or overspend that overlap"),
    "L209": ("warning", "no band of surplus or overspend for some ratio"),
    "L210": ("warning", "a coefficient outside its bounds"),
    "L211": ("warning", "money of a pool that is not there"),
    "L212": ("warning", "a pool without a fund"),
    "L213": ("warning", "a pool that no case reaches"),
    "L214": ("warning", "a family that no case reaches"),
    "L215": ("note", "an item that takes nothing from the budget"),
    "L216": ("warning", "a value that no case meets"),
    "L217": ("note", "a parameter that nothing reads"),
    "L218": ("warning", "a formula that fails for a common claim"),
    "L301": ("warning", "two groups alike, one can never win"),
    "L302": ("warning", "a group that can never win"),
    "L303": ("warning", "codes unknown to the code list"),
    "L304": ("warning", "notation mixed"),
    "L305": ("note", "groups without a score"),
    "L306": ("warning", "a comparator without its data"),
    "L307": ("note", "conditions or auxiliary types that nothing uses"),
    "L308": ("note", "rows of the primary-care list that mark no group"),
}
"""Code → severity and what it means."""
