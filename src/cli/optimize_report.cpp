#include "cli/optimize_report.h"

#include <algorithm>

#include "base/error.h"
#include "base/fields.h"
#include "ir/multiplications.h"
#include "ir/traffic.h"

namespace lathe::cli {
namespace {

constexpr size_t kShownPlaces = 3;   // of a rule; --json has all
constexpr size_t kShownReasons = 3;  // of near misses of a rule
constexpr size_t kShownIslands = 12;
constexpr size_t kShownNodes = 8;    // of the noisiest

// Places by the reason that they share, those with most places first.
class Reasons {
 public:
  void add(const std::string& place, const std::string& reason) {
    const auto it = std::find_if(list_.begin(), list_.end(), [&](const auto& r) { return r.first == reason; });
    (it == list_.end() ? list_.emplace_back(reason, std::vector<std::string>()) : *it).second.push_back(place);
  }
  std::vector<std::pair<std::string, std::vector<std::string>>> sorted() const {
    auto list = list_;
    std::stable_sort(list.begin(), list.end(),
                     [](const auto& a, const auto& b) { return a.second.size() > b.second.size(); });
    return list;
  }

 private:
  std::vector<std::pair<std::string, std::vector<std::string>>> list_;
};

std::string first_of(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kShownPlaces);
  const std::vector<std::string> first(names.begin(), names.begin() + std::ptrdiff_t(shown));
  return fmt::format("{}{}", fmt::join(first, ", "),
                     names.size() > shown ? fmt::format(" and {} more", names.size() - shown) : "");
}

void print_near_misses(const opt::NearMisses& all, const Output& output) {
  for (const auto& [rule, misses] : all) {
    Reasons all_reasons;
    for (const opt::NearMiss& miss : misses) all_reasons.add(miss.place, miss.reason);
    const auto reasons = all_reasons.sorted();
    for (size_t i = 0; i < std::min(reasons.size(), kShownReasons); ++i) {
      const auto& [reason, places] = reasons[i];
      output.print(fmt::format("  {:<26} nearly {} x: {}: {}", rule, places.size(), reason, first_of(places)));
    }
    if (reasons.size() > kShownReasons) {
      output.print(fmt::format("  {:<26} nearly, for {} other reasons", rule, reasons.size() - kShownReasons));
    }
  }
}

}  // namespace

GraphWork work_of(ir::Graph graph, const opt::Lengths& lengths) {
  opt::fix_lengths(graph, lengths);
  const ir::Multiplications products = ir::count_multiplications(graph);
  const ir::Traffic traffic = ir::count_traffic(graph);
  return {int64_t(graph.nodes().size()), products.total, traffic.bytes, std::max(products.unknown, traffic.unknown)};
}

void print_passes(const std::vector<opt::PassReport>& reports, const Output& output) {
  output.print(fmt::format("{:<28} {:>9} {:>8} {:>8}", "pass", "ms", "nodes", "after"));
  for (const opt::PassReport& report : reports) {
    output.print(fmt::format("{:<28} {:>9.2f} {:>8} {:>8}{}", report.name, report.ms, report.nodes_before,
                             report.nodes_after, report.changed ? "" : "  nothing to do"));
    for (const auto& [rule, count] : report.rewrites) {
      output.print(fmt::format("  {:<26} {:>6} x  {}", rule, count, first_of(report.places.at(rule))));
    }
    print_near_misses(report.near_misses, output);
  }
}

Json passes_as_json(const std::vector<opt::PassReport>& reports) {
  Json json = Json::array();
  for (const opt::PassReport& report : reports) {
    Json misses = Json::object();
    for (const auto& [rule, places] : report.near_misses) {
      for (const opt::NearMiss& miss : places) misses[rule].push_back({{"place", miss.place}, {"reason", miss.reason}});
    }
    json.push_back({{"name", report.name},
                    {"ms", report.ms},
                    {"changed", report.changed},
                    {"nodes_before", report.nodes_before},
                    {"nodes_after", report.nodes_after},
                    {"rewrites", Json(report.rewrites)},
                    {"places", Json(report.places)},
                    {"near_misses", std::move(misses)}});
  }
  return json;
}

