// Checkpoints that torch.save wrote hold what their safetensors twins hold, wherever those are taken (tests/io/torch,
// made by tools/make_torch_corpus.py).
#include <gtest/gtest.h>

#include "frontend/checkpoint_testing.h"
#include "frontend/decoder.h"
#include "frontend/picture_checkpoint.h"
#include "text/tokenizer.h"

namespace lathe::frontend {
namespace {

namespace fs = std::filesystem;

const fs::path kTests = LATHE_TESTS_DIR;

std::vector<std::byte> bytes_of(const tensor::SourcePtr& source) {
  std::vector<std::byte> bytes(source->byte_size());
  source->read_rows(0, source->rows(), bytes);
  return bytes;
}

void expect_same(const TensorMap& expected, const TensorMap& found) {
  EXPECT_EQ(expected.size(), found.size());
  for (const auto& [name, source] : expected) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(found.contains(name));
    EXPECT_EQ(source->dims(), found.at(name)->dims());
    EXPECT_TRUE(bytes_of(source) == bytes_of(found.at(name)));
  }
}

void expect_same(const PictureCheckpoint& expected, const PictureCheckpoint& found) {
  ASSERT_EQ(expected.components().size(), found.components().size());
  for (const auto& [role, component] : expected.components()) {
    SCOPED_TRACE(role);
    ASSERT_TRUE(found.components().contains(role));
    EXPECT_EQ(component.config, found.components().at(role).config);
    expect_same(component.tensors, found.components().at(role).tensors);
  }
}

TEST(TorchCheckpoints, ASingleFileInItsTrainingForm) {
  const fs::path file = kTests / "io/torch/sd15.ckpt";
  ASSERT_TRUE(PictureCheckpoint::recognises(file));
  expect_same(PictureCheckpoint::open(kTests / "pictures/single/sd15.safetensors"), PictureCheckpoint::open(file));
}

TEST(TorchCheckpoints, APartOfADiffusersFolder) {
  const TemporaryFolder folder;
  fs::copy(kTests / "pictures/lcm", folder.path(), fs::copy_options::recursive);
  fs::remove(folder.path() / "vae/diffusion_pytorch_model.safetensors");
  fs::copy(kTests / "io/torch/lcm_vae.bin", folder.path() / "vae/diffusion_pytorch_model.bin");
  expect_same(PictureCheckpoint::open(kTests / "pictures/lcm"), PictureCheckpoint::open(folder.path()));
}

TEST(TorchCheckpoints, ALanguageModel) {
  const TemporaryFolder folder;
  const fs::path twin = kTests / "arch/llama_mha_tied";
  fs::copy(twin / "config.json", folder.path());
  fs::copy(kTests / "io/torch/llama_mha_tied.bin", folder.path() / "pytorch_model.bin");
  const Checkpoint found = Checkpoint::open(folder.path()), expected = Checkpoint::open(twin);
  for (const std::string& name : expected.tensor_names()) {
    EXPECT_TRUE(bytes_of(expected.find_tensor(name)) == bytes_of(found.find_tensor(name))) << name;
  }
  build_decoder(found, natural_dtype(found));
}

// Meta's own form of a Llama, in two shards (tests/frontend/meta, made by tools/make_meta_fixture.py).
TEST(TorchCheckpoints, AMetaFolder) {
  const fs::path folder = kTests / "frontend/meta";
  ASSERT_TRUE(Checkpoint::recognises(folder));
  const Checkpoint found = Checkpoint::open(folder), expected = Checkpoint::open(folder / "hf");
  EXPECT_EQ(found.tensor_names(), expected.tensor_names());
  for (const std::string& name : expected.tensor_names()) {
    SCOPED_TRACE(name);
    const tensor::SourcePtr source = found.find_tensor(name);
    ASSERT_EQ(source->dims(), expected.find_tensor(name)->dims());
    EXPECT_TRUE(bytes_of(expected.find_tensor(name)) == bytes_of(source));
    if (source->dims().size() != 2) continue;
    // Columns across the border between the shards.
    std::vector<std::byte> part(2 * 3 * 4), twin(part.size());
    source->read_part(5, 3, source->row_elements() / 2 - 2, 4, part);
    expected.find_tensor(name)->read_part(5, 3, source->row_elements() / 2 - 2, 4, twin);
    EXPECT_TRUE(part == twin);
  }
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "vocab_size",
        "num_hidden_layers", "rms_norm_eps", "tie_word_embeddings", "max_position_embeddings"}) {
    EXPECT_EQ(found.config()[key], expected.config()[key]) << key;
  }
  build_decoder(found, natural_dtype(found));
}

