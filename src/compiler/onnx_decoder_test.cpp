// Exported models against the checkpoints they were made from: one plan. Optimum's exports are those of
// tools/make_optimum_exports.py; our own stand for half precision, in which Optimum writes few models.
#include "compiler/onnx_decoder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "compiler/build.h"
#include "compiler/engine_graph.h"
#include "frontend/onnx_export.h"
#include "io/onnx_write.h"

namespace lathe::compiler {
namespace {

namespace fs = std::filesystem;
using plan::Operand;
using plan::OperandKind;
using plan::Plan;

struct Pair {
  const char* native;
  const char* exported;
};

void PrintTo(const Pair& pair, std::ostream* out) {
  *out << pair.exported;
}

// Puts `items` into the order in which instructions name them, and calls them "NAME0", "NAME1" ...; those that `keeps`
// holds back stay in front under their names.
template <class Item, class Keeps>
void rename_by_use(Plan& plan, OperandKind kind, std::vector<Item>& items, std::string_view name, Keeps&& keeps) {
  std::vector<int64_t> order;
  const auto note = [&](int64_t index) {
    if (std::find(order.begin(), order.end(), index) == order.end()) order.push_back(index);
  };
  for (size_t i = 0; i < items.size(); ++i) {
    if (keeps(items[i])) note(int64_t(i));
  }
  const auto for_operands = [&](auto&& body) {
    for (plan::Instruction& instruction : plan.instructions) {
      for (auto* operands : {&instruction.inputs, &instruction.outputs}) {
        for (Operand& operand : *operands) {
          if (operand.kind == kind) body(operand.index);
        }
      }
    }
  };
  for_operands(note);
  ASSERT_EQ(order.size(), items.size()) << "a " << name << " that no instruction names";
  const auto place = [&](int64_t index) { return std::find(order.begin(), order.end(), index) - order.begin(); };
  for_operands([&](auto& index) { index = std::remove_reference_t<decltype(index)>(place(index)); });
  if (kind == OperandKind::buffer) plan.logits = decltype(plan.logits)(place(plan.logits));
  std::vector<Item> sorted;
  for (const int64_t index : order) {
    sorted.push_back(items[size_t(index)]);
    if (!keeps(sorted.back())) sorted.back().name = fmt::format("{}{}", name, sorted.size());
  }
  items = std::move(sorted);
}

// The plan without what an exporter is free in: names of buffers, constants and instructions, the order in which
// constants stand, and numbers that ONNX keeps in 32 bits.
Plan canonical(Plan plan) {
  rename_by_use(plan, OperandKind::constant, plan.constants, "constant", [](const auto&) { return false; });
  rename_by_use(plan, OperandKind::buffer, plan.buffers, "buffer",
                [](const plan::Buffer& buffer) { return plan::placed_by_runtime(buffer.name); });
  for (plan::Instruction& instruction : plan.instructions) {
    instruction.name.clear();
    op::Attributes attributes;
    for (const auto& [name, value] : instruction.attributes) {
      const double* number = std::get_if<double>(&value);
      attributes.set(name, number ? op::AttributeValue(double(float(*number))) : value);
    }
    instruction.attributes = attributes;
  }
  return plan;
}

class ExportTest : public testing::TestWithParam<Pair> {};

std::shared_ptr<const plan::EngineFile> build(const ir::Model& model) {
  const fs::path path = fs::path(testing::TempDir()) / fmt::format("lathe_export_{}.lathe", ::getpid());
  PreparedBuild(model, {}).write(path);
  auto engine = plan::EngineFile::open(path);
  fs::remove(path);  // it stays mapped
  return engine;
}

std::shared_ptr<const plan::EngineFile> build(const fs::path& folder) {
  return build(read_model(frontend::Checkpoint::open(folder)));
}

void expect_same(const std::shared_ptr<const plan::EngineFile>& native,
                 const std::shared_ptr<const plan::EngineFile>& exported) {
  const Plan expected = canonical(native->manifest().plan), found = canonical(exported->manifest().plan);
  ASSERT_EQ(plan::print(expected), plan::print(found));
  for (size_t i = 0; i < expected.constants.size(); ++i) {
    const auto values = [&](const auto& engine, const plan::Constant& constant) {
      return tensor::to_floats(tensor::load(*constant_source(engine, constant)));
    };
    EXPECT_EQ(values(native, expected.constants[i]), values(exported, found.constants[i]))
        << expected.constants[i].name;
  }
}

TEST_P(ExportTest, HasThePlanAndTheWeightsOfItsCheckpoint) {
  const fs::path folder = fs::path(LATHE_TESTS_DIR) / "arch";
  expect_same(build(folder / GetParam().native), build(folder / GetParam().exported));
}

TEST(OwnExport, HasThePlanAndTheWeightsOfItsCheckpoint) {
  const fs::path folder = fs::path(testing::TempDir()) / fmt::format("lathe_own_export_{}", ::getpid());
  for (const char* name :
       {"neox_sequential", "neox_tied_bf16", "neox_full_rotary", "gpt2_f16", "gpt2", "llama_mha_tied"}) {
    for (const int opset : {14, 18, 24}) {
      SCOPED_TRACE(fmt::format("{} in opset {}", name, opset));
      const fs::path source = fs::path(LATHE_TESTS_DIR) / "arch" / name;
      const ir::Model model = read_model(frontend::Checkpoint::open(source));
      fs::create_directories(folder);
      io::write_onnx(folder / "model.onnx", frontend::export_decoder(model, {.opset = opset}, {}));
      fs::copy_file(source / "config.json", folder / "config.json", fs::copy_options::overwrite_existing);
      expect_same(build(model), build(folder));
      fs::remove_all(folder);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Optimum, ExportTest,
    testing::Values(Pair{"llama_gqa", "optimum_llama_gqa"}, Pair{"llama_mha_tied", "optimum_llama_mha_tied"},
                    Pair{"llama_f16", "optimum_llama_f16"}, Pair{"llama_gqa", "optimum_llama_no_positions"},
                    Pair{"neox_parallel", "optimum_neox_parallel"}, Pair{"neox_sequential", "optimum_neox_sequential"},
                    Pair{"neox_sequential", "optimum_neox_no_cache"}, Pair{"gpt2", "optimum_gpt2"},
                    Pair{"gpt2_untied", "optimum_gpt2_untied"}, Pair{"gpt2_untied", "optimum_gpt2_no_positions"},
                    Pair{"gpt2_untied", "optimum_gpt2_no_cache"}),
    [](const auto& pair) { return std::string(pair.param.exported); });

}  // namespace
}  // namespace lathe::compiler