void print_work(const GraphWork& before, const GraphWork& after,
                const std::map<std::string, int64_t, std::less<>>& symbols, const Output& output) {
  std::vector<std::string> chosen;
  for (const auto& [name, length] : symbols) chosen.push_back(fmt::format("{} = {}", name, length));
  output.print(fmt::format("predicted cost{}{}:", chosen.empty() ? "" : " for ", fmt::join(chosen, ", ")));
  output.print(fmt::format("  {:<8} {:>10} {:>18} {:>22}", "", "nodes", "Mmultiply-adds", "MB read and written"));
  for (const auto& [name, work] : {std::pair{"before", before}, {"after", after}}) {
    output.print(fmt::format("  {:<8} {:>10} {:>18.3f} {:>22.3f}{}", name, work.nodes, double(work.macs) / 1e6,
                             double(work.bytes) / 1e6,
                             work.unknown > 0 ? fmt::format("  without {} nodes of open lengths", work.unknown) : ""));
  }
}

Json work_as_json(const GraphWork& work) {
  return {{"nodes", work.nodes}, {"macs", work.macs}, {"bytes", work.bytes}, {"unknown_nodes", work.unknown}};
}

void print_outputs(std::string_view what, const std::vector<calibrate::OutputCost>& outputs, const Output& output) {
  output.print(fmt::format("outputs, {}:", what));
  for (const calibrate::OutputCost& cost : outputs) {
    if (cost.same_elements) {
      output.print(fmt::format("  {:>6.1f} %   {}: elements that are the same", 100 * *cost.same_elements, cost.name));
      continue;
    }
    const double share = cost.noise.worst / std::max(cost.noise.largest, 1e-30);
    std::string line =
        fmt::format("  {:>6.1f} dB  {}: largest error {:.3g} of the largest", cost.noise.psnr(), cost.name, share);
    if (cost.same_largest) line += fmt::format(", same largest element in {:.1f} %", 100 * *cost.same_largest);
    output.print(line);
  }
}

Json outputs_as_json(const std::vector<calibrate::OutputCost>& outputs) {
  Json json = Json::array();
  for (const calibrate::OutputCost& cost : outputs) {
    if (cost.same_elements) {
      json.push_back({{"name", cost.name}, {"same_elements", *cost.same_elements}});
      continue;
    }
    Json entry = {{"name", cost.name},
                  {"db", cost.noise.db()},
                  {"psnr", cost.noise.psnr()},
                  {"max_abs", cost.noise.worst},
                  {"largest", cost.noise.largest}};
    if (cost.same_largest) entry["same_largest"] = *cost.same_largest;
    json.push_back(std::move(entry));
  }
  return json;
}

void print_sixteen_bits(const calibrate::SixteenBitCost& cost, const Output& output) {
  const auto stay =
      std::count_if(cost.places.begin(), cost.places.end(), [](const auto& p) { return !p.kept.empty(); });
  output.print(fmt::format("{} of {} nodes in {}", int64_t(cost.places.size()) - stay, cost.places.size(),
                           to_string(cost.options.type)));
  Reasons reasons;
  for (const opt::SixteenBitPlace& place : cost.places) {
    if (!place.kept.empty()) reasons.add(fmt::format("{} \"{}\"", place.op, place.node), place.kept);
  }
  const auto islands = reasons.sorted();
  for (size_t i = 0; i < std::min(islands.size(), kShownIslands); ++i) {
    output.print(fmt::format("  in f32: {}: {}", first_of(islands[i].second), islands[i].first));
  }
  if (islands.size() > kShownIslands) {
    output.print(fmt::format("  in f32: others, for {} reasons more (--json has all)", islands.size() - kShownIslands));
  }
  std::vector<calibrate::NodeCost> worst = cost.nodes;
  std::stable_sort(worst.begin(), worst.end(),
                   [](const auto& a, const auto& b) { return a.noise.db() < b.noise.db(); });
  if (!worst.empty()) output.print("signal to noise of single nodes, from right inputs; the worst:");
  for (size_t i = 0; i < std::min(kShownNodes, worst.size()); ++i) {
    output.print(fmt::format("  {:>6.1f} dB  {}", worst[i].noise.db(), worst[i].value));
  }
}

Json sixteen_bits_as_json(const calibrate::SixteenBitCost& cost) {
  std::map<std::string, double> db;
  for (const calibrate::NodeCost& node : cost.nodes) db[node.value] = node.noise.db();
  Json json = {{"type", to_string(cost.options.type)}, {"nodes", Json::array()}};
  for (const opt::SixteenBitPlace& place : cost.places) {
    Json node = {{"node", place.node}, {"op", place.op}, {"value", place.value}};
    if (!place.kept.empty()) node["kept"] = place.kept;
    else if (db.contains(place.value)) node["db"] = db.at(place.value);
    json["nodes"].push_back(std::move(node));
  }
  return json;
}

}  // namespace lathe::cli
