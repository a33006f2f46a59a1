"""Networks that see pictures and answer in words: a model of transformers with its processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vedit.errors import ModelError
from vedit.models.pretrained import at_work, find, identity, loaded, quiet, told_of
from vedit.plain import one_line

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 2000  # characters of an answer that are kept


class Reader:
    """A network that is ready, with what prepares its input. known: what it is, for records."""

    def __init__(self, network: Any, processor: Any, known: dict[str, Any]) -> None:
        self.network, self.processor, self.known = network, processor, known

    @property
    def name(self) -> str:
        return str(self.known["model"])

    @property
    def talks(self) -> bool:
        """Whether it is asked in words, as a chat."""
        return bool(getattr(self.processor, "chat_template", None))

    def asked(self, text: str, pictures: Sequence[Image], **how: Any) -> str:
        """What it answers to a question about pictures, the likeliest words. Raises ModelError."""
        shown: list[dict[str, str]] = [{"type": "image"} for _ in pictures]
        content = [*shown, {"type": "text", "text": text}]
        with at_work(self.name):
            prompt = self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
            inputs = self.processor(text=[prompt], images=[list(pictures)], return_tensors="pt")
        return self.answer(inputs, **how)

    def of(self, **media: Any) -> Any:
        """What its processor makes of pictures and words. Raises ModelError."""
        with at_work(self.name):
            return self.processor(**media, return_tensors="pt")

    def answer(
        self, inputs: Any, *, most_tokens: int = 256, beams: int = 1, may_be_empty: bool = False
    ) -> str:
        """The words that it writes: greedy, or by beams; never drawn, so the same each time.

        Raises ModelError, also where there are none, unless it may be empty.
        """
        import torch

        inputs = inputs.to(self.network.device, self.network.dtype)
        with at_work(self.name), torch.inference_mode():
            ids = self.network.generate(
                **inputs, max_new_tokens=most_tokens, do_sample=False, num_beams=beams
            )
            # a decoder that goes on writing gives the question back first
            goes_on = "input_ids" in inputs and not self.network.config.is_encoder_decoder
            written = ids[:, inputs["input_ids"].shape[1] :] if goes_on else ids
            text = self.processor.batch_decode(written, skip_special_tokens=True)[0]
        words = one_line(text.replace("\ufffd", " "))[:LONGEST]
        if not words and not may_be_empty:
            raise ModelError(
                f"{self.name} answers without words.",
                "Some conversions of a captioner do; a caption is never made up.",
                "Try another checkpoint of it",
            )
        return words


def open_reader(
    name: str,
    revision: str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    again: str = "",
    kind: str = "AutoModelForImageTextToText",
) -> Reader:
    """Load a reader from a folder or from the Hub. kind: a class of transformers. Raises ModelError."""
    import transformers

    from vedit.models.place import choose_device, choose_dtype

    place = choose_device(device)
    folder = find(name, revision, again)
    quiet()
    with told_of(name):
        processor = transformers.AutoProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    network = loaded(getattr(transformers, kind), name, folder, place, choose_dtype(dtype, place))
    return Reader(network, processor, identity(name, folder))