// Meta's folders have SentencePiece's file; so have some of Hugging Face's, where a tokenizer.json goes before it.
TEST(TorchCheckpoints, ATokenizerModelBecomesATokenizerJson) {
  const TemporaryFolder folder;
  fs::copy(kTests / "frontend/meta", folder.path());
  fs::copy(kTests / "text/sentencepiece/llama.model", folder.path() / "tokenizer.model");
  const Checkpoint found = Checkpoint::open(folder.path());
  EXPECT_EQ(found.config()["bos_token_id"], 1);
  EXPECT_EQ(found.config()["eos_token_id"], 2);
  const auto tokenizer = text::Tokenizer::from_text(found.assets().at("tokenizer.json"));
  EXPECT_EQ(tokenizer.vocab_size(), 600u);
  std::ofstream(folder.path() / "tokenizer.json") << "{}";
  EXPECT_EQ(Checkpoint::open(folder.path()).assets().at("tokenizer.json"), "{}");
  fs::remove(folder.path() / "tokenizer.json");
}

std::string problem_of(const fs::path& folder) {
  const Checkpoint found = Checkpoint::open(folder);
  EXPECT_FALSE(found.assets().contains("tokenizer.json"));
  EXPECT_EQ(build_decoder(found, natural_dtype(found)).contract.tokenizer_asset, "");
  return found.tokenizer_problem();
}

// The weights are whole whatever the tokenizer is.
TEST(TorchCheckpoints, ATokenizerModelThatCannotBeReadIsNamed) {
  const TemporaryFolder folder;
  fs::copy(kTests / "frontend/meta", folder.path());
  const fs::path file = folder.path() / "tokenizer.model";
  std::ofstream(folder.path() / "chat_template.jinja") << "{{ messages }}";
  std::ofstream(file) << "IQ== 0\nIg== 1\n";
  EXPECT_NE(problem_of(folder.path()).find("tokenizer.model: a file of tiktoken"), std::string::npos);
  std::ofstream(file) << "no protobuf";
  EXPECT_NE(problem_of(folder.path()), "");
  std::ofstream(file) << "";
  EXPECT_NE(problem_of(folder.path()), "");
  fs::remove(file);
  fs::copy(kTests / "text/sentencepiece/llama.model", file);
  fs::resize_file(file, 5000);
  EXPECT_NE(problem_of(folder.path()), "");
}

// Fine-tunes of Llama 2 have their tokens in files beside SentencePiece's.
TEST(TorchCheckpoints, TokensBesideATokenizerModel) {
  const TemporaryFolder folder;
  fs::copy(kTests / "frontend/meta", folder.path());
  fs::copy(kTests / "text/sentencepiece/llama.model", folder.path() / "tokenizer.model");
  std::ofstream(folder.path() / "added_tokens.json") << R"({"<|im_end|>": 601, "<|im_start|>": 600})";
  std::ofstream(folder.path() / "tokenizer_config.json") << R"({"add_bos_token": false})";
  const Checkpoint found = Checkpoint::open(folder.path());
  const auto tokenizer = text::Tokenizer::from_text(found.assets().at("tokenizer.json"));
  EXPECT_EQ(tokenizer.token_to_id("<|im_start|>"), 600);
  EXPECT_EQ(tokenizer.encode("<|im_start|><|im_end|>", true), (std::vector<int32_t>{600, 601}));
  std::ofstream(folder.path() / "added_tokens.json") << R"({"<|im_end|>": 602})";
  EXPECT_NE(problem_of(folder.path()).find("added_tokens.json: token 602 (\"<|im_end|>\")"), std::string::npos);
}

TEST(TorchCheckpoints, AMetaFolderWithoutAShard) {
  const TemporaryFolder folder;
  fs::copy(kTests / "frontend/meta", folder.path());
  fs::remove(folder.path() / "consolidated.01.pth");
  EXPECT_THROW(build_decoder(Checkpoint::open(folder.path()), tensor::DType::f32), Error);
  std::ofstream(folder.path() / "params.json") << R"({"dim": 32, "n_layers": 2, "n_heads": 5, "norm_eps": 1e-5})";
  EXPECT_THROW(Checkpoint::open(folder.path()), Error);
}

// A pickle that would run a program, wherever it stands.
TEST(TorchCheckpoints, MaliciousPicklesAreRefused) {
  const TemporaryFolder folder;
  const fs::path hostile = kTests / "io/corpus/torch/bad_os_system";
  fs::copy(hostile, folder.path() / "model.ckpt");
  const auto expect_refusal = [](const std::function<void()>& open) {
    try {
      open();
      ADD_FAILURE() << "was read";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      EXPECT_NE(std::string(error.what()).find("posix.system"), std::string::npos) << error.what();
    }
  };
  expect_refusal([&] { PictureCheckpoint::recognises(folder.path() / "model.ckpt"); });
  fs::copy(kTests / "pictures/lcm", folder.path() / "lcm", fs::copy_options::recursive);
  fs::remove(folder.path() / "lcm/vae/diffusion_pytorch_model.safetensors");
  fs::copy(hostile, folder.path() / "lcm/vae/diffusion_pytorch_model.bin");
  expect_refusal([&] { PictureCheckpoint::open(folder.path() / "lcm"); });
  fs::copy(kTests / "arch/llama_mha_tied/config.json", folder.path());
  fs::copy(hostile, folder.path() / "pytorch_model.bin");
  expect_refusal([&] { Checkpoint::open(folder.path()); });
}

}  // namespace
}  // namespace lathe::frontend
