"""GGUF files: what stands in them, by readers that are not ours, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_checkpoints import qwen_sized_model, tiny_config
from transformers import AutoModelForCausalLM

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.checkpoints import CheckpointError
from mobile_videogpt.checkpoints.files import LazyTensor
from mobile_videogpt.checkpoints.gguf_file import GGUF_TYPES, write_gguf
from mobile_videogpt.checkpoints.language_model import language_model_of, open_language_model

gguf = pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def source():
    return open_language_model("moving-shapes")


def fields_of(path) -> dict:
    reader = gguf.GGUFReader(path)
    return {name: field.contents() for name, field in reader.fields.items()}


@pytest.mark.parametrize("kind", GGUF_TYPES)
def test_every_tensor_is_there_and_close_to_its_weights(source, tmp_path, kind):
    report = write_gguf(source, tmp_path / "model.gguf", kind)
    assert report.num_bytes == report.path.stat().st_size
    assert sum(report.tensors.values()) == len(source.tensors)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(report.path).tensors}
    down = source.tensors["model.layers.2.mlp.down_proj.weight"].load().float().numpy()
    written = tensors["blk.2.ffn_down.weight"]
    assert written.tensor_type.name == GGUF_TYPES[kind].matrices
    values = gguf.quants.dequantize(written.data, written.tensor_type)
    assert values.shape == down.shape
    # A block of 32 is cut into 16 or 256 steps between its extremes.
    step = {"f32": 0, "f16": 0, "bf16": 2**-8, "q8_0": 1 / 127, "q4_0": 1 / 8}[kind]
    assert np.abs(values - down).max() <= step * np.abs(down).max()
    bias = tensors["blk.0.attn_q.bias"]
    assert bias.tensor_type.name == "F32"
    wanted = source.tensors["model.layers.0.self_attn.q_proj.bias"].load().float().numpy()
    assert np.array_equal(bias.data, wanted)


def test_sizes_are_those_of_the_config(source, tmp_path):
    fields = fields_of(write_gguf(source, tmp_path / "model.gguf").path)
    assert fields["general.architecture"] == "qwen2"
    config = source.config
    assert fields["qwen2.block_count"] == config.num_hidden_layers
    assert fields["qwen2.embedding_length"] == config.hidden_size
    assert fields["qwen2.feed_forward_length"] == config.intermediate_size
    assert fields["qwen2.attention.head_count"] == config.num_attention_heads
    assert fields["qwen2.attention.head_count_kv"] == config.num_key_value_heads
    assert fields["qwen2.rope.freq_base"] == 10000.0
    assert fields["qwen2.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)
    assert fields["qwen2.context_length"] == 2048
    # Words are no tokenizer that llama.cpp knows: it is told the number of tokens only.
    assert fields["tokenizer.ggml.model"] == "no_vocab"
    assert fields["qwen2.vocab_size"] == 192


def test_qwens_tokenizer_is_written_whole(qwen_tokenizer_folder, tmp_path):
    model, processor = qwen_sized_model(qwen_tokenizer_folder)
    source = language_model_of(model, processor, "tiny")
    fields = fields_of(write_gguf(source, tmp_path / "model.gguf").path)
    assert fields["tokenizer.ggml.model"] == "gpt2"
    assert fields["tokenizer.ggml.pre"] == "qwen2"
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert len(tokens) == len(kinds) == 151936
    assert tokens[151645] == "<|im_end|>" and kinds[151645] == gguf.TokenType.CONTROL
    assert tokens[151656] == "<|video_pad|>" and kinds[151656] == gguf.TokenType.CONTROL
    assert tokens[151657] == "<tool_call>" and kinds[151657] == gguf.TokenType.USER_DEFINED
    assert kinds[151935] == gguf.TokenType.UNUSED
    hello = processor.tokenizer("hello", add_special_tokens=False)["input_ids"]
    assert [tokens[index] for index in hello] == ["hello"]
    assert len(fields["tokenizer.ggml.merges"]) == 151387
    assert fields["tokenizer.ggml.merges"][0] == "Ġ Ġ"
    assert fields["tokenizer.ggml.eos_token_id"] == 151645
    assert not fields["tokenizer.ggml.add_bos_token"]
    assert "You are a helpful assistant." in fields["tokenizer.chat_template"]


@pytest.mark.parametrize(("kind", "at_least"), [("f16", 1.0), ("q8_0", 0.98)])
def test_transformers_reads_the_file_and_says_the_same(source, clip_file, tmp_path, kind, at_least):
    """Greedy tokens, each predicted after the whole model's own answer so far."""
    write_gguf(source, tmp_path / "model.gguf", kind)
    plain = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="model.gguf", dtype=torch.float32
    )
    chat = VideoChat(engine="torch")
    same = total = 0
    for question in ("What happens in the video?", "How many objects are there?"):
        embeds, _ = chat.prompt_embeds(clip_file, question)
        answer = chat.processor.tokenizer(str(chat.ask(clip_file, question)))["input_ids"]
        said = chat.model.get_input_embeddings()(torch.tensor(answer)).detach()
        with torch.no_grad():
            logits = plain(inputs_embeds=torch.cat([embeds, said])[None]).logits[0]
        predicted = logits[len(embeds) - 1 :].argmax(-1).tolist()
        wanted = [*answer, chat.end_token_ids[0]]
        same += sum(ours == theirs for ours, theirs in zip(wanted, predicted, strict=True))
        total += len(wanted)
    assert total > 10 and same >= at_least * total


