"""A BERT of a dozen words, made on the spot, so that no test needs a download."""

from __future__ import annotations

from pathlib import Path

from recsys_core import text

WORDS = ("robot", "space", "alien", "love", "kiss", "wedding", "night", "day", "red", "blue", ";", ".")


def tiny_bert(folder: Path, *, dim: int = 16, layers: int = 2, seed: int = 0, dropout: float = 0.1) -> str:
    """A randomly initialised BERT with a WordPiece vocabulary of a dozen words, saved to `folder`; its name for a config."""
    import torch
    import transformers
    from transformers import BertConfig, BertModel, BertTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    sizes = {"hidden_size": dim, "intermediate_size": 2 * dim, "num_hidden_layers": layers, "num_attention_heads": 2}
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    with torch.random.fork_rng(devices=[]), text.quiet():
        torch.manual_seed(seed)
        config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, initializer_range=0.3, **sizes, **rates)
        BertModel(config).save_pretrained(folder)
    if int(transformers.__version__.partition(".")[0]) < 5:
        words = folder / "words.txt"
        words.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        tokenizer = BertTokenizerFast(vocab_file=str(words))
    else:
        tokenizer = BertTokenizerFast(vocab={w: n for n, w in enumerate(vocabulary)})
    tokenizer.save_pretrained(folder)
    return str(folder)
