#include "plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "base/error.h"
#include "plan/sample_plan.h"

namespace lathe::plan {
namespace {

// Runs a plan on an arena of marks: each buffer's bytes carry its index while its contents are needed. What
// is wrong, or "" - independent of plan_memory and check, which reason about intervals.
class Simulation {
 public:
  Simulation(const Plan& plan, int64_t tokens, int64_t outputs, int64_t sequences)
      : plan_(plan),
        rows_{tokens, outputs, sequences, sequences + 1},
        arenas_{marks(plan.arena_tokens * tokens), marks(plan.arena_outputs * outputs),
                marks(plan.arena_sequences * (sequences + 1))} {}

  std::string run() {
    std::vector<bool> written(plan_.buffers.size(), false);
    for (const Instruction& i : plan_.instructions)
      for (const Operand& o : i.outputs) written[size_t(o.index)] = true;
    for (size_t i = 0; i < written.size(); ++i) {
      if (!written[i] && !fill(i)) return plan_.buffers[i].name + " is outside";
    }
    for (const Instruction& instruction : plan_.instructions) {
      const std::string problem = execute(instruction);
      if (!problem.empty()) return instruction.name + ": " + problem;
    }
    if (plan_.logits >= 0 && !intact(size_t(plan_.logits))) return "logits are lost";
    return "";
  }

 private:
  static std::vector<int> marks(int64_t bytes) { return std::vector<int>(size_t(bytes), -1); }

  std::string execute(const Instruction& instruction) {
    for (const Operand& input : instruction.inputs) {
      if (input.kind == OperandKind::buffer && !intact(size_t(input.index))) return "an input is lost";
    }
    for (const Operand& output : instruction.outputs) {
      if (!fill(size_t(output.index))) return "an output is outside";
    }
    for (const Operand& input : instruction.inputs) {
      if (input.kind != OperandKind::buffer || intact(size_t(input.index))) continue;
      if (!may_share(instruction, input)) return "an input is overwritten while it is read";
    }
    return "";
  }

  // The licence to write in place, in the words of plan.h and of the kernels.
  bool may_share(const Instruction& instruction, const Operand& input) const {
    const Buffer& a = plan_.buffers[size_t(input.index)];
    const Buffer& b = plan_.buffers[size_t(instruction.outputs[0].index)];
    if (a.offset != b.offset || a.columns != b.columns || a.rows != b.rows) return false;
    if (instruction.op == "lathe.Linear") return instruction.inputs[0] != input;
    return instruction.op == "Add" || instruction.op == "Mul";
  }

  std::span<int> place(size_t index) {
    const Buffer& buffer = plan_.buffers[index];
    const int64_t rows = rows_[size_t(buffer.rows)];
    std::vector<int>& arena = arenas_[std::min<size_t>(size_t(buffer.rows), 2)];
    const int64_t begin = buffer.offset * rows, size = row_bytes(buffer) * rows;
    if (begin + size > int64_t(arena.size())) return {};
    return std::span(arena).subspan(size_t(begin), size_t(size));
  }
  bool fill(size_t index) {
    const auto bytes = place(index);
    std::fill(bytes.begin(), bytes.end(), int(index));
    return !bytes.empty() || rows_[size_t(plan_.buffers[index].rows)] == 0;
  }
  bool intact(size_t index) {
    const auto bytes = place(index);
    return std::all_of(bytes.begin(), bytes.end(), [&](int mark) { return mark == int(index); });
  }

