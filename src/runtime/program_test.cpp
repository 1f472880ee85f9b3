#include "runtime/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "runtime/sample_engine.h"

namespace lathe::runtime {
namespace {

using plan::Manifest;
using plan::Operand;
using plan::OperandKind;
using plan::Plan;
using plan::Rows;
using testing::HasSubstr;

constexpr backend::Capacity kCapacity = {
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
    const Plan& plan = engine->manifest().plan;
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
    program->run({.tokens = 5, .outputs = 2, .sequences = 2}, team, after);
    const float* logits = program->values(kLogits);
    return {logits, logits + 2 * kSampleVocabulary};
  }

  std::shared_ptr<const plan::EngineFile> engine;
  backend::Settings settings;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<Program> program;
};

std::string good_bytes() {
  const Manifest manifest = sample_manifest();
  return engine_bytes(manifest, sample_weights(manifest));
}

TEST(Program, RunsTheSample) {
  const EngineOnDisk file(good_bytes());
  for (const float logit : Bindings(file.open()).step()) EXPECT_TRUE(std::isfinite(logit) && logit > 0) << logit;
}

struct Mutation {
  const char* name;
  void (*change)(Manifest&);
};

plan::Instruction& instruction(Manifest& m, SampleInstruction index) {
  return m.plan.instructions[index];
}
plan::Buffer& buffer(Manifest& m, SampleBuffer index) {
  return m.plan.buffers[size_t(index)];
}
plan::Constant& constant(Manifest& m, SampleConstant index) {
  return m.plan.constants[size_t(index)];
}
Operand buffer_operand(int64_t index) {
  return {OperandKind::buffer, index};
}

// One more buffer, placed behind all others.
Operand add_buffer(Manifest& m, std::string name, tensor::DType dtype, Rows rows, int64_t columns) {
  m.plan.buffers.push_back({std::move(name), dtype, rows, columns, 0});
  plan::plan_memory(m.plan);
  return buffer_operand(int64_t(m.plan.buffers.size()) - 1);
}

// One more instruction, before all others.
void add_first(Manifest& m, plan::Instruction added) {
  m.plan.instructions.insert(m.plan.instructions.begin(), std::move(added));
  plan::plan_memory(m.plan);
}

// Each is what a hostile file could say with all hashes right, and each would have a kernel read or write
// outside of its operands, or the session index what is not there.
const Mutation kMutations[] = {
    {"no_logits", [](Manifest& m) { m.plan.logits = -1; }},
    {"logits_behind_the_buffers", [](Manifest& m) { m.plan.logits = 1000; }},
    {"logits_of_another_vocabulary", [](Manifest& m) { m.contract.vocab_size = kSampleVocabulary + 1; }},
    {"unknown_kernel", [](Manifest& m) { instruction(m, kAdd).kernel = "cpu.abacus"; }},
    {"kernel_of_another_operator", [](Manifest& m) { instruction(m, kAdd).kernel = "cpu.rms_norm"; }},
    {"mul_by_the_kernel_of_add", [](Manifest& m) { instruction(m, kMultiply).kernel = "cpu.add"; }},
    {"linear_by_reference", [](Manifest& m) { instruction(m, kProject).kernel = "reference"; }},
    {"attention_by_reference", [](Manifest& m) { instruction(m, kAttend).kernel = "reference"; }},
    {"packed_one_panel_short",
     [](Manifest& m) {
       constant(m, kHead).bytes = kSampleVocabulary * kSampleWidth * 4;  // what is stored, without the padding
     }},
    {"packed_blocks_short", [](Manifest& m) { constant(m, kOutWeight).bytes -= 64; }},
    {"packed_too_long", [](Manifest& m) { constant(m, kQkvWeight).bytes += 64; }},
    {"layout_of_another_encoding", [](Manifest& m) { constant(m, kOutWeight).layout = "q4_0_panel"; }},
    {"layout_of_another_dtype", [](Manifest& m) { constant(m, kUpWeight).layout = "f16_panel"; }},
    {"layout_unknown", [](Manifest& m) { constant(m, kUpWeight).layout = "f8_panel"; }},
    {"plain_weights_of_linear",
     [](Manifest& m) {
       constant(m, kUpWeight).layout = "plain";
       constant(m, kUpWeight).bytes = kSampleWidth * kSampleWidth * 4;
     }},
    {"packed_rank_three", [](Manifest& m) { constant(m, kUpWeight).dims = {4, 8, 32}; }},
    {"packed_norm_scale", [](Manifest& m) { constant(m, kScale).layout = "f32_panel"; }},
    {"output_narrower_than_the_weights",
     [](Manifest& m) {
       buffer(m, kInner).columns = 16;
       plan::plan_memory(m.plan);
     }},
    {"output_rows_of_outputs",
     [](Manifest& m) {
       buffer(m, kGated).rows = Rows::outputs;
       plan::plan_memory(m.plan);
     }},
    {"residual_with_fewer_rows",
     [](Manifest& m) {
       const Operand rows = add_buffer(m, "r", tensor::DType::f32, Rows::outputs, kSampleWidth);
       instruction(m, kOut).inputs[1] = rows;
       m.plan.instructions.insert(m.plan.instructions.begin() + 1,
                                  {"Gather",
                                   "cpu.gather_rows",
                                   "r",
                                   {},
                                   {buffer_operand(kEmbedded), buffer_operand(kBufferOutputRows)},
                                   {rows}});
       plan::plan_memory(m.plan);
     }},
    {"logits_of_integers", [](Manifest& m) { buffer(m, kLogits).dtype = tensor::DType::i32; }},
    {"sum_of_integers",
     [](Manifest& m) {
       buffer(m, kSum).dtype = tensor::DType::i32;
       plan::plan_memory(m.plan);
     }},
    {"two_parts_without_the_second", [](Manifest& m) { instruction(m, kProject).attributes.set("parts", int64_t{2}); }},
    {"parts_overflow", [](Manifest& m) { instruction(m, kProject).attributes.set("parts", INT64_MAX); }},
    {"gate_of_one_part",
     [](Manifest& m) { instruction(m, kProject).attributes.set("activation", std::string("silu_gate")); }},
    {"bias_too_short",
     [](Manifest& m) {
       constant(m, kBias).dims = {16};
       constant(m, kBias).bytes = 64;
     }},
    {"norm_scale_too_short",
     [](Manifest& m) {
       constant(m, kScale).dims = {1};
       constant(m, kScale).bytes = 4;
     }},
    {"scale_that_would_broadcast",
     [](Manifest& m) {
       plan::Constant one = constant(m, kScale);
       one.name = "one";
       one.dims = {1};
       one.bytes = 4;
       instruction(m, kNorm).inputs[1].index = int64_t(m.plan.constants.size());
       m.plan.constants.push_back(std::move(one));
     }},
    {"output_absent",
     [](Manifest& m) {
       instruction(m, kMultiply).inputs[0] = buffer_operand(kGated);  // nobody misses the sum
       instruction(m, kAdd).outputs[0] = {};
       plan::plan_memory(m.plan);
     }},
    {"second_output_absent",
     [](Manifest& m) {
       const Operand cos = add_buffer(m, "more", tensor::DType::f32, Rows::tokens, 8);
       add_first(m, {"lathe.RotaryTable",
                     "cpu.rotary_table",
                     "more",
                     {},
                     {buffer_operand(kBufferPositions), {OperandKind::constant, kFrequencies}},
                     {cos, {}}});
     }},
    {"state_as_output",
     [](Manifest& m) {
       instruction(m, kGather).inputs[0] = buffer_operand(kSquare);
       instruction(m, kRelu).outputs[0] = {OperandKind::state, 0};
       plan::plan_memory(m.plan);
     }},
    {"heads_of_attention", [](Manifest& m) { instruction(m, kAttend).attributes.set("num_heads", int64_t{4}); }},
    {"heads_overflow",
     [](Manifest& m) {
       instruction(m, kAttend).attributes.set("num_heads", int64_t{1} << 62);
       instruction(m, kAttend).attributes.set("kv_heads", int64_t{1} << 62);
     }},
    {"kv_heads_beyond_the_state",
     [](Manifest& m) {
       instruction(m, kAttend).attributes.set("kv_heads", int64_t{2});
       instruction(m, kAttend).attributes.set("head_dim", int64_t{16});
       constant(m, kQkvWeight).dims = {6 * 16, kSampleWidth};
       constant(m, kQkvWeight).bytes = 6 * 16 * kSampleWidth * 4;
       buffer(m, kQkv).columns = 6 * 16;
       plan::plan_memory(m.plan);
     }},
    {"state_of_smaller_heads", [](Manifest& m) { m.plan.states[0].head_dim = 8; }},
    {"state_of_more_heads", [](Manifest& m) { m.plan.states[0].kv_heads = 3; }},
    {"two_states_in_one_attention",
     [](Manifest& m) {
       m.plan.states.push_back(m.plan.states[0]);
       instruction(m, kAttend).inputs[7].index = 1;
       instruction(m, kAttend).outputs[2].index = 1;
     }},
    {"blocks_of_other_size", [](Manifest& m) { m.plan.kv_block = 16; }},
    {"rotary_beyond_the_head", [](Manifest& m) { instruction(m, kAttend).attributes.set("rotary_dim", int64_t{32}); }},
    {"rotary_table_narrower", [](Manifest& m) { instruction(m, kAttend).attributes.set("rotary_dim", int64_t{8}); }},
    {"block_table_of_another_buffer",
     [](Manifest& m) { instruction(m, kAttend).inputs[5] = buffer_operand(kBufferFirstPosition); }},
    {"first_token_computed",
     [](Manifest& m) {
       const Operand first = add_buffer(m, "f", tensor::DType::i32, Rows::sequences, 0);
       instruction(m, kAttend).inputs[4] = first;
       add_first(m, {"Abs", "reference", "f", {}, {buffer_operand(kBufferFirstPosition)}, {first}});
     }},
    {"ids_that_nothing_fills",
     [](Manifest& m) { instruction(m, kEmbed).inputs[1] = add_buffer(m, "ids", tensor::DType::i64, Rows::tokens, 0); }},
    {"ids_computed",
     [](Manifest& m) {  // from positions, which may be above the vocabulary
       const Operand ids = add_buffer(m, "ids", tensor::DType::i64, Rows::tokens, 0);
       instruction(m, kEmbed).inputs[1] = ids;
       add_first(m, {"Abs", "reference", "ids", {}, {buffer_operand(kBufferPositions)}, {ids}});
     }},
    {"positions_beyond_the_table",
     [](Manifest& m) { instruction(m, kEmbed).inputs[1] = buffer_operand(kBufferPositions); }},
    {"table_shorter_than_the_vocabulary",
     [](Manifest& m) {
       constant(m, kTable).dims[0] = kSampleVocabulary - 1;
       constant(m, kTable).bytes -= kSampleWidth * 4;
     }},
    {"table_of_a_buffer", [](Manifest& m) { instruction(m, kGather).op = "lathe.Embed"; }},
    {"gather_by_tokens", [](Manifest& m) { instruction(m, kGather).inputs[1] = buffer_operand(kBufferTokenIds); }},
    {"gather_of_columns", [](Manifest& m) { instruction(m, kGather).attributes.set("axis", int64_t{1}); }},
    {"frequencies_longer_than_the_table",
     [](Manifest& m) {
       constant(m, kFrequencies).dims = {16};
       constant(m, kFrequencies).bytes = 64;
     }},
    {"positions_per_sequence",
     [](Manifest& m) {
       const Operand positions = add_buffer(m, "p", tensor::DType::i64, Rows::sequences, 0);
       const Operand cos = add_buffer(m, "c", tensor::DType::f32, Rows::sequences, 8);
       const Operand sin = add_buffer(m, "s", tensor::DType::f32, Rows::sequences, 8);
       add_first(m, {"lathe.RotaryTable",
                     "cpu.rotary_table",
                     "p",
                     {},
                     {positions, {OperandKind::constant, kFrequencies}},
                     {cos, sin}});
       add_first(m, {"Cast",
                     "reference",
                     "p",
                     {{"to", int64_t(tensor::DType::i64)}},
                     {buffer_operand(kBufferFirstPosition)},
                     {positions}});
     }},
    {"attribute_of_nothing", [](Manifest& m) { instruction(m, kAdd).attributes.set("axis", int64_t{0}); }},
};

class HostilePlans : public testing::TestWithParam<Mutation> {};

TEST_P(HostilePlans, DoNotBind) {
  Manifest manifest = sample_manifest();
  GetParam().change(manifest);
  std::string weights = sample_weights(sample_manifest());
  // Room for constants that a mutation made longer: the file itself must not be why it is refused.
  manifest.weight_bytes += 1 << 16;
  weights.resize(size_t(manifest.weight_bytes));
  const EngineOnDisk file(engine_bytes(manifest, weights));
  try {
    Bindings bindings(file.open());
    ADD_FAILURE() << "bound:\n" << plan::print(manifest.plan);
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::unsupported) << error.what();
    RecordProperty("message", error.what());
  }
}

