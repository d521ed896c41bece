"""GenEval: whether an image shows the objects of its prompt in the right number, colour and place.

The verdicts equal those of the upstream evaluator.

`names` holds the vocabulary, `metadata` parses what a prompt asks for, `rules` judges detected
objects (pure functions, no network), `colours` classifies their colours with CLIP, and `aggregate`
computes scores from verdicts. `detector` finds the objects: `pixels` before and `postprocess` after
`network`, a Mask2Former whose weights `convert` converts from the upstream checkpoint.
`portrait.jpg` is the image that a loaded detector must recognise: Grace Hopper, US Navy 1984, in
the public domain.

The reward and the benchmark use the same rules.

To judge objects other than COCO's, pass their classes and colours to `metadata.parse_metadata`, and
the detections to `rules.judge`.
"""