  const Plan& plan_;
  int64_t rows_[4];
  std::vector<int> arenas_[3];
};

int64_t pick(std::mt19937& random, int64_t count) {
  return int64_t(random() % uint64_t(count));
}

// Up to 40 instructions over all kinds of rows; every one reads buffers that were written before.
Plan random_plan(std::mt19937& random) {
  constexpr int64_t kColumns[] = {0, 1, 3, 16, 16, 16, 40};
  Plan plan = sample_plan();
  plan.buffers.clear();
  plan.instructions.clear();
  plan.logits = -1;
  const auto add_buffer = [&](Rows rows, int64_t columns) {
    plan.buffers.push_back({fmt::format("b{}", plan.buffers.size()), tensor::DType::f32, rows, columns, 0});
    return buffer_operand(int64_t(plan.buffers.size()) - 1);
  };
  for (int i = 0; i < 6; ++i) add_buffer(Rows(pick(random, 4)), kColumns[pick(random, 7)]);
  const int64_t count = 1 + pick(random, 40);
  for (int64_t i = 0; i < count; ++i) {
    const Operand a = buffer_operand(pick(random, int64_t(plan.buffers.size())));
    const Operand b = buffer_operand(pick(random, int64_t(plan.buffers.size())));
    const bool like = pick(random, 3) > 0;
    const Buffer shape = plan.buffers[size_t(b.index)];
    const Operand y =
        like ? add_buffer(shape.rows, shape.columns) : add_buffer(Rows(pick(random, 4)), kColumns[pick(random, 7)]);
    const std::string name = fmt::format("i{}", i);
    switch (pick(random, 4)) {
      case 0:
        plan.instructions.push_back(linear(a, b, constant_operand(1), y, name));
        break;
      case 1:
        plan.instructions.push_back({"Add", "reference", name, {}, {a, b}, {y}});
        break;
      case 2:
        plan.instructions.push_back({"Mul", "reference", name, {}, {b, b}, {y}});
        break;
      default:
        plan.instructions.push_back({"Relu", "reference", name, {}, {b}, {y}});
    }
  }
  plan_memory(plan);
  return plan;
}

std::string simulate(const Plan& plan) {
  for (const auto& [tokens, outputs, sequences] :
       {std::array<int64_t, 3>{1, 1, 1}, {5, 2, 3}, {7, 7, 1}, {3, 1, 9}, {4, 0, 2}}) {
    const std::string problem = Simulation(plan, tokens, outputs, sequences).run();
    if (!problem.empty()) return problem;
  }
  return "";
}

void expect_refused(const std::function<void(Plan&)>& change) {
  Plan plan = sample_plan();
  change(plan);
  try {
    check(plan);
    ADD_FAILURE() << "accepted:\n" << print(plan);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
  }
}

TEST(PlanMemory, RandomPlansKeepWhatIsNeeded) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const Plan plan = random_plan(random);
    ASSERT_EQ(simulate(plan), "") << print(plan);
    ASSERT_NO_THROW(check(plan)) << print(plan);
    int64_t sum = 0;
    for (const Buffer& buffer : plan.buffers) sum += row_bytes(buffer) + 64;
    EXPECT_LE(plan.arena_tokens + plan.arena_outputs + plan.arena_sequences, sum + 3 * 64);
  }
}

TEST(PlanMemory, ResidualIsWrittenInPlace) {
  const Plan plan = sample_plan();
  EXPECT_EQ(plan.buffers[4].offset, plan.buffers[2].offset);  // sum replaces embedded
  EXPECT_NE(plan.buffers[3].offset, plan.buffers[2].offset);
  EXPECT_EQ(plan.arena_tokens, 2 * kSampleWidth * 4);
  EXPECT_EQ(plan.arena_outputs, kSampleWidth * 4 + 64);  // two rows, the second rounded up to 64
}

TEST(PlanMemory, ResidualThatIsAlsoXKeepsItsPlace) {
  Plan plan = sample_plan();
  plan.instructions[2].inputs[0] = plan.instructions[2].inputs[1];
  plan_memory(plan);
  EXPECT_NE(plan.buffers[4].offset, plan.buffers[2].offset);
}

TEST(PlanMemory, ResidualThatIsReadLaterKeepsItsPlace) {
  Plan plan = sample_plan();
  plan.instructions[3].inputs[0] = buffer_operand(2);
  plan_memory(plan);
  EXPECT_NE(plan.buffers[4].offset, plan.buffers[2].offset);
}

TEST(PlanCheck, RefusesWhatTheSimulationRefuses) {
  std::mt19937 random(11);
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    Plan plan = random_plan(random);
    Buffer& moved = plan.buffers[size_t(pick(random, int64_t(plan.buffers.size())))];
    moved.offset = 4 * pick(random, 64);
    if (simulate(plan).empty()) continue;
    ++refused;
    EXPECT_THROW(check(plan), Error) << print(plan);
  }
  EXPECT_GT(refused, 50);
}

TEST(PlanCheck, AcceptsTheSample) {
  EXPECT_NO_THROW(check(sample_plan()));
}

TEST(PlanCheck, RefusesOperands) {
  expect_refused([](Plan& p) { p.instructions[1].inputs[0].index = 7; });
  expect_refused([](Plan& p) { p.instructions[1].inputs[0].index = -1; });
  expect_refused([](Plan& p) { p.instructions[1].inputs[4].index = 2; });
  expect_refused([](Plan& p) { p.instructions[1].inputs[1] = {OperandKind::state, 1}; });
  expect_refused([](Plan& p) { p.instructions[1].outputs[0] = constant_operand(0); });
  expect_refused([](Plan& p) { p.instructions[1].outputs[0] = buffer_operand(0); });  // an input of the step
  expect_refused([](Plan& p) { p.instructions[2].outputs[0] = buffer_operand(3); });  // twice
  expect_refused([](Plan& p) { std::swap(p.instructions[1], p.instructions[2]); });   // before written
  expect_refused([](Plan& p) { p.instructions[1].inputs[0] = buffer_operand(3); });   // its own output
}