INSTANTIATE_TEST_SUITE_P(Each, HostilePlans, testing::ValuesIn(kMutations),
                         [](const auto& mutation) { return std::string(mutation.param.name); });

// What only the values decide is the reference kernel's own check: the step throws what the operator threw.
TEST(Program, StepThrowsWhatTheReferenceThrew) {
  Manifest manifest = sample_manifest();
  instruction(manifest, kRelu) = {"Gather",
                                  "reference",
                                  "outside",
                                  {},
                                  {{OperandKind::constant, kTable}, buffer_operand(kBufferPositions)},
                                  {buffer_operand(kPositive)}};
  const EngineOnDisk file(engine_bytes(manifest, sample_weights(manifest)));
  Bindings bindings(file.open());
  EXPECT_NO_THROW(bindings.step());
  const AfterInstruction nothing = [](size_t) {};
  for (const AfterInstruction& after : {AfterInstruction{}, nothing}) {
    try {
      bindings.step(kSampleVocabulary, after);
      ADD_FAILURE() << "did not throw";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      EXPECT_THAT(error.what(), HasSubstr("Gather \"outside\": "));
    }
    EXPECT_NO_THROW(bindings.step(0, after));  // the failure is gone with its step
  }
}

// A NaN in a weight is named where it lies: plain, in a packed panel, as the scale of a block.
TEST(Program, NamesTheWeightThatIsNotFinite) {
  const Manifest manifest = sample_manifest();
  const auto said = [&](SampleConstant index, int64_t at, std::string_view bytes, size_t by) {
    std::string weights = sample_weights(manifest);
    weights.replace(size_t(manifest.plan.constants[size_t(index)].offset + at), bytes.size(), bytes);
    const EngineOnDisk file(engine_bytes(manifest, weights));
    return Bindings(file.open()).program->bad_weight(by);
  };
  const std::string_view nan("\x00\x00\xc0\x7f", 4), infinity("\x00\x00\x80\xff", 4), half_infinity("\x00\x7c", 2);
  EXPECT_EQ(said(kTable, 4 * (5 * kSampleWidth + 7), nan, kEmbed), "; its weight \"table\" holds nan at [5, 7]");
  EXPECT_EQ(said(kScale, 4 * 31, infinity, kProject), "; its weight \"scale\" holds -inf at [0, 31]");
  // [panel][column][16]: row 18 is row 2 of panel 1.
  EXPECT_EQ(said(kUpWeight, 4 * (16 * kSampleWidth + 16 * 3 + 2), nan, kGate),
            "; its weight \"up\" holds nan at [18, 3]");
  // A chunk of one block of q8_0: 8 words of 16 rows, then 16 scales; infinity times 0 is NaN.
  EXPECT_EQ(said(kOutWeight, 8 * 64 + 2 * 5, half_infinity, kOut), "; its weight \"out\" holds nan at [5, 0]");
  EXPECT_EQ(said(kTable, 0, nan, kOut), "");
}

}  // namespace
}  // namespace lathe::runtime
