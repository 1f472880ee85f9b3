// Problems of tests/op/linear.cases: read by the test and by the benchmark.
//
// A line is key=value pairs, after the word `bench` if it is timed too; a value with commas makes a problem
// of each alternative (of all combinations).
//   parts=q4_0+q8_0:48   matrices side by side, a layout each, rows after a colon (else `rows`)
//   rows= columns= tokens=   numbers
//   compute=f32|f16|bf16|i8|i16  norm=none|rms|layer  activation=none|silu_gate|...  bias=0|1  residual=0|1
#pragma once

#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cpu/linear.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/numbers.h"
#include "tensor/source.h"

namespace lathe::backend::cpu {

struct LinearProblem {
  std::string text;
  std::vector<Layout> layouts;
  std::vector<int64_t> rows;
  int64_t columns = 0;
  int64_t tokens = 1;
  Compute compute = Compute::f32;
  Norm norm = Norm::none;
  Activation activation = Activation::none;
  bool bias = false, residual = false;
};

inline std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> parts;
  while (true) {
    const size_t at = text.find(by);
    if (at != 0) parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

template <class T>
T named(std::string_view name, std::initializer_list<std::string_view> names, int first = 0) {
  int value = first;
  for (const std::string_view candidate : names) {
    if (candidate == name) return T(value);
    ++value;
  }
  fail(ErrorCode::invalid_input, "\"{}\" is not known here", name);
}

inline LinearProblem parse_problem(const std::map<std::string, std::string>& fields) {
  LinearProblem problem;
  for (const auto& [key, value] : fields) {
    problem.text += fmt::format("{}{}={}", problem.text.empty() ? "" : " ", key, value);
    if (key == "columns")
      problem.columns = std::stoll(value);
    else if (key == "tokens")
      problem.tokens = std::stoll(value);
    else if (key == "compute")
      problem.compute = named<Compute>(value, {"f32", "bf16", "f16", "i8", "i16"});
    else if (key == "norm")
      problem.norm = named<Norm>(value, {"none", "rms", "layer"});
    else if (key == "activation") {
      problem.activation = named<Activation>(
          value, {"none", "silu_gate", "gelu_gate", "gelu_tanh_gate", "gelu", "gelu_tanh", "silu", "relu"});
    } else if (key == "bias")
      problem.bias = value == "1";
    else if (key == "residual")
      problem.residual = value == "1";
    else if (key != "parts" && key != "rows")
      fail(ErrorCode::invalid_input, "unknown key \"{}\"", key);
  }
  for (const std::string& part : split(fields.at("parts"), '+')) {
    const size_t colon = part.find(':');
    problem.layouts.push_back(named<Layout>(
        part.substr(0, colon),
        {"f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q8_0", "q4_k", "q5_k", "q6_k", "q5_1"}, 1));
    problem.rows.push_back(
        std::stoll(colon == std::string::npos ? fields.at("rows") : part.substr(colon + 1)));
  }
  return problem;
}

// All problems of one line, in order.
inline std::vector<LinearProblem> expand_line(std::string_view line) {
  std::vector<std::map<std::string, std::string>> all = {{}};
  for (const std::string& field : split(line, ' ')) {
    if (field == "bench") continue;
    const size_t equals = field.find('=');
    std::vector<std::map<std::string, std::string>> grown;
    for (const auto& fields : all) {
      for (const std::string& value : split(field.substr(equals + 1), ',')) {
        grown.push_back(fields);
        grown.back()[field.substr(0, equals)] = value;
      }
    }
    all = std::move(grown);
  }
  std::vector<LinearProblem> problems;
  for (const auto& fields : all) problems.push_back(parse_problem(fields));
  return problems;
}

inline std::vector<std::string> case_lines() {
  std::vector<std::string> lines;
  for (const std::string& line : split(read_text_file(LATHE_TESTS_DIR "/op/linear.cases"), '\n')) {
    if (!line.empty() && line[0] != '#') lines.push_back(line);
  }
  return lines;
}

// Offsets of the fp16 fields of a stored block, which random bytes would make NaN or huge.
inline std::vector<size_t> half_fields(Layout layout) {
  switch (layout) {
    case Layout::q4_1_panel:
    case Layout::q5_1_panel:
    case Layout::q4_k_panel:
    case Layout::q5_k_panel:
      return {0, 2};
    case Layout::q6_k_panel:
      return {208};
    default:
      return {0};
  }
}

// Random weights as a source: normal for plain types, random codes with scales of either sign for blocks.
inline tensor::SourcePtr random_weights(Layout layout, int64_t rows, int64_t columns, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  const auto small = [&] { return f32_to_f16(0.02f * uniform(random)); };
  if (stored_encoding(layout) == tensor::Encoding::plain) {
    tensor::Tensor tensor(stored_dtype(layout), {rows, columns});
    std::byte* out = tensor.mutable_bytes().data();
    for (int64_t i = 0; i < rows * columns; ++i) {
      const float value = 0.1f * uniform(random);
      const uint16_t half = layout == Layout::f16_panel ? f32_to_f16(value) : f32_to_bf16(value);
      if (layout == Layout::f32_panel)
        std::memcpy(out + i * 4, &value, 4);
      else
        std::memcpy(out + i * 2, &half, 2);
    }
    return tensor::memory_source(std::move(tensor), "random");
  }
  const tensor::BlockFormat& format = tensor::block_format(stored_encoding(layout));
  const size_t blocks = size_t(rows * columns / format.elements);
  auto bytes = std::make_shared<std::vector<std::byte>>(blocks * size_t(format.bytes));
  for (std::byte& byte : *bytes) byte = std::byte(random());
  for (size_t block = 0; block < blocks; ++block) {
    for (const size_t field : half_fields(layout)) {
      const uint16_t value = small();
      std::memcpy(bytes->data() + block * size_t(format.bytes) + field, &value, 2);
    }
  }
  struct Memory : tensor::Source {
    Memory(const tensor::BlockFormat& f, tensor::Dims dims, std::shared_ptr<std::vector<std::byte>> b)
        : Source(tensor::DType::f32, f.encoding, std::move(dims), "random"), bytes(std::move(b)) {}
    void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
      std::memcpy(out.data(), bytes->data() + size_t(first) * row_size(), size_t(count) * row_size());
    }
    std::optional<std::span<const std::byte>> contiguous() const override { return std::span(*bytes); }
    std::shared_ptr<std::vector<std::byte>> bytes;
  };
  return std::make_shared<Memory>(format, tensor::Dims{rows, columns}, bytes);
}

// 64-byte aligned memory.
struct AlignedBytes {
  AlignedBytes() = default;
  explicit AlignedBytes(size_t size_)
      : size(size_), data(static_cast<std::byte*>(::operator new(size_, kAlign))) {}
  AlignedBytes(AlignedBytes&& other) noexcept : size(other.size), data(std::exchange(other.data, nullptr)) {}
  AlignedBytes& operator=(AlignedBytes&& other) noexcept {
    std::swap(size, other.size);
    std::swap(data, other.data);
    return *this;
  }
  ~AlignedBytes() { ::operator delete(data, kAlign); }
  static constexpr std::align_val_t kAlign{64};
  size_t size = 0;
  std::byte* data = nullptr;
};

inline AlignedBytes pack_all(Layout layout, const tensor::Source& source) {
  AlignedBytes packed(packed_size(layout, source.rows(), source.row_elements()));
  pack_panels(layout, source, 0, ceil_div(source.rows(), kPanelRows), std::span(packed.data, packed.size));
  return packed;
}

}  // namespace lathe::backend::cpu