TEST(PlanCheck, RefusesInstructions) {
  expect_refused([](Plan& p) { p.instructions[0].op = "lathe.Nothing"; });
  expect_refused([](Plan& p) { p.instructions[0].kernel = ""; });
  expect_refused([](Plan& p) { p.instructions[0].inputs.pop_back(); });
  expect_refused([](Plan& p) { p.instructions[0].attributes.set("axis", int64_t{1}); });
  expect_refused([](Plan& p) { p.instructions[1].attributes.set("compute", int64_t{1}); });
}

TEST(PlanCheck, RefusesBuffers) {
  expect_refused([](Plan& p) { p.buffers[0].dtype = tensor::DType::i32; });
  expect_refused([](Plan& p) { p.buffers[2].dtype = tensor::DType::string; });
  expect_refused([](Plan& p) { p.buffers[2].columns = -1; });
  expect_refused([](Plan& p) { p.buffers[2].columns = INT64_MAX; });
  expect_refused([](Plan& p) { p.buffers[2].offset = INT64_MAX - 3; });
  expect_refused([](Plan& p) { p.buffers[2].offset = -64; });
  expect_refused([](Plan& p) { p.buffers[3].offset = p.buffers[2].offset; });
  expect_refused([](Plan& p) { p.buffers[3].name = p.buffers[2].name; });
  expect_refused([](Plan& p) { p.arena_tokens -= 64; });
  expect_refused([](Plan& p) { p.arena_tokens = INT64_MAX; });
  expect_refused([](Plan& p) { p.logits = 4; });  // rows are tokens
  expect_refused([](Plan& p) { p.logits = 7; });
}

TEST(PlanCheck, RefusesConstantsAndStates) {
  expect_refused([](Plan& p) { p.constants[0].bytes -= 4; });
  expect_refused([](Plan& p) { p.constants[0].dims = {-1, 16}; });
  expect_refused([](Plan& p) { p.constants[0].dims = {INT64_MAX, INT64_MAX}; });
  expect_refused([](Plan& p) { p.constants[0].offset = 32; });
  expect_refused([](Plan& p) { p.constants[1].bytes = 64; });  // packed, but less than its elements
  expect_refused([](Plan& p) { p.constants[1].encoding = tensor::Encoding::q4_0; });  // 16 columns of 32
  expect_refused([](Plan& p) { p.constants[1].layout = ""; });
  expect_refused([](Plan& p) { p.states[0].kind = "ring"; });
  expect_refused([](Plan& p) { p.states[0].kv_heads = 0; });
  expect_refused([](Plan& p) { p.kv_block = 0; });
  expect_refused([](Plan& p) { p.compute = "f64"; });
  expect_refused([](Plan& p) { p.kv = ""; });
}

TEST(PlanPrint, OneLineForEachItem) {
  EXPECT_EQ(print(sample_plan()),
            R"(plan cpu compute f32 kv f16 block 16
arena 128 per token, 128 per output, 0 per sequence
state $cache.0: append 1 x 16
constant @table: f32[10, 16] plain plain 640 bytes
constant @up: f32[16, 16] plain f32_panel 1024 bytes
buffer %token_ids: i64[tokens] input
buffer %output_rows: i64[outputs] input
buffer %embedded: f32[tokens, 16] at 0
buffer %inner: f32[tokens, 16] at 64
buffer %sum: f32[tokens, 16] at 0
buffer %wanted: f32[outputs, 16] at 0
buffer %logits: f32[outputs, 10] at 64
%embedded = lathe.Embed(@table, %token_ids) by cpu.embed "embed"
%inner = lathe.Linear(%embedded, _, _, _, @up) {compute = "f32"} by cpu.linear "first"
%sum = lathe.Linear(%inner, %embedded, _, _, @up) {compute = "f32"} by cpu.linear "second"
%wanted = lathe.Embed(%sum, %output_rows) by cpu.embed "pick"
%logits = lathe.Linear(%wanted, _, _, _, @table) {compute = "f32"} by cpu.linear "head"
logits %logits
)");
}

TEST(Plan, NamesReadBack) {
  for (const Rows rows : {Rows::tokens, Rows::outputs, Rows::sequences, Rows::sequences_one}) {
    Rows found = Rows::tokens;
    EXPECT_TRUE(from_string(to_string(rows), found));
    EXPECT_EQ(found, rows);
  }
  OperandKind kind = OperandKind::state;
  EXPECT_FALSE(from_string("register", kind));
  EXPECT_EQ(find_buffer(sample_plan(), "sum"), 4);
  EXPECT_EQ(find_buffer(sample_plan(), "product"), -1);
}

}  // namespace
}  // namespace lathe::plan
