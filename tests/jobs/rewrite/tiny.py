"""A tiny random language model of a published class, saved as the Hub's repositories are laid out."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.jobs.caption.tiny import byte_tokenizer

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_writer(folder: Path, seed: int = 0) -> Path:
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, head_dim=8,
            num_attention_heads=2, num_key_value_heads=1, eos_token_id=2, pad_token_id=0, bos_token_id=1,
        )
    )  # fmt: skip
    torch.nn.init.normal_(model.get_input_embeddings().weight)  # at 0.02 the answer hardly hears the question
    model.generation_config.exponential_decay_length_penalty = (16, 4.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
