"""Templates as files: those of the package, and a user's own."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from rewardkit.errors import InputError
from rewardkit.judging.listed import PointsTemplate
from rewardkit.judging.named import ScoresTemplate
from rewardkit.judging.template import JudgeTemplate
from rewardkit.judging.words import WordTemplate
from rewardkit.media.files import read_text
from rewardkit.records.documents import parse_toml
from rewardkit.records.provenance import sha256_text

#: How answers are read, by the name that a template's `form` gives.
FORMS: dict[str, type[JudgeTemplate]] = {
    "word": WordTemplate,
    "scores": ScoresTemplate,
    "list": PointsTemplate,
}
PACKAGED = Path(__file__).parent / "templates"


def read_template(path: Path) -> JudgeTemplate:
    """The template in a .toml file.

    Raises:
        InputError: the file cannot be read, or is no template.
    """
    text = read_text(path)
    fields = parse_toml(text, str(path))
    form = fields.get("form")
    if not isinstance(form, str) or form not in FORMS:
        raise InputError(
            f"{path} is no template of a judge: form is one of {', '.join(FORMS)}, and it is "
            f"{form!r}. Copy a template of {PACKAGED}"
        )
    try:
        return FORMS[form].model_validate(
            {**fields, "text": str(fields.get("text", "")).strip(), "sha256": sha256_text(text)}
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise InputError(f"{path} is no template of a judge: {place}: {first['msg']}") from error
