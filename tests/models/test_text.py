"""Captions to tokens."""

import pytest
import torch

from geometry.errors import InputError
from worldgen.models.text import HubEncoder, TextConfig, TextEncoder, WordEncoder, _pieces, words_of


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder(32, 12).requires_grad_(False)


def test_words_are_lower_case_and_numbers_count() -> None:
    assert words_of("Two red cars, at night (12 m).") == ["two", "red", "cars", "at", "night", "12", "m"]


def test_the_same_caption_says_the_same_in_any_batch_and_another_says_something_else(encoder: WordEncoder) -> None:
    assert isinstance(encoder, TextEncoder)
    captions = ["a red ball", "a blue ball on a long wooden table", "ball red a"]
    tokens, mask = encoder.encode(captions)
    assert tokens.shape == (3, 8, 32) and mask.sum(1).tolist() == [3, 8, 3]
    alone, _ = encoder.encode(captions[:1])
    assert torch.allclose(tokens[0, :3], alone[0], atol=1e-5)
    assert (tokens[0, :3] - tokens[1, :3]).abs().amax() > 1e-2
    assert torch.equal(encoder.encode([captions[0].upper()])[0], alone)


def test_unseen_words_that_share_letters_are_near(encoder: WordEncoder) -> None:
    def word(text: str) -> torch.Tensor:
        return encoder.table(torch.tensor(_pieces(text))).mean(0)

    near, far = (torch.cosine_similarity(word("motorcycle"), word(other), 0) for other in ("motorcycles", "banana"))
    assert near > 0.6 > 0.3 > far


def test_empty_captions_have_no_token_and_long_ones_are_cut(encoder: WordEncoder) -> None:
    tokens, mask = encoder.encode(["", "..."])
    assert not mask.any() and bool(tokens.isfinite().all())
    tokens, mask = encoder.encode(["word " * 40, ""])
    assert mask.sum(1).tolist() == [12, 0] and bool(tokens.isfinite().all())


def test_every_weight_that_is_read_learns() -> None:
    encoder = WordEncoder(32, 12)
    encoder.encode(["a red ball", "two"])[0].square().sum().backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    # A normalized token has a fixed square sum, but for what the last scale and shift make of it.
    assert "table.weight" not in silent and "place" not in silent


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "bert"}, {"kind": "words"}, {"kind": "none", "width": 8}, {"kind": "t5", "width": 8},
        {"kind": "words", "width": 8, "tokens": 0},
    ],
)  # fmt: skip
def test_text_that_cannot_be_read_is_refused_in_one_line(wrong: dict) -> None:
    with pytest.raises(InputError, match="expected") as caught:
        TextConfig(**wrong)
    assert "\n" not in str(caught.value)


def test_a_hub_encoder_without_transformers_or_a_network_says_what_to_do(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"worldgen\[text\]|offline") as caught:
        HubEncoder.load(TextConfig("t5", str(tmp_path / "none"), 64))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["t5", "clip"])
def test_t5_and_clip_are_read_through_transformers(kind: str, tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: n for n, word in enumerate(["<pad>", "</s>", "<unk>", "a", "red", "blue", "ball"])}
    base = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    base.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=base, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    if kind == "t5":
        config = transformers.T5Config(vocab_size=8, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
        transformers.T5EncoderModel(config).save_pretrained(tmp_path)
    else:
        config = transformers.CLIPTextConfig(
            vocab_size=8, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            eos_token_id=1, bos_token_id=2, pad_token_id=0, max_position_embeddings=20,
        )  # fmt: skip
        transformers.CLIPTextModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = HubEncoder.load(TextConfig(kind, str(tmp_path), 16, tokens=8))
    tokens, mask = encoder.encode(["a red ball", "a ball", ""])
    assert tokens.shape == (3, 3, 16) and mask.sum(1).tolist() == [3, 2, 0]
    assert torch.allclose(encoder.encode(["a ball"])[0], tokens[1:2, :2], atol=1e-5)
    assert (tokens[0, :2] - tokens[1, :2]).abs().amax() > 1e-3 and not tokens.requires_grad
    with pytest.raises(InputError, match="of width 16; the model expects 24"):
        HubEncoder.load(TextConfig(kind, str(tmp_path), 24))
