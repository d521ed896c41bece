"""How does a reward become numbers? From a name to one score for each sample.

    spec        "0.7*hps+clip@0.3" -> names, weights, thresholds
    registry    a name -> its card and its class    functions  FILE.py:NAME -> the same
    card        what a reward needs and returns     preprocess  steps from a picture to a network
    reward      the contract: `load`, `score`       extractor  the contract: `prepare`, `features`
    loader      device, dtype, weights; nothing twice    encoders  CLIP, shared by many rewards
    vision_language  a Qwen2-VL with heads, shared by many rewards
    onnx        networks in ONNX files              text_reader  the text in an image
    scorer      several rewards as one: batches, errors, memory; `Scorer.stream` scores everything
    preparing   samples read and prepared in threads     batches  what is scored together
    checks      kinds, needs and returned scores         recovery  what an error means
    loaded      `create` and `scorer`, for Python        folder, items  files in, rows out
    verify      published scores, computed again         needs  prompts checked before generation

May import `rewardkit.errors`, `plugins`, `devices`, `records`, `media` and `weights`; knows no
particular reward. To add a reward, see `rewardkit.rewards`.
"""
