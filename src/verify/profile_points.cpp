#include "verify/profile_points.h"

#include <algorithm>
#include <set>

#include "base/error.h"

namespace lathe::verify {
namespace {

using plan::InputProfile;

struct Range {
  std::string symbol;
  int64_t min, max;
};

// The symbols that stand alone for a length of an input, with the lengths they may have.
std::vector<Range> ranges_of(const ir::Graph& graph, const std::vector<InputProfile>& profile) {
  std::vector<Range> ranges;
  for (const InputProfile& input : profile) {
    const auto value = graph.find(input.name);
    if (!value || graph.kind(*value) != ir::ValueKind::input) continue;
    const tensor::Shape& shape = graph.type(*value).shape;
    for (size_t i = 0; i < shape.size() && i < input.min.size(); ++i) {
      const auto symbols = shape[i].symbols();
      if (symbols.size() != 1 || shape[i] != tensor::Dim::symbol(symbols[0])) continue;
      const bool known =
          std::any_of(ranges.begin(), ranges.end(), [&](const Range& r) { return r.symbol == symbols[0]; });
      if (!known && input.min[i] < input.max[i]) ranges.push_back({symbols[0], input.min[i], input.max[i]});
    }
  }
  return ranges;
}

bool inside_profile(const std::vector<InputProfile>& profile, const std::map<std::string, op::TypeInfo>& types) {
  for (const InputProfile& input : profile) {
    const auto dims = tensor::to_dims(types.at(input.name).shape);
    if (!dims || dims->size() != input.min.size()) return false;
    for (size_t i = 0; i < dims->size(); ++i) {
      if ((*dims)[i] < input.min[i] || (*dims)[i] > input.max[i]) return false;
    }
  }
  return true;
}

class Points {
 public:
  Points(const ir::Graph& graph, const std::vector<InputProfile>& profile) : graph_(graph), profile_(profile) {}

  void add(std::string what, const opt::Lengths& lengths) {
    auto types = opt::fixed_input_types(graph_, lengths);
    if (!inside_profile(profile_, types)) return;
    const bool known =
        std::any_of(points.begin(), points.end(), [&](const auto& point) { return point.types == types; });
    if (!known) points.push_back({std::move(what), std::move(types)});
  }

  // value(i) for symbol i; the others, fixed ones, are as at `base`.
  template <class F>
  void add(const std::vector<Range>& ranges, F&& value) {
    opt::Lengths lengths;
    std::vector<std::string> texts;
    for (size_t i = 0; i < ranges.size(); ++i) {
      const int64_t length = value(i);
      lengths[ranges[i].symbol] = {length};
      texts.push_back(fmt::format("{} = {}", ranges[i].symbol, length));
    }
    for (const InputProfile& input : profile_) {  // lengths that have no range of their own
      const tensor::Shape& shape = graph_.type(*graph_.find(input.name)).shape;
      for (size_t i = 0; i < shape.size() && i < input.max.size(); ++i) {
        const auto symbols = shape[i].symbols();
        const bool alone = symbols.size() == 1 && shape[i] == tensor::Dim::symbol(symbols[0]);
        if (alone) lengths.emplace(symbols[0], tensor::Dims{input.max[i]});
      }
    }
    add(fmt::format("{}", fmt::join(texts, ", ")), lengths);
  }

  std::vector<ProfilePoint> points;

 private:
  const ir::Graph& graph_;
  const std::vector<InputProfile>& profile_;
};

}  // namespace

opt::Lengths profile_lengths(const std::vector<InputProfile>& profile, std::string_view end) {
  opt::Lengths lengths;
  for (const InputProfile& input : profile) {
    lengths[input.name] = end == "min" ? input.min : end == "opt" ? input.opt : input.max;
  }
  return lengths;
}

std::vector<ProfilePoint> profile_points(const ir::Graph& graph, const std::vector<InputProfile>& profile,
                                         size_t corner_symbols, int inside) {
  Points points(graph, profile);
  for (const std::string_view end : {"min", "opt", "max"}) points.add(std::string(end), profile_lengths(profile, end));
  const std::vector<Range> ranges = ranges_of(graph, profile);
  if (ranges.empty()) return std::move(points.points);
  const size_t corners = std::min(corner_symbols, ranges.size());
  for (size_t corner = 0; corner < size_t{1} << corners; ++corner) {
    points.add(ranges,
               [&](size_t i) { return i >= corners || (corner >> i & 1) != 0 ? ranges[i].max : ranges[i].min; });
  }
  uint64_t state = 88172645463325252u;
  for (int point = 0; point < inside; ++point) {
    points.add(ranges, [&](size_t i) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      return ranges[i].min + int64_t(state % uint64_t(ranges[i].max - ranges[i].min + 1));
    });
  }
  return std::move(points.points);
}

}  // namespace lathe::verify
