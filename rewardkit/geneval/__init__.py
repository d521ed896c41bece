"""GenEval: does a picture show the objects its prompt names, so many, so coloured, so placed?

Which question: what did upstream's evaluator say of this picture, and can ours be trusted to say
the same?

`names` are the words, `metadata` reads what a prompt asks for, `rules` judge detected objects by it
(pure, no network), `colours` tells their colours by CLIP, `aggregate` turns verdicts into scores.
`detector` finds the objects: `pixels` before and `postprocess` after `network`, a Mask2Former whose
weights `convert` makes of upstream's. `portrait.jpg` is what it must see: Grace Hopper, US Navy
1984, in the public domain.

The reward and the benchmark stand on the same rules. May import errors, records, media, models and
engine.

To judge other things than COCO's, give `metadata.parse_metadata` their classes and colours, and
`rules.judge` what a detector of them found.
"""
