"""Networks that answer in words: a causal language model of transformers with its tokenizer."""

from __future__ import annotations

from typing import Any

from vedit.models.pretrained import at_work, find, identity, loaded, quiet, told_of


class Writer:
    """A network that is ready. known: what it is, for records."""

    def __init__(self, network: Any, tokenizer: Any, known: dict[str, Any]) -> None:
        self.network, self.tokenizer, self.known = network, tokenizer, known

    def ask(self, system: str, text: str, *, most_tokens: int = 512) -> str:
        """What it answers: the likeliest words, never drawn, so the same each time. Raises ModelError."""
        import torch

        with at_work(str(self.known["model"])), torch.inference_mode():
            inputs = self._inputs(system, text).to(self.network.device)
            ids = self.network.generate(
                **inputs,
                max_new_tokens=most_tokens,
                do_sample=False,
                num_beams=1,
                pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id,
            )
            written = ids[0, inputs["input_ids"].shape[1] :]
            answer: str = self.tokenizer.decode(written, skip_special_tokens=True)
        return answer

    def _inputs(self, system: str, text: str) -> Any:
        """The question in the form that the model was trained on; one without a chat goes on with a text."""
        if not getattr(self.tokenizer, "chat_template", None):
            return self.tokenizer(f"{system}\n\n{text}\n\nAnswer: ", return_tensors="pt")
        # in one turn: the templates of some models refuse a system's
        prompt = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": f"{system}\n\n{text}"}],
            add_generation_prompt=True,
            tokenize=False,
            enable_thinking=False,  # of Qwen3; the templates of others do not read it
        )
        return self.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)


def open_writer(
    name: str, revision: str | None = None, *, device: str = "auto", dtype: str = "auto", again: str = ""
) -> Writer:
    """Load a language model from a folder or from the Hub. Raises ModelError."""
    import transformers

    from vedit.models.place import choose_device, choose_dtype

    place = choose_device(device)
    folder = find(name, revision, again)
    quiet()
    with told_of(name):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    network = loaded(transformers.AutoModelForCausalLM, name, folder, place, choose_dtype(dtype, place))
    return Writer(network, tokenizer, identity(name, folder))
