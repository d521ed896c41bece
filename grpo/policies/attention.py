"""Names of attention layers that several families share, for their LoRA targets."""

#: Joint attention to pixels and text: yifan123/flow_grpo scripts/train_sd3.py.
JOINT_ATTENTION = (
    "attn.to_q",
    "attn.to_k",
    "attn.to_v",
    "attn.to_out.0",
    "attn.add_q_proj",
    "attn.add_k_proj",
    "attn.add_v_proj",
    "attn.to_add_out",
)
