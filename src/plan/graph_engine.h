// What an engine holds of each graph it was built from (docs/adr/0008).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "contract/contract.h"
#include "plan/graph_plan.h"

namespace lathe::plan {

// The lengths of one input that an engine was built for.
struct InputProfile {
  std::string name;
  std::vector<int64_t> min, opt, max;

  template <class V>
  void visit_fields(V& v) {
    v("name", name);
    v("min", min);
    v("opt", opt);
    v("max", max);
  }
};

// A product that stays in f32 in a graph of a lower precision.
struct Island {
  std::string name;  // of its result
  std::string reason;

  template <class V>
  void visit_fields(V& v) {
    v("name", name);
    v("reason", reason);
  }
};

// For people: a line for each reason, with the products that it is the reason of (a few of them by name).
std::vector<std::string> describe(const std::vector<Island>& islands);

// Where the bytes are of a constant that the graph's text names.
struct StoredSource {
  std::string name;
  tensor::DType dtype = tensor::DType::f32;
  tensor::Encoding encoding = tensor::Encoding::plain;
  std::vector<int64_t> dims;  // as the text has it
  std::string layout;         // "plain", or a packed layout's name
  int64_t variant = 0;        // of the layout: backend::GraphLayout::variant
  bool transposed = false;    // a matrix that is stored with rows and columns changed over
  int64_t offset = 0;         // in the weight section
  int64_t bytes = 0;
  std::vector<std::string> strings;  // of a constant of texts, which has no bytes

  template <class V>
  void visit_fields(V& v) {
    v("name", name);
    v("dtype", dtype);
    v("encoding", encoding);
    v("dims", dims);
    v("layout", layout);
    v("variant", variant);
    v("transposed", transposed);
    v("offset", offset);
    v("bytes", bytes);
    v("strings", strings);
  }
};

struct EngineGraph {
  std::string name;                   // "main" where there is one
  std::string text;                   // the graph at canonical opset, after -O2, before lowering
  std::vector<StoredSource> sources;  // of its constants, in the order in which the text names them
  std::vector<InputProfile> profile;  // empty: any lengths
  bool allow_nonfinite = false;       // NaN and infinity in its outputs are meant
  // What its products with weights compute in: fp32, bf16, fp16 (docs/adr/0010) or int8 (0015: the text has the
  // rounding).
  contract::Precision precision = contract::Precision::fp32;
  std::vector<Island> islands = {};   // but for these
  // As stored: see GraphModel::to_pack. backend::load_graph makes what runs.
  std::shared_ptr<const GraphModel> model;
};

// The one of this name, or the only one where `name` is empty; "main" where there are several. Throws not_found naming
// those there are.
const EngineGraph& get_graph(const std::vector<EngineGraph>& graphs, std::string_view name);

// Throws invalid_input, naming input, expected and found, for lengths outside the profile.
void check_profile(const std::vector<InputProfile>& profile, std::string_view input, const tensor::Dims& dims);

}  // namespace lathe::plan