def test_rows_that_are_no_whole_blocks_stay_half_precision(tmp_path):
    from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration

    config = tiny_config()
    model = MobileVideoGPTForConditionalGeneration(config)
    held = language_model_of(model, VideoChat.random("moving-shapes").processor, "tiny")
    report = write_gguf(held, tmp_path / "model.gguf", "q4_0")
    # 32 wide: blocks. The way back from 48 has rows of 48: none.
    assert report.tensors["F16"] == config.text_config.num_hidden_layers
    assert report.tensors["Q4_0"] == 6 * config.text_config.num_hidden_layers


def test_a_file_that_differs_from_the_weights_is_not_kept(source, tmp_path):
    name = "model.layers.1.self_attn.v_proj.weight"
    readings = iter([torch.ones(64, 128), torch.full((64, 128), 1.01)])
    broken = LazyTensor((64, 128), lambda: next(readings))
    damaged = replace(source, tensors={**source.tensors, name: broken})
    with pytest.raises(CheckpointError, match=r"blk\.1\.attn_v\.weight in F16 differs .* by 0\.00"):
        write_gguf(damaged, tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_and_an_unknown_type_are_refused(source, tmp_path):
    path = tmp_path / "model.gguf"
    with pytest.raises(CheckpointError, match=r"'q5' is unknown; choose one of f32, bf16, f16"):
        write_gguf(source, path, "q5")
    path.write_bytes(b"mine")
    with pytest.raises(CheckpointError, match="exists already"):
        write_gguf(source, path)
    assert path.read_bytes() == b"mine"


def test_positions_that_gguf_would_not_carry_are_refused(source, tmp_path):
    config = type(source.config)(**source.config.to_dict())
    config.rope_parameters = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}
    with pytest.raises(CheckpointError, match="rope_type 'yarn'"):
        write_gguf(replace(source, config=config), tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_llama_cpp_cuts_text_as_qwens_tokenizer_does(qwen_tokenizer_folder, tmp_path):
    llama_cpp = pytest.importorskip("llama_cpp")
    model, processor = qwen_sized_model(qwen_tokenizer_folder)
    path = write_gguf(language_model_of(model, processor, "tiny"), tmp_path / "model.gguf").path
    reader = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    for text in (
        "Naïve 12 cafés, isn't it? 你好\n\n  x",
        "<|im_start|>user\nWhat happens?<|im_end|>\n",
        "1234 + 5678 =\tfoo_bar\r\n WE'LL 😀",
    ):
        ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert reader.tokenize(text.encode(), add_bos=False, special=True) == ids
