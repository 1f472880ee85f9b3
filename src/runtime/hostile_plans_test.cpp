// Plans that hostile files could hold do not bind to kernels.
#include <gtest/gtest.h>

#include "base/error.h"
#include "runtime/bindings_testing.h"

namespace lathe::runtime {
namespace {

using plan::Manifest;
using plan::Operand;
using plan::OperandKind;
using plan::Rows;

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
    {"unknown_device", [](Manifest& m) { m.plan.device = "abacus"; }},
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

}  // namespace
}  // namespace lathe::runtime
