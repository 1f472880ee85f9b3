// Properties that operators declare, against ONNX's schemas (tests/op/since.txt) and against what they compute.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "op/op.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

// The opset in which input `index` appeared, as the definition says it.
int since_of_input(const OpDef& def, size_t index) {
  if (index == 1 && def.axes_input_since > 13) return def.axes_input_since;
  for (const auto& [input, since] : def.inputs_since) {
    if (input == index) return since;
  }
  return def.since;
}

TEST(Since, IsAsTheSchemasSay) {
  std::istringstream lines(read_text_file(LATHE_TESTS_DIR "/op/since.txt"));
  std::string name;
  int expected = 0, compared = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream(line) >> name >> expected;
    // "Op", "Op.attribute" or "Op#input"; an operator of another domain than ONNX's own has that before it.
    const bool foreign = name.starts_with("ai.onnx.");
    const size_t mark = name.find_first_of(".#", foreign ? name.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") : 0);
    const OpDef& def = get_op(name.substr(0, mark));
    if (mark == std::string::npos) {
      EXPECT_EQ(def.since, expected) << name;
    } else if (name[mark] == '#') {
      EXPECT_EQ(since_of_input(def, std::stoul(name.substr(mark + 1))), expected) << name;
    } else {
      const auto spec = std::find_if(def.attributes.begin(), def.attributes.end(),
                                     [&](const AttributeSpec& s) { return s.name == name.substr(mark + 1); });
      if (spec == def.attributes.end()) continue;  // one that is not taken at all
      EXPECT_EQ(std::max(def.since, foreign || spec->since > 13 ? spec->since : 1), expected) << name;
    }
    ++compared;
  }
  EXPECT_GT(compared, 300);
}

// What an operator cannot do without.
Attributes attributes_for(const OpDef& def, DType dtype) {
  if (def.name == "BitShift") return {{"direction", std::string("LEFT")}};
  if (def.name == "BitCast") return {{"to", int64_t(dtype)}};
  if (def.name == "RegexFullMatch") return {{"pattern", std::string("7|8")}};
  using Texts = std::vector<std::string>;
  if (def.name == "ai.onnx.ml.LabelEncoder") return {{"keys_strings", Texts{"7"}}, {"values_strings", Texts{"x"}}};
  if (def.name == "ai.onnx.ml.CategoryMapper") {
    return {{"cats_strings", Texts{"7"}}, {"cats_int64s", std::vector<int64_t>{3}}};
  }
  return {};
}

std::string text_of(const Tensor& x, int64_t i) {
  return x.dtype() == DType::string ? x.strings()[size_t(i)] : fmt::format("{}", element_as_double(x, i));
}

// Elements that are right for any operator of this dtype: none is zero, NaN or beyond 1.
Tensor sample(DType dtype, uint32_t seed) {
  if (dtype == DType::string) return Tensor::of_strings({2, 3}, {"a", "bc", "", "7", "e f", "g"});
  Tensor x(dtype, {2, 3});
  for (int64_t i = 0; i < 6; ++i) {
    const double value = double((uint32_t(i) + seed) * 2654435761u >> 20 & 1023) / 1100 + 0.03;
    set_element(x, i, dtype == DType::boolean ? double(value > 0.5) : dtype == DType::f32 ? value : 1 + value * 9);
  }
  return x;
}

// Changing element k of an input changes element k of the result and no other.
void check_elementwise(const OpDef& def, DType dtype) {
  const size_t inputs = size_t(std::max(def.min_inputs, std::min(def.max_inputs == kVariadic ? 2 : def.max_inputs, 2)));
  const bool clip = def.name == "Clip";  // its other inputs are single numbers
  std::vector<Tensor> before;
  for (size_t i = 0; i < (clip ? 1 : inputs); ++i) before.push_back(sample(dtype, uint32_t(7 * i + 1)));
  const Attributes attributes = attributes_for(def, dtype);
  const Tensor y = evaluate(def, before, attributes)[0];
  ASSERT_EQ(y.dims(), before[0].dims()) << def.name;
  for (size_t input = 0; input < before.size(); ++input) {
    for (int64_t k = 0; k < 6; ++k) {
      std::vector<Tensor> changed = before;
      Tensor x = sample(dtype, uint32_t(7 * input + 1));
      if (dtype == DType::string) {
        x.strings()[size_t(k)] += "8";
      } else {
        set_element(x, k, dtype == DType::boolean ? 1 - element_as_double(x, k) : element_as_double(x, k) + 1);
      }
      changed[input] = x;
      const Tensor z = evaluate(def, changed, attributes)[0];
      for (int64_t i = 0; i < 6; ++i) {
        if (i == k) continue;
        EXPECT_EQ(text_of(y, i), text_of(z, i)) << def.name << " " << k << " " << i;
      }
    }
  }
}

TEST(Elementwise, OneElementDependsOnOne) {
  int checked = 0;
  for (const OpDef* def : all_ops()) {
    if (!def->elementwise) continue;
    bool done = false;
    for (const DType dtype : {DType::f32, DType::i64, DType::u8, DType::boolean, DType::string}) {
      try {
        check_elementwise(*def, dtype);
        done = true;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::invalid_input) << def->name << ": " << error.what();  // another dtype
      }
    }
    EXPECT_TRUE(done) << def->name;
    checked += done;
  }
  EXPECT_GT(checked, 30);
  EXPECT_FALSE(get_op("Softmax").elementwise);
  EXPECT_FALSE(get_op("CumSum").elementwise);
}

}  // namespace
}  // namespace lathe::op
