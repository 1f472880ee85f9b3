// One node of a plan broken on purpose: verification must fail, and name that node and no other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/error.h"
#include "base/fields.h"
#include "compiler/build.h"
#include "frontend/decoder.h"
#include "verify/verify.h"

namespace lathe::verify {
namespace {

namespace fs = std::filesystem;

class BrokenNode : public testing::Test {
 protected:
  fs::path sound_ = fs::temp_directory_path() / fmt::format("lathe_sound_{}.lathe", ::getpid());
  fs::path broken_ = fs::temp_directory_path() / fmt::format("lathe_broken_{}.lathe", ::getpid());

  void SetUp() override { build("llama_gqa"); }

  void build(const std::string& name) {
    const auto checkpoint = frontend::Checkpoint::open(fs::path(LATHE_TESTS_DIR) / "arch" / name);
    const ir::Model model = frontend::build_decoder(checkpoint, frontend::natural_dtype(checkpoint));
    compiler::PreparedBuild(model, {}).write(sound_);
  }
  void TearDown() override {
    fs::remove(sound_);
    fs::remove(broken_);
  }

  using ChangeBytes = std::function<void(const plan::Constant&, std::vector<std::byte>&)>;

  // The same graph text with another manifest, or other weights: sound by every hash.
  void rewrite(const std::function<void(plan::Manifest&)>& change, const ChangeBytes& change_bytes = {}) {
    const auto engine = plan::EngineFile::open(sound_);
    plan::Manifest manifest = engine->manifest();
    plan::EngineWriter writer(broken_);
    for (plan::Constant& constant : manifest.plan.constants) {
      const auto bytes = engine->constant(constant);
      constant.offset = writer.allocate(constant.bytes);
      std::vector<std::byte> copy(bytes.begin(), bytes.end());
      if (change_bytes) change_bytes(constant, copy);
      writer.write(constant.offset, copy);
    }
    manifest.assets.clear();
    change(manifest);
    writer.finish(manifest);
    writer.commit();
  }

