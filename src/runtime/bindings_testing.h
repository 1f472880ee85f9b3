// An engine bound to memory without a session, for the tests of this folder.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "runtime/program.h"
#include "runtime/sample_engine.h"

namespace lathe::runtime {

inline constexpr backend::Capacity kCapacity = {
    .tokens = 8, .outputs = 4, .sequences = 2, .blocks_per_sequence = 2, .threads = 1};

// An engine file of this process, removed at the end of its test.
class EngineOnDisk {
 public:
  explicit EngineOnDisk(const std::string& bytes)
      : path_(std::filesystem::path(testing::TempDir()) / fmt::format("lathe_program_{}.lathe", ::getpid())) {
    std::ofstream(path_, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
  }
  ~EngineOnDisk() { std::filesystem::remove(path_); }
  std::shared_ptr<const plan::EngineFile> open() const { return plan::EngineFile::open(path_); }

 private:
  std::filesystem::path path_;
};

// What a session makes of an engine, without the session.
struct Bindings {
  explicit Bindings(std::shared_ptr<const plan::EngineFile> opened) : engine(std::move(opened)) {
    const backend::Device& device = backend::get_device("cpu");
    settings.isa = device.choose_isa("");
    settings.exact = false;
    const plan::Plan& plan = engine->manifest().plan;
    std::vector<backend::KvShape> layers;
    for (const plan::State& state : plan.states) layers.push_back({tensor::DType::f32, state.kv_heads, state.head_dim});
    Program::bytes_needed(plan, settings, kCapacity);
    cache = std::make_unique<KvCache>(device, layers, 4);
    program = std::make_unique<Program>(*engine, *cache, settings, kCapacity);
  }

  // Two sequences, of 3 and 2 tokens; logits of the last token of each.
  std::vector<float> step(int64_t first_position = 0, const AfterInstruction& after = {}) {
    StepInputs& inputs = program->inputs();
    const auto fill = [](auto& to, std::initializer_list<int64_t> values) {
      std::copy(values.begin(), values.end(), to.begin());
    };
    fill(inputs.token_ids, {1, 2, 3, 4, 5});
    fill(inputs.positions, {first_position, 1, 2, 0, 1});
    fill(inputs.first_token, {0, 3, 5});
    fill(inputs.first_position, {0, 0});
    fill(inputs.block_table, {0, 1, 2, 3});
    fill(inputs.output_rows, {2, 4});
    Team team(1);
    const backend::Step whole{.tokens = 5, .outputs = 2, .sequences = 2, .longest = 3};
    program->run(whole, team, after);
    const float* logits = program->values(kLogits, whole);
    return {logits, logits + 2 * kSampleVocabulary};
  }

  std::shared_ptr<const plan::EngineFile> engine;
  backend::Settings settings;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<Program> program;
};

inline std::string good_bytes() {
  const plan::Manifest manifest = sample_manifest();
  return engine_bytes(manifest, sample_weights(manifest));
}

}  // namespace lathe::runtime
