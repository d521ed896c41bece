"""The embedded world: coloured shapes on 32x32, small enough to be exact, real enough to train on.

Which question: does the whole of it work here, now, without a hub, a GPU or a download?

`world` draws scenes, `prompts` asks for them in GenEval's six tasks, `detect` reads a picture back,
`judge` says whether a picture shows what its prompt asks. `weights/` holds ordinary diffusers and
transformers checkpoints that `python -m rewardkit.shapes.train NAME` makes from rendered scenes;
nothing outside knows that they are special. May import errors, records, media, models and engine.

To add a shape, give it a mask in `world`, its plural in `prompts`, and train the models again.
"""
