"""The drawer tells what a result says of itself, and what a source says of a published number."""

from made_results import made

from leaderboards.assemble import assemble
from leaderboards.page.details import details
from leaderboards.published import PublishedRow


def told(loaded=(), rows=()):
    (board,) = assemble(list(loaded), list(rows)).boards
    (entry,) = (*board.entries, *board.published)
    found = details(board, entry)
    return found, {section.title: dict(section.terms) for section in found.sections}


def test_a_result_is_told_whole():
    trained = {"reward": "judge", "prompts": {"source": "a list", "number": 0}}
    model = {"lora": "run/model", "trained_on": trained}
    found, said = told([made("alpha", model=model, figures={"nothing": 0.0})])
    assert found.command[0] == "rewardkit bench run quiz"
    assert said["Model"] == {"name": "alpha", "source": "hub/alpha", "LoRA": "run/model"}
    assert said["Trained on"] == {
        "reward": "judge", "prompts.source": "a list", "prompts.number": "0",
    }  # fmt: skip
    assert said["Protocol"]["seed"] == "0" and said["Protocol"]["steps"] == "20"
    assert said["Result"]["nothing"] == "0.0" and said["Result"]["pictures scored"] == "48 of 48"
    assert said["Prompts and pictures"]["prompts sha256"] == "a" * 64
    assert said["Rewards"] == {"judge.sha256 of judge": "b" * 64}
    assert said["Versions"] == {"rewardkit": "0.1.0"}


def test_a_setting_that_others_do_not_share_is_marked():
    board = assemble([made("alpha"), made("beta"), made("gamma", steps=30)]).boards[0]
    (gamma,) = (entry for entry in board.entries if entry.label == "gamma")
    (protocol,) = (
        section for section in details(board, gamma).sections if section.title == "Protocol"
    )
    assert dict(protocol.terms)["steps ≠"] == "30"


def test_a_published_number_tells_its_source_and_no_command():
    row = PublishedRow(
        model="theirs", weights=None, task="text-to-image", benchmark="quiz", metric="judge",
        unit="points", score="0.5", tasks={}, resolution=None, steps=None, guidance="0.0",
        rewriter="no", trained_on=None, evaluator=None, source="a paper", evidence="secondary",
        verified="no", note="a note",
    )  # fmt: skip
    found, said = told(rows=[row])
    assert found.command == ()
    assert said["Published, not measured here"]["source"] == "a paper"
    assert said["Published, not measured here"]["note"] == "a note"
    assert said["Protocol, as far as the source tells"] == {
        "guidance": "0.0", "prompts rewritten": "no",
    }  # fmt: skip
