"""The language of search_spaces/*.yaml: the schema of a file and of each of its entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)

from cellsearch.errors import SpaceError
from cellsearch.space.entry import Condition, Entry, divides
from cellsearch.space.parameters import Parameter, ParamValue
from cellsearch.util.yaml_files import KeyPath, Problem, near_miss, pointer, problems, shown

F = TypeVar("F", bound=BaseModel)

MOST_ODDS = 1e6


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Limits(_Model):
    """What a trial may cost; None is no limit.

    A draw beyond them is drawn again before anything is trained.
    """

    parameters: StrictInt | None = Field(None, gt=0, description="weights of the network")
    multiply_adds: StrictInt | None = Field(None, gt=0, description="of one cell's forward pass")
    minutes_per_fold: StrictFloat | None = Field(
        None, gt=0, description="training time of a fold on the machine at hand"
    )


class SpaceFile(_Model):
    """One search_spaces/*.yaml."""

    name: StrictStr = Field(
        "custom", min_length=1, description="name of the space, by which it is chosen"
    )
    title: StrictStr = Field("", description="one line for `spaces list`")
    extends: StrictStr | None = Field(None, description="name or path of the space to start from")
    limits: Limits = Limits()
    initial: list[dict[str, Any]] = Field(
        default_factory=list,
        # What older spaces call them.
        validation_alias=AliasChoices("initial", "starts"),
        description="recipes tried first, after the baseline; what is absent keeps its default",
    )
    parameters: dict[str, Any] = Field(default_factory=dict)


class _Form(_Model):
    per: StrictStr | None = None
    when: dict[str, Any] = {}


class _IntForm(_Form):
    range: list[StrictInt] = Field(alias="int", min_length=2, max_length=2)
    step: Annotated[StrictInt, Field(gt=0)] | None = None
    log: StrictBool = False
    centre: StrictInt | None = None


class _FloatForm(_Form):
    range: list[StrictFloat] = Field(alias="float", min_length=2, max_length=2)
    step: Annotated[StrictFloat, Field(gt=0)] | None = None
    log: StrictBool = False
    centre: StrictFloat | None = None


class _ChoiceForm(_Form):
    choices: list[Any] = Field(alias="choice", min_length=1)


class _OddsForm(_Form):
    odds: dict[Any, Any] = Field(alias="choice", min_length=1)


class _ValueForm(_Form):
    value: Any


class _Between(_Model):
    min: StrictInt | StrictFloat | None = None
    max: StrictInt | StrictFloat | None = None


_FORMS: dict[str, type[_Form]] = {
    "value": _ValueForm,
    "int": _IntForm,
    "float": _FloatForm,
    "choice": _ChoiceForm,
}


class Reading:
    """Entries of one parameter as they are written, and what is wrong with them."""

    def __init__(self, target: str, parameter: Parameter, raw: Any, path: KeyPath) -> None:
        self.target = target
        self.parameter = parameter
        self.found: list[Problem] = []
        self.entries: list[tuple[Entry, str | None, KeyPath]] = []
        for raw_form, at in self._alternatives(raw, path):
            before = len(self.found)
            entry = self._entry(raw_form, at)
            if entry is not None and len(self.found) == before:
                self.entries.append((entry[0], entry[1], at))

    def _alternatives(self, raw: Any, path: KeyPath) -> Iterator[tuple[Any, KeyPath]]:
        if not isinstance(raw, list):
            yield raw, path
        elif not raw or not all(isinstance(item, dict) for item in raw):
            self._say(
                path,
                "a list holds alternatives, each with its own `when`; for a choice "
                "write {choice: [...]}",
            )
        else:
            for i, item in enumerate(raw):
                if len(raw) > 1 and not item.get("when"):
                    self._say((*path, i), "an alternative needs a `when`")
                yield item, (*path, i)

    def _say(self, path: KeyPath, text: str) -> None:
        self.found.append(Problem(path, text))

    def _entry(self, raw: Any, path: KeyPath) -> tuple[Entry, str | None] | None:
        if not isinstance(raw, dict):
            value = self._value(raw, path)
            return None if value is None else (Entry(self.target, "constant", value), None)
        given = [key for key in _FORMS if key in raw]
        if len(given) != 1:
            hint = "".join(near_miss(str(k), _FORMS) for k in raw if k not in _FORMS)
            self._say(path, f"expected exactly one of value, int, float, choice{hint}")
            return None
        weighed = isinstance(raw.get("choice"), dict)
        form = self._parse(_OddsForm if weighed else _FORMS[given[0]], raw, path)
        when = self._when(raw.get("when"), (*path, "when"))
        if form is None:
            return None
        entry = self._constrained(form, path)
        return None if entry is None else (Entry(self.target, when=when, **entry), form.per)

    def _parse(self, form: type[F], raw: Any, path: KeyPath) -> F | None:
        try:
            return form.model_validate(raw)
        except ValidationError as failure:
            for problem in problems(form, failure, raw):
                self._say((*path, *problem.path), problem.text)
        return None

    def _constrained(self, form: _Form, path: KeyPath) -> dict[str, Any] | None:
        if isinstance(form, _ValueForm):
            return {"kind": "constant", "value": self._value(form.value, (*path, "value"))}
        if isinstance(form, _ChoiceForm):
            at = (*path, "choice")
            values = [self._value(v, (*at, i)) for i, v in enumerate(form.choices)]
            if len(set(map(str, values))) < len(values) and None not in values:
                self._say(at, f"a choice is given twice in {shown(form.choices)}")
            return {"kind": "choice", "choices": tuple(values)}
        if isinstance(form, _OddsForm):
            return self._weighed(form, (*path, "choice"))
        assert isinstance(form, _IntForm | _FloatForm)
        return self._ranged(form, path)

    def _weighed(self, form: _OddsForm, at: KeyPath) -> dict[str, Any]:
        values, odds = [], []
        for key, share in form.odds.items():
            values.append(self._value(key, (*at, key)))
            if _is_odds(share):
                odds.append(float(share))
            else:
                self._say(
                    (*at, key),
                    f"expected odds, a number > 0 and <= {MOST_ODDS:g}, got {shown(share)}; "
                    "leave out what is never to be drawn",
                )
        # Even odds are a plain choice, so that both have one digest.
        even = len(set(odds)) <= 1
        return {"kind": "choice", "choices": tuple(values), "odds": () if even else tuple(odds)}

    def _ranged(self, form: _IntForm | _FloatForm, path: KeyPath) -> dict[str, Any] | None:
        kind: Literal["int", "float"] = "int" if isinstance(form, _IntForm) else "float"
        at = (*path, kind)
        if self.parameter.kind != kind:
            self._say(
                at,
                f"{self.parameter.name} is {self.parameter.rule}; write "
                + (
                    "{int: [low, high]}"
                    if self.parameter.kind == "int"
                    else "{float: [low, high]}"
                    if self.parameter.kind == "float"
                    else "{choice: [...]}"
                ),
            )
            return None
        low, high = (self._value(v, (*at, i)) for i, v in enumerate(form.range))
        if low is None or high is None:
            return None
        assert not isinstance(low, str)
        assert not isinstance(high, str)
        if low > high:
            self._say(at, f"the lower bound {low:g} is above the upper bound {high:g}")
        elif form.log and low <= 0:
            self._say(at, f"a log range needs a lower bound > 0, got {low:g}")
        elif form.log and form.step is not None:
            self._say(path, "log and step exclude each other")
        elif form.step is not None and not divides(form.step, low, high):
            self._say((*path, "step"), f"steps of {form.step:g} from {low:g} miss {high:g}")
        if form.centre is not None and low <= high and not low <= form.centre <= high:
            self._say(
                (*path, "centre"),
                f"the centre {form.centre:g} lies outside the range {low:g} to {high:g}; give a "
                "value within it",
            )
        return {
            "kind": kind,
            "low": low,
            "high": high,
            "step": form.step,
            "log": form.log,
            "centre": form.centre,
        }

    def _value(self, value: Any, path: KeyPath) -> ParamValue | None:
        if not self.parameter.allows(value):
            near = ""
            if self.parameter.kind == "choice":
                near = near_miss(str(value), map(str, self.parameter.choices))
            self._say(path, f"expected {self.parameter.rule}, got {shown(value)}{near}")
            return None
        allowed: ParamValue = float(value) if self.parameter.kind == "float" else value
        return allowed

    def _when(self, raw: Any, path: KeyPath) -> tuple[Condition, ...]:
        conditions = []
        for name, wanted in raw.items() if isinstance(raw, dict) else ():
            at = (*path, name)
            if isinstance(wanted, dict):
                between = self._parse(_Between, wanted, at)
                if between is None:
                    continue
                low, high = between.min, between.max
                if low is None and high is None:
                    self._say(at, "expected min, max or both")
                elif low is not None and high is not None and low > high:
                    self._say(at, f"min {low:g} is above max {high:g}")
                conditions.append(Condition(str(name), low=low, high=high))
                continue
            values = wanted if isinstance(wanted, list) else [wanted]
            if not values or not all(isinstance(v, bool | int | float | str) for v in values):
                self._say(
                    at,
                    f"expected a value, a list of values, or {{min:, max:}}, got {shown(wanted)}",
                )
                continue
            conditions.append(Condition(str(name), tuple(values)))
        return tuple(sorted(conditions, key=lambda c: c.name))


def _is_odds(share: Any) -> bool:
    # Written so that NaN is refused.
    number = isinstance(share, int | float) and not isinstance(share, bool)
    return number and 0 < share <= MOST_ODDS


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """What Python code wrote as YAML would have it: lists, and numbers that are not numpy's.

    Raises:
        SpaceError: a set, whose order is another in every process.
    """
    return {str(key): _plain(value, (str(key),)) for key, value in values.items()}


def _plain(value: Any, path: KeyPath) -> Any:
    if isinstance(value, Mapping):
        return {_plain(k, path): _plain(inner, (*path, str(k))) for k, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, (*path, i)) for i, inner in enumerate(value)]
    if isinstance(value, Set):
        raise SpaceError(f"{pointer(path)}: a set has no order; give a list, got {shown(value)}")
    # By its name, so that a space can be read without waiting for numpy.
    return value.item() if type(value).__module__ == "numpy" else value
