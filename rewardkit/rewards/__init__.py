"""The zoo: one file is one family of rewards.

Every module here is imported when the registry is first asked for names, so none loads torch, cv2
or a network at import. To add a family, copy the file that is nearest:

    pixels           a number measured on each image            motion  the same for videos
    clip             the features of a shared encoder           laion_aesthetic  a head on them
    imagereward      a network of its own that reads the prompt with the image
    frame_means      the mean of a picture reward over the frames of a clip
    raft             a network of its own for pairs of frames
    geneval          a detector, and the keys of the prompt's line
    clip_checkpoint  rewards that are named by their weights, without registration
    win_rate         rewards that compare the samples of a group, by any other reward
    videoalign       a vision-language model with several heads    hpsv3  the same with one
    judge            a service that is called, with an endpoint
    safety           a network in an ONNX file that a package carries
    ocr              what a library reads in an image, and the text that the prompt quotes

A head on a Qwen2-VL copies `videoalign`: its `Questionnaire` says what is looked at and asked, and
`engine.vision_language` does the rest in one forward. Another vision-language model is an
`Extractor` whose `prepare(sample)` fills the chat template with the prompt and the frames, and
whose `features` runs one forward for all heads: tests/vision_language_judge.py is a whole one, and
small. A reward that compares with a source image or a first frame names it in `needs_references`,
and reads `sample.references`.
"""
