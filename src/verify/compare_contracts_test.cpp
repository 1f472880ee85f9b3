#include "verify/compare_contracts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "plan/sample_plan.h"
#include "text/tokenizer.h"

namespace lathe::verify {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// An engine with a contract and a tokenizer; its plan is never run.
class Contracts : public testing::Test {
 protected:
  void TearDown() override {
    for (const fs::path& path : written_) fs::remove(path);
  }

  std::shared_ptr<const plan::EngineFile> engine(const contract::Contract& contract, const std::string& tokenizer) {
    written_.push_back(fs::path(testing::TempDir()) /
                       fmt::format("lathe_contract_{}_{}.lathe", ::getpid(), written_.size()));
    plan::EngineWriter writer(written_.back());
    plan::Manifest manifest = plan::sample_manifest();
    for (plan::Constant& constant : manifest.plan.constants) {
      constant.offset = writer.allocate(constant.bytes);
      writer.write(constant.offset, std::vector<std::byte>(size_t(constant.bytes)));
    }
    manifest.contract = contract;
    if (!tokenizer.empty()) manifest.assets = {writer.add_asset("tokenizer.compiled", compiled(tokenizer))};
    writer.finish(manifest);
    writer.commit();
    return plan::EngineFile::open(written_.back());
  }

  static std::string compiled(const std::string& json) { return text::Tokenizer::from_text(json).serialize(); }
  static std::string file(const std::string& name) {
    return read_text_file(fs::path(LATHE_TESTS_DIR) / "text" / "tokenizers" / (name + ".json"));
  }

  std::vector<std::string> differences(const std::string& a, const std::string& b) {
    return contract_differences(*engine(plan::sample_contract(), a), *engine(plan::sample_contract(), b));
  }

  std::vector<fs::path> written_;
};

TEST_F(Contracts, OriginAndOrderMeanNothing) {
  contract::Contract a = plan::sample_contract();
  a.eos_ids = {1, 3};
  contract::Contract b = a;
  b.eos_ids = {3, 1};
  b.name = "b";
  b.source = "elsewhere";
  b.licence = "mit";
  b.generation.top_k = 7;
  EXPECT_THAT(contract_differences(*engine(a, ""), *engine(b, "")), IsEmpty());
}

TEST_F(Contracts, EveryFieldThatMeansSomethingIsNamed) {
  contract::Contract a = plan::sample_contract();
  contract::Contract b = a;
  b.eos_ids = {1, 2};
  b.bos_id = 4;
  b.context_length = 32;
  EXPECT_THAT(contract_differences(*engine(a, ""), *engine(b, "")),
              testing::UnorderedElementsAre("eos_ids: [1] against [1,2]", "bos_id: null against 4",
                                            "context_length: 64 against 32"));
}

TEST_F(Contracts, TokenizersAreComparedByWhatTheyDo) {
  const std::string gpt2 = file("gpt2");
  EXPECT_THAT(differences(gpt2, gpt2), IsEmpty());
  EXPECT_THAT(differences(gpt2, ""), ElementsAre(HasSubstr("only A has one")));
  EXPECT_THAT(differences(gpt2, file("llama3")), ElementsAre(HasSubstr("tokenizer: token ")));

  // The same vocabulary, cut into words in another way.
  Json other = Json::parse(gpt2);
  ASSERT_TRUE(other["pre_tokenizer"]["use_regex"]);
  other["pre_tokenizer"]["use_regex"] = false;
  EXPECT_THAT(differences(gpt2, other.dump()), ElementsAre(HasSubstr("they differ from place")));
}

}  // namespace
}  // namespace lathe::verify
