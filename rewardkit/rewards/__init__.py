"""The zoo: one file is one family of rewards.

Every module here is imported when the registry is first asked for names, so none loads torch, cv2
or a network at import. To add a family: CONTRIBUTING.md, "Add a reward".
"""