  // One attribute of one instruction changed.
  void break_instruction(const std::string& op, const std::string& name, const std::string& attribute, double value) {
    int changed = 0;
    rewrite([&](plan::Manifest& manifest) {
      for (plan::Instruction& instruction : manifest.plan.instructions) {
        if (instruction.op != op || instruction.name != name) continue;
        instruction.attributes.set(attribute, value);
        ++changed;
      }
    });
    ASSERT_EQ(changed, 1);
  }
};

TEST_F(BrokenNode, SoundEnginePasses) {
  const plan::Receipt receipt = verify_engine(sound_, {});
  EXPECT_TRUE(receipt.pass) << describe(receipt);
  EXPECT_FALSE(receipt.first_difference);
}

TEST_F(BrokenNode, WrongAttentionScaleIsNamed) {
  break_instruction("lathe.PagedAttention", "layers.1.attention", "scale", 0.3);
  const plan::Receipt receipt = verify_engine(broken_, {});
  EXPECT_FALSE(receipt.pass);
  ASSERT_TRUE(receipt.first_difference);
  EXPECT_EQ(receipt.first_difference->node, "layers.1.attention");
}

TEST_F(BrokenNode, WrongNormEpsilonIsNamed) {
  // The norm is fused into the product that follows it, so the first tensor both sides have is that product's.
  break_instruction("lathe.Linear", "head", "epsilon", 0.5);
  const plan::Receipt receipt = verify_engine(broken_, {});
  EXPECT_FALSE(receipt.pass);
  ASSERT_TRUE(receipt.first_difference);
  EXPECT_EQ(receipt.first_difference->tensor, "logits");
}

TEST_F(BrokenNode, SoundEnginePassesInFull) {
  VerifyOptions options;
  options.full = true;
  const plan::Receipt receipt = verify_engine(sound_, options);
  EXPECT_TRUE(receipt.pass) << describe(receipt);
  EXPECT_FALSE(receipt.first_difference);
}

const plan::Gate& gate(const plan::Receipt& receipt, const std::string& name) {
  for (const plan::Gate& found : receipt.gates) {
    if (found.name == name) return found;
  }
  ADD_FAILURE() << "no gate \"" << name << "\" in\n" << describe(receipt);
  static const plan::Gate kNone;
  return kNone;
}

TEST_F(BrokenNode, AnEngineIsItself) {
  for (const bool full : {false, true}) {
    VerifyOptions options;
    options.full = full;
    const plan::Receipt receipt = compare_engines(sound_, sound_, options);
    EXPECT_TRUE(receipt.pass) << describe(receipt);
    EXPECT_FALSE(receipt.first_difference) << describe(receipt);
    EXPECT_EQ(gate(receipt, "A against B: tensors").value, 0);
    EXPECT_EQ(receipt.precision, "f32");
    EXPECT_FALSE(receipt.isa.empty());
  }
}

TEST_F(BrokenNode, DamagedWeightsFailTheStructureOfTheEngineThatHasThem) {
  fs::copy_file(sound_, broken_);
  {
    std::fstream file(broken_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(int64_t(plan::kWeightAlignment) + 100);
    file.put('\x55');
  }
  const plan::Receipt receipt = compare_engines(sound_, broken_, {});
  EXPECT_FALSE(receipt.pass);
  EXPECT_TRUE(gate(receipt, "0 structure and checksums of A").pass);
  EXPECT_FALSE(gate(receipt, "0 structure and checksums of B").pass);
}

TEST_F(BrokenNode, AnotherEndTokenIsAnotherModel) {
  rewrite([](plan::Manifest& manifest) { manifest.contract.eos_ids = {3, 4}; });
  const plan::Receipt receipt = compare_engines(sound_, broken_, {});
  EXPECT_FALSE(receipt.pass);
  const plan::Gate& contract = gate(receipt, "contract and tokenizer");
  EXPECT_EQ(contract.value, 1);
  EXPECT_THAT(contract.note, testing::HasSubstr("eos_ids"));
  EXPECT_TRUE(gate(receipt, "A against B: top-1").pass);  // the numbers are the same
  EXPECT_FALSE(receipt.first_difference);
}

TEST_F(BrokenNode, NamesAndSamplingDefaultsMayDifferOtherFieldsMayNot) {
  rewrite([](plan::Manifest& manifest) {
    manifest.contract.name = "another name";
    manifest.contract.generation.temperature = 0.5;
  });
  EXPECT_TRUE(compare_engines(sound_, broken_, {}).pass);
  rewrite([](plan::Manifest& manifest) { manifest.contract.pad_id = 5; });
  EXPECT_FALSE(compare_engines(sound_, broken_, {}).pass);
}

TEST_F(BrokenNode, StoredReceiptsKeepTheSourcesAndFailuresAreNotStored) {
  plan::Receipt built = verify_engine(sound_, {});
  built.sources = {{"model.safetensors", "00ff", 12}};
  plan::write_receipt(sound_, built);

  VerifyOptions options;
  options.full = true;
  plan::Receipt receipt = verify_engine(sound_, options);
  EXPECT_TRUE(store_receipt(sound_, receipt));
  const auto stored = plan::EngineFile::open(sound_)->receipt();
  ASSERT_TRUE(stored);
  ASSERT_EQ(stored->sources.size(), 1u);
  EXPECT_EQ(stored->sources[0].sha256, "00ff");
  EXPECT_EQ(stored->gates.size(), receipt.gates.size());

  plan::Receipt failed = receipt;
  failed.pass = false;
  EXPECT_FALSE(store_receipt(sound_, failed));
  EXPECT_EQ(failed.sources.size(), 1u);
  EXPECT_TRUE(plan::EngineFile::open(sound_)->receipt()->pass);
}

TEST_F(BrokenNode, ReceiptsSayHowTheyWereMade) {
  VerifyOptions options;
  options.threads = 1;
  options.isa = "avx2";
  const plan::Receipt receipt = verify_engine(sound_, options);
  ASSERT_TRUE(receipt.flags);
  EXPECT_FALSE(receipt.flags->full);
  EXPECT_EQ(receipt.flags->isa, "avx2");
  EXPECT_EQ(receipt.flags->threads, 1);
  EXPECT_EQ(receipt.flags->tokens, 64);
  EXPECT_EQ(receipt.flags->text_tokens, 0);  // the model has no tokenizer
  EXPECT_EQ(receipt.flags->text_sha256, "");
  EXPECT_THAT(describe(receipt), testing::HasSubstr("made with reduced input, --isa avx2, --threads 1; 64 tokens\n"));
}

plan::VerifyFlags flags(bool full, int64_t text_tokens = 0) {
  plan::VerifyFlags made;
  made.full = full;
  made.text_tokens = text_tokens;
  return made;
}

TEST_F(BrokenNode, StrongerReceiptsAreNotReplacedByWeakerOnes) {
  const auto put = [&](const std::optional<plan::VerifyFlags>& made, bool pass = true) {
    plan::Receipt receipt;
    receipt.pass = pass;
    receipt.engine_hash = plan::EngineFile::open(sound_)->hash();
    receipt.flags = made;
    plan::write_receipt(sound_, receipt);
  };
  const auto storable = [&](bool full) {
    VerifyOptions options;
    options.full = full;
    plan::Receipt receipt;
    receipt.pass = true;
    receipt.engine_hash = plan::EngineFile::open(sound_)->hash();
    receipt.flags = flags(full);
    const auto before = plan::EngineFile::open(sound_)->receipt();
    bool said = true;
    try {
      check_storable(*plan::EngineFile::open(sound_), options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      said = false;
    }
    if (said) return true;
    EXPECT_THROW(store_receipt(sound_, receipt), Error);  // the same without having asked
    EXPECT_EQ(to_json(*plan::EngineFile::open(sound_)->receipt()), to_json(*before));
    return false;
  };
  EXPECT_TRUE(storable(false));  // none yet
  put(flags(false));
  EXPECT_TRUE(storable(false));
  put(flags(true));
  EXPECT_FALSE(storable(false));
  EXPECT_TRUE(storable(true));
  put(flags(true), false);  // it proves nothing
  EXPECT_TRUE(storable(false));
  put({});  // of a program that did not say
  EXPECT_FALSE(storable(false));
  EXPECT_TRUE(storable(true));
  put(flags(false, 64));  // this model reads no text at all
  EXPECT_FALSE(storable(false));
  EXPECT_TRUE(storable(true));
}

TEST_F(BrokenNode, ReceiptsAreOfTheOwnPrecision) {
  VerifyOptions options;
  options.fp32 = true;
  EXPECT_NO_THROW(check_storable(*plan::EngineFile::open(sound_), options));  // its own is fp32
  rewrite([](plan::Manifest& manifest) { manifest.plan.kv = "f16"; });
  EXPECT_NO_THROW(check_storable(*plan::EngineFile::open(broken_), {}));
  EXPECT_THROW(check_storable(*plan::EngineFile::open(broken_), options), Error);
}

TEST_F(BrokenNode, NodesAreNamedWhereBothRoundToo) {
  build("llama_bf16");
  const plan::Receipt same = compare_engines(sound_, sound_, {});
  EXPECT_TRUE(same.pass) << describe(same);
  EXPECT_FALSE(same.first_difference);
  EXPECT_EQ(same.precision, "bf16");
  break_instruction("lathe.PagedAttention", "layers.1.attention", "scale", 3);
  const plan::Receipt receipt = compare_engines(sound_, broken_, {});
  EXPECT_FALSE(receipt.pass);
  ASSERT_TRUE(receipt.first_difference) << describe(receipt);
  EXPECT_EQ(receipt.first_difference->node, "layers.1.attention");
}

TEST_F(BrokenNode, NanInTheWeightsIsAFailedGate) {
  rewrite([](plan::Manifest&) {},
          [](const plan::Constant& constant, std::vector<std::byte>& bytes) {
            if (constant.name != "model.norm.weight") return;
            const float nan = std::nanf("");
            std::memcpy(bytes.data(), &nan, sizeof(nan));
          });
  const plan::Receipt compared = compare_engines(sound_, broken_, {});
  EXPECT_FALSE(compared.pass);
  EXPECT_FALSE(gate(compared, "1 no NaN or infinity: text").pass);
  EXPECT_THAT(gate(compared, "1 no NaN or infinity: text").note, testing::HasSubstr("B: "));
  const plan::Receipt receipt = verify_engine(broken_, {});
  EXPECT_FALSE(receipt.pass);
  EXPECT_FALSE(gate(receipt, "1 no NaN or infinity").pass);
  EXPECT_NO_THROW(to_json(compared));  // JSON has no NaN
  EXPECT_NO_THROW(to_json(receipt));
}

// Rounded weights are another model to the band of a precision; gate 3b holds them to what was allowed.
TEST_F(BrokenNode, QuantisedWeightsAreHeldToTheKlThatIsAllowed) {
  rewrite([](plan::Manifest&) {},
          [](const plan::Constant& constant, std::vector<std::byte>& bytes) {
            if (constant.name != "model.norm.weight") return;
            for (size_t at = 0; at + sizeof(float) <= bytes.size(); at += sizeof(float)) {
              float weight;
              std::memcpy(&weight, &bytes[at], sizeof weight);
              weight = std::nearbyint(weight * 4) / 4;
              std::memcpy(&bytes[at], &weight, sizeof weight);
            }
          });
  EXPECT_FALSE(compare_engines(broken_, sound_, {}).pass);
  VerifyOptions options;
  options.max_kl = 10;
  const plan::Receipt receipt = compare_engines(broken_, sound_, options);
  EXPECT_TRUE(receipt.pass) << describe(receipt);
  const plan::Gate& kl = gate(receipt, "3b A against B: mean KL");
  EXPECT_GT(kl.value, 1e-6);
  EXPECT_THAT(kl.note, testing::AllOf(testing::HasSubstr("99th percentile"), testing::HasSubstr("most likely token")));
  options.max_kl = kl.value / 2;
  EXPECT_FALSE(compare_engines(broken_, sound_, options).pass);
}

TEST_F(BrokenNode, ModelsOfOnePosition) {
  rewrite([](plan::Manifest& manifest) { manifest.contract.context_length = 1; });
  const plan::Receipt receipt = verify_engine(broken_, {});
  EXPECT_TRUE(receipt.pass) << describe(receipt);
  EXPECT_TRUE(compare_engines(broken_, broken_, {}).pass);
}

TEST_F(BrokenNode, UnknownIsaIsAUsageError) {
  VerifyOptions options;
  options.isa = "sse";
  EXPECT_THROW(compare_engines(sound_, sound_, options), Error);
  EXPECT_THROW(verify_engine(sound_, options), Error);
}

TEST_F(BrokenNode, ComparingTwoEnginesNamesTheFirstTensorThatDiffers) {
  break_instruction("lathe.PagedAttention", "layers.0.attention", "scale", 0.3);
  const plan::Receipt receipt = compare_engines(sound_, broken_, {});
  EXPECT_FALSE(receipt.pass);
  ASSERT_TRUE(receipt.first_difference);
  EXPECT_EQ(receipt.first_difference->node, "layers.0.attention");
}

}  // namespace
}  // namespace lathe::verify
