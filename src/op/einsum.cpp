// Sums of products by index letters: "bij,bjk->bik". An ellipsis stands for leading dimensions that
// broadcast.
#include <algorithm>
#include <cctype>
#include <map>

#include "op/elementwise.h"

namespace lathe::op {
namespace {

using tensor::Dim;

// Letters of every operand and of the result. Dimensions of the ellipsis are the labels '0', '1' ... counted
// from the right, so that they align as broadcasting does.
struct Equation {
  std::vector<std::string> operands;
  std::string result;
};

[[noreturn]] void bad_equation(std::string_view text, std::string_view why) {
  fail(ErrorCode::invalid_input, "Einsum: equation \"{}\": {}", text, why);
}

// One term with its ellipsis spelled out as `dots` labels.
std::string expand_term(std::string_view text, std::string_view term, size_t dots) {
  std::string labels;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term.substr(i, 3) == "...") {
      for (size_t d = dots; d-- > 0;) labels += char('0' + d);
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(term[i]))) {
      labels += term[i];
    } else {
      bad_equation(text, "unexpected character");
    }
  }
  return labels;
}

Equation parse_equation(const std::string& given, const std::vector<size_t>& ranks) {
  std::string text;
  for (const char c : given) {
    if (c != ' ') text += c;
  }
  const size_t arrow = text.find("->");
  std::string left = text.substr(0, arrow);
  Equation equation;
  size_t most_dots = 0;
  for (size_t begin = 0, i = 0; begin <= left.size(); ++i) {
    const size_t end = std::min(left.find(',', begin), left.size());
    const std::string term = left.substr(begin, end - begin);
    if (i >= ranks.size()) bad_equation(given, "more terms than inputs");
    const bool ellipsis = term.find("...") != std::string::npos;
    const size_t letters = term.size() - (ellipsis ? 3 : 0);
    if (letters > ranks[i] || (!ellipsis && letters != ranks[i]))
      bad_equation(given, "a term does not fit its input");
    const size_t dots = ranks[i] - letters;
    if (dots > 9) bad_equation(given, "more than 9 dimensions under an ellipsis");
    most_dots = std::max(most_dots, dots);
    equation.operands.push_back(expand_term(given, term, dots));
    begin = end + 1;
  }
  if (equation.operands.size() != ranks.size()) bad_equation(given, "fewer terms than inputs");
  std::string all;
  for (const std::string& operand : equation.operands) all += operand;
  if (arrow != std::string::npos) {
    equation.result = expand_term(given, text.substr(arrow + 2), most_dots);
  } else {
    // The ellipsis, then the letters that occur once, in order.
    equation.result = expand_term(given, "...", most_dots);
    std::string sorted = all;
    std::sort(sorted.begin(), sorted.end());
    for (const char c : sorted) {
      if (std::isalpha(static_cast<unsigned char>(c)) && std::count(all.begin(), all.end(), c) == 1)
        equation.result += c;
    }
  }
  for (const char c : equation.result) {
    if (std::count(equation.result.begin(), equation.result.end(), c) != 1)
      bad_equation(given, "a label twice in the result");
    if (all.find(c) == std::string::npos) bad_equation(given, "a label of the result is in no input");
  }
  return equation;
}

void infer_einsum(InferContext& context) {
  std::vector<size_t> ranks;
  for (size_t i = 0; i < context.inputs.size(); ++i) {
    ranks.push_back(require(context, i, kNumeric).shape.size());
    require_same_dtype(context, 0, i);
  }
  const Equation equation = parse_equation(context.attributes.get_string("equation", ""), ranks);
  std::map<char, Dim> lengths;
  for (size_t i = 0; i < equation.operands.size(); ++i) {
    for (size_t d = 0; d < equation.operands[i].size(); ++d) {
      const Dim& dim = context.input(i).shape[d];
      const auto [it, added] = lengths.emplace(equation.operands[i][d], dim);
      if (!added) it->second = with_context("Einsum", [&] { return tensor::broadcast(it->second, dim); });
    }
  }
  tensor::Shape shape;
  for (const char label : equation.result) shape.push_back(lengths.at(label));
  context.outputs[0] = {context.input(0).dtype, std::move(shape), std::nullopt};
}

// The loops: labels of the result, then those summed over.
struct Loops {
  tensor::Dims dims;
  size_t kept = 0;
  std::vector<tensor::Dims> strides;  // of each input
};

Loops plan_loops(const EvaluateContext& context) {
  std::vector<size_t> ranks;
  for (const tensor::Tensor& input : context.inputs) ranks.push_back(size_t(input.rank()));
  const Equation equation = parse_equation(context.attributes.get_string("equation", ""), ranks);
  std::string labels = equation.result;
  std::map<char, int64_t> lengths;
  for (size_t i = 0; i < equation.operands.size(); ++i) {
    for (size_t d = 0; d < equation.operands[i].size(); ++d) {
      const char label = equation.operands[i][d];
      const int64_t length = context.inputs[i].dims()[d];
      if (labels.find(label) == std::string::npos) labels += label;
      const auto [it, added] = lengths.emplace(label, length);
      if (!added && it->second == 1) it->second = length;
    }
  }
  Loops loops{{}, equation.result.size(), {}};
  for (const char label : labels) loops.dims.push_back(lengths.at(label));
  for (size_t i = 0; i < equation.operands.size(); ++i) {
    const tensor::Dims& dims = context.inputs[i].dims();
    const tensor::Dims own = contiguous_strides(dims);
    tensor::Dims strides(labels.size(), 0);
    for (size_t d = 0; d < dims.size(); ++d) {
      if (dims[d] != 1)
        strides[labels.find(equation.operands[i][d])] += own[d];  // a label twice: the diagonal
    }
    loops.strides.push_back(std::move(strides));
  }
  return loops;
}

void evaluate_einsum(EvaluateContext& context) {
  const Loops loops = plan_loops(context);
  const tensor::Dims out_dims(loops.dims.begin(), loops.dims.begin() + std::ptrdiff_t(loops.kept));
  const int64_t summed = count_of(loops.dims, loops.kept, loops.dims.size());
  context.outputs[0] = with_compute_type(context.inputs[0].dtype(), [&](auto zero) {
    using V = decltype(zero);
    std::vector<std::vector<V>> inputs;
    std::vector<Walk> walks;
    for (size_t i = 0; i < context.inputs.size(); ++i) {
      inputs.push_back(load<V>(context.inputs[i]));
      walks.emplace_back(loops.dims, loops.strides[i]);
    }
    std::vector<V> values(size_t(count_of(out_dims, 0, out_dims.size())));
    for (V& value : values) {
      for (int64_t s = 0; s < summed; ++s) {
        V product = 1;
        for (size_t i = 0; i < inputs.size(); ++i) {
          product = WrappingMultiply{}(product, inputs[i][size_t(walks[i].next())]);
        }
        value = WrappingAdd{}(value, product);
      }
    }
    return store(context.inputs[0].dtype(), out_dims, values);
  });
}

}  // namespace

const OpDef& einsum_op() {
  static const OpDef def{
      .name = "Einsum",
      .min_inputs = 1,
      .max_inputs = kVariadic,
      .attributes = {{"equation", AttributeKind::string, true}},
      .infer = infer_einsum,
      .evaluate = evaluate_einsum,
  };
  return def;
}

}  // namespace lathe::op
