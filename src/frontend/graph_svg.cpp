#include "frontend/graph_svg.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "text/utf8.h"

namespace lathe::frontend {
namespace {

using ir::Graph;
using ir::NodeId;
using ir::Value;

constexpr double kLetter = 6.6;  // width of a letter of the font, in pixels
constexpr double kLine = 14, kPadding = 8, kGap = 24, kLayerGap = 46, kMargin = 20;
constexpr size_t kLongest = 44;  // letters of a line; the tooltip has the rest

// Valid UTF-8 without characters that XML knows or forbids.
std::string escaped(std::string_view raw) {
  std::string valid, result;
  text::append_lossy(valid, raw);
  for (const char c : valid) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      case '\'': result += "&#39;"; break;
      default: result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    }
  }
  return result;
}

size_t letters(std::string_view line) {
  return size_t(
      std::count_if(line.begin(), line.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string shortened(std::string_view raw) {
  std::string line;
  text::append_lossy(line, raw);
  if (letters(line) <= kLongest) return line;
  size_t at = 0;
  for (size_t i = 0; i + 1 < kLongest; ++i) text::take_code_point(line, at);
  return line.substr(0, at) + "…";
}

enum class Kind { input, node, output };

struct Box {
  Kind kind = Kind::node;
  std::vector<std::string> lines;
  std::string tooltip;
  std::vector<size_t> sources;  // boxes that it reads
  size_t layer = 0;
  double x = 0, y = 0, width = 0, height = 0;  // of the top left corner
};

// The boxes of a graph and where they stand.
class Picture {
 public:
  explicit Picture(const Graph& graph) : graph_(graph) {
    add_boxes();
    find_layers();
    place();
  }

  std::string svg() const {
    std::string out = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0f}\" height=\"{:.0f}\" viewBox=\"0 0 {:.0f} {:.0f}\" "
        "font-family=\"monospace\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        "<g fill=\"none\" stroke=\"#8a94a6\">\n",
        width_, height_, width_, height_);
    for (const Box& box : boxes_) {
      for (const size_t source : box.sources) out += edge(boxes_[source], box);
    }
    out += "</g>\n";
    for (const Box& box : boxes_) out += drawn(box);
    return out + "</svg>\n";
  }

 private:
  void add_boxes() {
    for (const Value input : graph_.inputs()) {
      add(Kind::input, {graph_.name(input), op::to_string(graph_.type(input))}, graph_.name(input));
      made_by_[input] = boxes_.size() - 1;
    }
    for (const NodeId id : graph_.nodes()) add_node(graph_.node(id));
    for (const Value output : graph_.outputs()) {
      add(Kind::output, {graph_.name(output), op::to_string(graph_.type(output))}, graph_.name(output));
      if (const auto it = made_by_.find(output); it != made_by_.end()) boxes_.back().sources = {it->second};
    }
  }

  void add_node(const ir::Node& node) {
    std::vector<std::string> lines = {node.op, op::to_string(graph_.type(node.outputs[0]))};
    std::string weights;
    std::vector<size_t> sources;
    for (const Value input : node.inputs) {
      if (!input) continue;
      if (graph_.is_constant(input)) {
        weights += (weights.empty() ? "" : " ") + op::to_string(graph_.type(input));
      } else if (std::find(sources.begin(), sources.end(), made_by_.at(input)) == sources.end()) {
        sources.push_back(made_by_.at(input));
      }
    }
    if (!weights.empty()) lines.push_back(weights);
    std::string tooltip = node.name.empty() ? graph_.name(node.outputs[0]) : node.name;
    for (const Value output : node.outputs) {
      if (output) tooltip += fmt::format("; gives {} {}", graph_.name(output), op::to_string(graph_.type(output)));
    }
    if (!weights.empty()) tooltip += "; constants " + weights;
    add(Kind::node, std::move(lines), std::move(tooltip));
    boxes_.back().sources = std::move(sources);
    for (const Value output : node.outputs) {
      if (output) made_by_[output] = boxes_.size() - 1;
    }
  }

  void add(Kind kind, std::vector<std::string> lines, std::string tooltip) {
    Box box{.kind = kind, .lines = {}, .tooltip = std::move(tooltip), .sources = {}};
    size_t longest = 0;
    for (const std::string& line : lines) {
      box.lines.push_back(shortened(line));
      longest = std::max(longest, letters(box.lines.back()));
    }
    box.width = kLetter * double(longest) + 2 * kPadding;
    box.height = kLine * double(box.lines.size()) + kPadding;
    boxes_.push_back(std::move(box));
  }

  // Longest paths; boxes come behind what they read. An input stands just above the first that reads it.
  void find_layers() {
    std::vector<size_t> first_reader(boxes_.size(), 0);
    for (Box& box : boxes_) {
      if (box.kind != Kind::input) box.layer = 1;
      for (const size_t source : box.sources) box.layer = std::max(box.layer, boxes_[source].layer + 1);
    }
    for (const Box& box : boxes_) {
      for (const size_t source : box.sources) {
        size_t& first = first_reader[source];
        first = first == 0 ? box.layer : std::min(first, box.layer);
      }
    }
    for (size_t i = 0; i < boxes_.size(); ++i) {
      if (boxes_[i].kind == Kind::input && first_reader[i] > 0) boxes_[i].layer = first_reader[i] - 1;
      layers_.resize(std::max(layers_.size(), boxes_[i].layer + 1));
      layers_[boxes_[i].layer].push_back(i);
    }
  }

  double centre(size_t box) const { return boxes_[box].x + boxes_[box].width / 2; }

  // Layer by layer: each box below the middle of what it reads, as near as its neighbours allow.
  void place() {
    double y = kMargin;
    for (std::vector<size_t>& layer : layers_) {
      std::vector<std::pair<double, size_t>> wanted;  // centre, box
      double height = 0;
      for (const size_t i : layer) {
        const Box& box = boxes_[i];
        double sum = 0;
        for (const size_t source : box.sources) sum += centre(source);
        wanted.emplace_back(box.sources.empty() ? 0 : sum / double(box.sources.size()), i);
        height = std::max(height, box.height);
      }
      std::stable_sort(wanted.begin(), wanted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      double free = -1e300, shift = 0;
      for (const auto& [middle, i] : wanted) {
        Box& box = boxes_[i];
        box.x = std::max(middle - box.width / 2, free);
        box.y = y;
        shift += box.x + box.width / 2 - middle;
        free = box.x + box.width + kGap;
      }
      for (const auto& [middle, i] : wanted) boxes_[i].x -= shift / double(wanted.size());
      y += height + kLayerGap;
    }
    double left = 0, right = 0;
    for (const Box& box : boxes_) {
      left = std::min(left, box.x);
      right = std::max(right, box.x + box.width);
    }
    for (Box& box : boxes_) box.x += kMargin - left;
    width_ = right - left + 2 * kMargin;
    height_ = y;
  }

  static std::string edge(const Box& from, const Box& to) {
    const double x1 = from.x + from.width / 2, y1 = from.y + from.height;
    const double x2 = to.x + to.width / 2, y2 = to.y;
    const double bend = (y2 - y1) / 2;
    return fmt::format("<path d=\"M{:.1f} {:.1f} C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}\"/>\n", x1, y1, x1,
                       y1 + bend, x2, y2 - bend, x2, y2);
  }

  static std::string drawn(const Box& box) {
    const char* fill = box.kind == Kind::node ? "#eef3fb" : box.kind == Kind::input ? "#e6f5e6" : "#fbeeda";
    std::string out = fmt::format(
        "<g><title>{}</title><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"{}\" fill=\"{}\" "
        "stroke=\"#5b6b85\"/>",
        escaped(box.tooltip), box.x, box.y, box.width, box.height, box.kind == Kind::node ? 3 : 10, fill);
    for (size_t i = 0; i < box.lines.size(); ++i) {
      out +=
          fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\"{}>{}</text>", box.x + box.width / 2,
                      box.y + kLine * double(i + 1) - 1, i == 0 ? " font-weight=\"bold\"" : "", escaped(box.lines[i]));
    }
    return out + "</g>\n";
  }

  const Graph& graph_;
  std::vector<Box> boxes_;
  std::map<Value, size_t> made_by_;  // value -> box
  std::vector<std::vector<size_t>> layers_;
  double width_ = 0, height_ = 0;
};

// Zooms with the wheel while Ctrl is held, as far as the picture is readable.
constexpr std::string_view kScript =
    "const s=document.querySelector('svg'),w=+s.getAttribute('width'),h=+s.getAttribute('height');let z=1;"
    "addEventListener('wheel',e=>{if(!e.ctrlKey)return;e.preventDefault();"
    "z=Math.min(4,Math.max(0.02,z*(e.deltaY<0?1.15:1/1.15)));"
    "s.setAttribute('width',w*z);s.setAttribute('height',h*z);},{passive:false});";

}  // namespace

std::string to_svg(const Graph& graph) {
  if (graph.nodes().size() > kMaxDrawnNodes) {
    fail(ErrorCode::unsupported, "a picture of {} nodes, {} are drawn at most: cut a part out with lathe optimize "
         "--extract-inputs and --extract-outputs", graph.nodes().size(), kMaxDrawnNodes);
  }
  return Picture(graph).svg();
}

std::string to_html(const Graph& graph, const std::string& title) {
  const std::string svg = to_svg(graph);
  const std::string name = escaped(title);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>"
      "<style>body{{margin:0;font-family:sans-serif}}"
      "h1{{font-size:1rem;margin:.5rem;position:sticky;left:.5rem}}</style>"
      "</head><body><h1>{}: {} nodes (Ctrl and wheel: zoom)</h1>\n{}<script>{}</script></body></html>\n",
      name, name, graph.nodes().size(), svg, kScript);
}

}  // namespace lathe::frontend
