"""What does a vision-language model behind an OpenAI-compatible endpoint say of an image or clip?

A template, a .toml file of `templates/`, says what is asked and how the answer is read:

    word      the probability of one word as the first token       words.py, templates/yes.toml
    scores    scores by name in a text, "Style Score: 4"           named.py, templates/scores.toml
    list      a JSON list with an entry per point                  listed.py, templates/points.toml

`questions` asks: it sends pixels as PNG, through `rewardkit.service`, to the model that `model`
found at the endpoint; `cache` keeps the answers. An answer that cannot be read is an error with its
text, never a number.

To ask something else, copy a template, change it, and name it: `-r judge:./mine.toml`. To read
answers in another way, subclass `JudgeTemplate` and add it to `reading.FORMS`.

This package imports `rewardkit.engine` and what stands below it.
"""
