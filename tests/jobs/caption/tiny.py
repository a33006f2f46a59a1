"""Tiny random captioners of the published classes, saved as the Hub's repositories are laid out."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch

LETTERS = {*string.ascii_lowercase, "red", "star", "dog", "runs"}
WORDS = "a the of in on red blue green cat dog star circle background runs moves what does image describe"


def byte_tokenizer(specials: list[str]) -> Any:
    """A byte-level BPE without merges, as GPT-2's and BART's are built."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: place for place, word in enumerate([*specials, *letters])}
    made = Tokenizer(models.BPE(vocabulary, [], unk_token=None))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.add_special_tokens([AddedToken(word, special=True) for word in specials])
    return made


def chatty(model: Any, tokenizer: Any) -> None:
    """Let a random network write a few letters, and then end."""
    settings, count = model.generation_config, len(tokenizer)
    said = [place for place in range(count) if tokenizer.convert_ids_to_tokens(place).lower() in LETTERS]
    kept = {*said, settings.eos_token_id}
    settings.suppress_tokens = [place for place in range(count) if place not in kept]
    settings.min_new_tokens, settings.exponential_decay_length_penalty = 4, (4, 4.0)


def save_florence2(folder: Path, seed: int = 0) -> Path:
    from transformers import (
        BartConfig,
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
        PreTrainedTokenizerFast,
    )

    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<image>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(specials), bos_token="<s>", pad_token="<pad>", eos_token="</s>",
        unk_token="<unk>", mask_token="<mask>", extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    size = {"height": 64, "width": 64}
    pictures = CLIPImageProcessor(size=size, crop_size=size, do_center_crop=False)
    pictures.image_seq_length = 5  # of a map of 2x2: all places, and their mean
    text = BartConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=256,
    )  # fmt: skip
    vision = {
        "depths": [1, 1, 1, 1], "embed_dim": [8, 8, 8, 8], "num_heads": [2, 2, 2, 2],
        "num_groups": [2, 2, 2, 2], "window_size": 4, "projection_dim": 16,
    }  # fmt: skip
    torch.manual_seed(seed)
    model = Florence2ForConditionalGeneration(
        Florence2Config(text_config=text.to_dict(), vision_config=vision, image_token_id=5)
    )
    chatty(model, tokenizer)
    model.save_pretrained(folder)
    Florence2Processor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def save_blip(folder: Path, seed: int = 0) -> Path:
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *WORDS.split()]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(words)})
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    text = {
        **sizes, "vocab_size": len(words), "encoder_hidden_size": 16, "projection_dim": 8,
        "bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0,
    }  # fmt: skip
    torch.manual_seed(seed)
    model = BlipForConditionalGeneration(
        BlipConfig(
            text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 16, "projection_dim": 8}
        )
    )
    chatty(model, tokenizer)
    model.save_pretrained(folder)
    pictures = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder


def save_smolvlm2(folder: Path, seed: int = 0) -> Path:
    from transformers import (
        PreTrainedTokenizerFast,
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    named = {
        "image_token": "<image>", "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>", "end_of_utterance_token": "<end_of_utterance>",
        "video_token": "<video>",
    }  # fmt: skip
    specials = ["<|endoftext|>", "<|im_start|>", *named.values()]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(specials), bos_token="<|im_start|>", eos_token="<end_of_utterance>",
        pad_token="<|endoftext|>", unk_token="<|endoftext|>", extra_special_tokens=named,
    )  # fmt: skip
    small = {"longest_edge": 32}
    template = (
        "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}: {% for line in"
        " message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}{% elif line['type'] == 'image'"
        " %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt"
        " %}{{ 'Assistant:' }}{% endif %}"
    )
    processor = SmolVLMProcessor(
        SmolVLMImageProcessor(size=small, max_image_size=small, do_image_splitting=False),
        tokenizer,
        SmolVLMVideoProcessor(
            size=small, max_image_size=small, do_sample_frames=True,
            video_sampling={"fps": 1, "max_frames": 64, "video_size": small},
        ),
        image_seq_len=4,
        chat_template=template,
    )  # fmt: skip
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    ids = {
        name: tokenizer.convert_tokens_to_ids(word)
        for name, word in (
            ("pad_token_id", "<|endoftext|>"),
            ("bos_token_id", "<|im_start|>"),
            ("eos_token_id", "<end_of_utterance>"),
        )
    }
    config = SmolVLMConfig(
        text_config={
            "model_type": "llama",
            **sizes,
            "num_key_value_heads": 2,
            "vocab_size": len(tokenizer),
            "head_dim": 8,
            **ids,
        },
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=ids["pad_token_id"],
    )
    torch.manual_seed(seed)
    model = SmolVLMForConditionalGeneration(config)
    chatty(model, tokenizer)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
